"""Whole numbers, a column for each level: `[leaf, order, family]`, as fine-grained code keeps them in `trees.py`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Where
from hierfit.taxonomy.readers.given import Rows
from hierfit.taxonomy.readers.named import name_lists
from hierfit.taxonomy.readers.options import Reading
from hierfit.taxonomy.readers.source import Source
from hierfit.taxonomy.readers.table import Table

_ASSIGNED = re.compile(r"^(\w+)[^\S\n]*(?::[^=\n]*)?=[^\S\n]*(?:np\.array\(|\w+\()?\s*\[\s*[\[(]", re.MULTILINE)
_TUPLE = re.compile(r"[\[(]([^\[\]()]*)[\])]")
_END = re.compile(r"[\])]\s*,?\s*(?:#[^\n]*)?\s*[\])]")

Numbered = tuple[list[list[int]], Where]


def assigned(text: str) -> list[str]:
    """Variables of Python source that hold a list of lists. The source is never run."""
    return [match[1] for match in _ASSIGNED.finditer(text)]


def from_python(source: Source, options: Reading) -> tuple[list[list[str]], Where]:
    """The cells of one variable."""
    names = assigned(source.text)
    if options.select not in (names if options.select or len(names) > 1 else [None]):
        raise UserError(f"{source.path}: choose one of {', '.join(names)}", hint="Name it by --select.")
    wanted = options.select or names[0]
    match = next(m for m in _ASSIGNED.finditer(source.text) if m[1] == wanted)
    start = source.text.index("[", source.text.index("=", match.end(1)))
    end = _END.search(source.text, start)
    stop = end.end() if end else len(source.text)
    found = list(_TUPLE.finditer(source.text, start + 1, stop))
    cells = [[cell.strip() for cell in m[1].split(",") if cell.strip()] for m in found]
    lines = [source.text.count("\n", 0, m.start()) + 1 for m in found]
    return cells, lambda row: f"line {lines[row]}"


def from_document(value: Any) -> tuple[list[list[str]], Where]:
    """The cells of a JSON list of lists."""
    rows = value if isinstance(value, list) else []
    cells = [[str(cell) for cell in row] if isinstance(row, list) else [str(row)] for row in rows]
    return cells, lambda row: f"entry {row + 1}"


def from_table(table: Table) -> tuple[list[list[str]], Where]:
    """The cells of a table."""
    return [[cell.strip() for cell in row] for row in table.rows], table.where


def are_indices(rows: Sequence[Sequence[object]]) -> bool:
    """Whether all cells are whole numbers, at least two in each row."""
    return bool(rows) and all(
        len(row) > 1 and all(re.fullmatch(r"\s*\d+\s*", str(cell)) for cell in row) for row in rows
    )


def read_indices(cells: list[list[str]], where: Where, source: Source, options: Reading) -> Rows:
    """Rows of names: from the name files, or ``level 3``.

    The leaves' column is the one without repeats. Of the others one with fewer different numbers is coarser.

    Raises:
        UserError: The order of the columns cannot be told.
    """
    faults: list[str] = []
    width = len(cells[0]) if cells else 0
    rows, kept = [], []
    for number, row in enumerate(cells):
        if len(row) != width or not all(re.fullmatch(r"\d+", cell) for cell in row):
            faults.append(f"{where(number)}: expected {width} whole numbers, got {', '.join(row)}")
        else:
            rows.append([int(cell) for cell in row])
            kept.append(number)
    columns = [c - 1 for c in options.columns] or _coarse_to_fine(rows, source)
    if any(not 0 <= c < width for c in columns):
        raise UserError(f"{source.path}: there are {width} columns, but {options.columns} are asked for")
    ordered = [[row[c] for c in columns] for row in rows]
    names = _names(ordered, options, faults)
    levels = options.levels or tuple(f"level{i}" for i in range(len(columns)))
    return Rows(names, lambda row: where(kept[row]), levels, faults)


def _coarse_to_fine(rows: list[list[int]], source: Source) -> list[int]:
    sizes = [len(set(column)) for column in zip(*rows, strict=True)]
    order = sorted(range(len(sizes)), key=sizes.__getitem__)
    if len(set(sizes)) < len(sizes):
        raise UserError(
            f"{source.path}: the columns hold {', '.join(map(str, sizes))} different numbers, "
            "which does not tell coarse from fine",
            hint="Give the columns from coarse to fine, counted from 1: --columns 3,2,1.",
        )
    return order


def _names(rows: list[list[int]], options: Reading, faults: list[str]) -> list[list[str]]:
    depth = len(rows[0]) if rows else 0
    if not options.names:
        levels = options.levels if len(options.levels) == depth else [f"level{i}" for i in range(depth)]
        return [[f"{level} {cell}" for level, cell in zip(levels, row, strict=True)] for row in rows]
    lists = name_lists(options.names)
    if len(lists) != depth:
        raise UserError(f"{len(lists)} files of names for {depth} levels", hint="Give one a level, coarse to fine.")
    named: list[list[str]] = []
    first = [min(column) for column in zip(*rows, strict=True)]
    for level, (known, start) in enumerate(zip(lists, first, strict=True)):
        if start > 1:
            faults.append(f"level {level + 1}: indices begin with {start}, neither 0 nor 1")
        beyond = max(row[level] for row in rows) - min(start, 1)
        if beyond >= len(known):
            faults.append(
                f"level {level + 1}: index {beyond + min(start, 1)}, but {options.names[level]} has {len(known)}"
            )
    for row in rows:
        at = [cell - min(start, 1) for cell, start in zip(row, first, strict=True)]
        named.append([known[i] if i < len(known) else str(i) for known, i in zip(lists, at, strict=True)])
    return named
