"""Trees as CSV tables: one row per leaf under the level names, or one `name,parent` row per node."""

from __future__ import annotations

import csv
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from hierfit.atomic import whole_file
from hierfit.errors import UserError
from hierfit.taxonomy import build
from hierfit.taxonomy.checks import EDGE_HEADER, Problems

_HINT = (
    "Under a header of level names, coarse to fine, comes one row for each leaf; "
    "under the header name,parent one row for each node, all names different."
)


def read(path: str | os.PathLike[str]) -> build.Plan:
    """Read either form; `Taxonomy.from_csv` describes them.

    Raises:
        UserError: The file cannot be read, is not a UTF-8 comma-separated table, or holds no valid tree.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(file, str(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: line {_undecodable_line(path)} is not UTF-8", hint="Save it as UTF-8.") from None


def _read(file: TextIO, source: str) -> build.Plan:
    lines = array("q")
    problems = Problems(source, lambda number: f"line {lines[number + 1]}", _HINT, "line 1: ")
    records = csv_records(file, source, lines)
    header = next(records, [])
    while header and header[-1] == "":
        header.pop()
    columns = [cell.casefold() for cell in header]
    if not header:
        problems.append("line 1: there is no header")
        problems.raise_if_any()
    rows = _within(records, lines, len(header), problems)
    if set(columns) == set(EDGE_HEADER):
        return _read_links(rows, columns.index("name"), problems)
    if set(columns) > set(EDGE_HEADER):
        problems.append(f"line 1: a table of name,parent has no other columns, but here are {header}")
        problems.raise_if_any()
    return build.from_rows(rows, header, problems)


def _read_links(rows: Iterable[list[str]], name_column: int, problems: Problems) -> build.Plan:
    names, parents = [], []
    for row in rows:
        row += ["", ""]
        names.append(row[name_column])
        parents.append(row[1 - name_column])
    return build.from_links(names, parents, None, problems)


def csv_records(
    file: TextIO, source: str, lines: array[int], delimiter: str = ",", loose: bool = False
) -> Iterator[list[str]]:
    """Rows that are not blank; `lines` gains the number of each one's first line.

    Args:
        file: Opened with ``newline=""``.
        source: For messages.
        lines: Where the numbers go.
        delimiter: What divides cells.
        loose: Whether a blank behind a delimiter belongs to it.

    Raises:
        UserError: A quotation mark is not closed.
    """
    reader = csv.reader(file, strict=True, delimiter=delimiter, skipinitialspace=loose)
    while True:
        first_line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise UserError(f"{source}: line {first_line}: {error}", hint="Check its quotation marks.") from None
        if row is None:
            return
        if row:
            lines.append(first_line)
            yield row


def _within(records: Iterable[list[str]], lines: array[int], width: int, problems: Problems) -> Iterator[list[str]]:
    """Rows that have no more cells than the header, empty ones at the end aside."""
    for row in records:
        if len(row) > width and any(row[width:]):
            problems.append(f"line {lines.pop()}: {len(row)} cells under a header of {width}")
        else:
            yield row


def _undecodable_line(path: Path) -> int:
    content = path.read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return content.count(b"\n", 0, error.start) + 1
    return 0


def leaf_rows(
    names: Sequence[str], level: Sequence[int], first_child: Sequence[int], num_children: Sequence[int]
) -> Iterator[list[str]]:
    """Names from root to leaf, depth first: `build.from_rows` numbers the nodes of such rows as before."""
    stack = [node for node in range(len(names) - 1, -1, -1) if level[node] == 0]
    path: list[str] = []
    while stack:
        node = stack.pop()
        del path[level[node] :]
        path.append(names[node])
        if num_children[node]:
            stack.extend(reversed(range(first_child[node], first_child[node] + num_children[node])))
        else:
            yield path


def write(path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table whole or not at all, short rows filled up with empty cells."""
    with whole_file(Path(path)) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([*row, *[""] * (len(header) - len(row))] for row in rows)
