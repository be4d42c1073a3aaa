"""Lines and records as tables of cells: how they are divided, and whether the first line names the columns."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

from hierfit.errors import UserError
from hierfit.taxonomy.readers.columns import PATH, speaks_of_columns, word
from hierfit.taxonomy.readers.document import Pairs, Placed

_SIGNS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
SAMPLE = 3000
_DEEPEST = 6  # wrappings around records
_WHOLE_FLOAT = re.compile(r"-?\d+\.0+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
JOINTS = (" > ", " -> ", " → ", " » ", " › ", "::", " >> ")
"""Signs between names of a path that hardly stand in a name."""


@dataclass(frozen=True)
class Table:
    """Cells of a file's lines, rows or records.

    Attributes:
        rows: Cells of each line: texts; tuples of texts for lists within records.
        numbers: Its number.
        what: What the table is, in words.
        is_csv: Whether it is certain to be a table: CSV by its name, a sheet, records.
        unit: What the numbers count.
        header: Names of the columns; None where it has none, or where nobody has asked (see `headed`).
        texts: The lines as they stand, where blanks divide them and may as well be part of names.
    """

    rows: Sequence[Sequence[Any]]
    numbers: Sequence[int]
    what: str
    is_csv: bool
    unit: str = "line"
    header: tuple[str, ...] | None = None
    texts: Sequence[str] = ()

    @cached_property
    def width(self) -> int:
        """Cells of the widest row."""
        return max(map(len, self.rows), default=0)

    def where(self, row: int) -> str:
        """Place of a row."""
        place = f"{self.unit} {self.numbers[row]}"
        if self.unit == "record":
            line = next((cell.line for cell in self.rows[row] if isinstance(cell, Placed)), None)
            return f"line {line} ({place})" if line else place
        return place

    def sample(self) -> Table:
        """The first rows, which are enough to see what columns are."""
        return replace(self, rows=self.rows[:SAMPLE], numbers=self.numbers[:SAMPLE], texts=self.texts[:SAMPLE])

    def column(self, number: int) -> list[Any]:
        """The cells of a column, empty ones for short rows."""
        return [row[number] if number < len(row) else "" for row in self.rows]

    def headed(self, wanted: bool | None, source: str) -> Table:
        """The same with its header known, and without lines above it.

        Args:
            wanted: What the user says of line 1; None to find out.
            source: For messages.

        Raises:
            UserError: Line 1 could as well be data.
        """
        if self.header is not None:
            return self
        top = self._header_line(wanted, source)
        if top is None:
            return _without_floats(self)
        header = tuple(str(cell).strip() for cell in self.rows[top])
        while header and header[-1] == "":
            header = header[:-1]
        what = f"{self.what} below {self.unit} {self.numbers[top] - 1}" if top else self.what
        return _without_floats(
            replace(
                self,
                what=what,
                rows=self.rows[top + 1 :],
                numbers=self.numbers[top + 1 :],
                header=header,
                texts=self.texts[top + 1 :],
            )
        )

    def _header_line(self, wanted: bool | None, source: str) -> int | None:
        if wanted is not None:
            return 0 if wanted else None
        for number, row in enumerate(self.rows[:4]):
            if speaks_of_columns(row) and not any(len([*filter(None, above)]) > 1 for above in self.rows[:number]):
                return number
        first = [str(cell).strip() for cell in self.rows[0]]
        if self.width == 1:
            return 0 if self.is_csv or word(first[0]) in PATH else None
        below = [{row[i] for row in self.rows[1:] if i < len(row) and row[i]} for i in range(len(first))]
        if any(
            cells and not cell[:1].isdigit() and cell and all(map(_NUMBER.fullmatch, cells))
            for cell, cells in zip(first, below, strict=True)
        ):
            return 0  # a word above numbers
        if self.is_csv:
            if not any(cell and cell in cells for cell, cells in zip(first, below, strict=True)):
                return 0
        elif not set(first).isdisjoint(cell for row in self.rows[1:] for cell in row):
            return None
        raise UserError(
            f"{source}: line 1 may name the columns or be data: {', '.join(map(repr, first[:8]))}",
            hint="Say which: --header or --no-header (in a data card, `header: true` or `header: false`).",
        )


def _without_floats(table: Table) -> Table:
    """Ids that became decimal numbers, as pandas makes them where one is missing: 3.0 is 3."""
    floats = []
    for column in range(table.width):
        cells = (row[column] for row in table.rows if column < len(row) and row[column])
        first = next(cells, None)
        if first is not None and all(isinstance(c, str) and _WHOLE_FLOAT.fullmatch(c) for c in chain([first], cells)):
            floats.append(column)
    if not floats:
        return table
    rows = [list(row) for row in table.rows]
    for row in rows:
        for column in floats:
            if column < len(row):
                row[column] = row[column].partition(".")[0]
    return replace(table, rows=rows)


def lines_of(text: str) -> list[str]:
    """Lines by their ends; `str.splitlines` takes other signs for ends, too, which may stand in a name."""
    return re.split(r"\r\n|\n|\r", text)


def split(text: str, source: str, suffix: str) -> Table:
    """Divide the lines of a text into cells; blank lines and, but for CSV, lines behind a # are left out.

    Args:
        text: Of the file.
        source: For messages.
        suffix: Of the file's name; ``.csv`` and ``.tsv`` are taken at their word.

    Raises:
        UserError: A quotation mark is not closed, or there is nothing but comments.
    """
    table = _split(text, source, suffix)
    if not table.rows:
        raise UserError(f"{source}: there are only comments and blank lines")
    return table


def _split(text: str, source: str, suffix: str) -> Table:
    if suffix in (".csv", ".tsv"):
        return quoted(text, source, _sign_of_csv(text) if suffix == ".csv" else "\t", is_csv=True)
    numbered = [(i, line) for i, line in enumerate(lines_of(text), 1) if line.strip()]
    numbered = [(i, line) for i, line in numbered if not line.lstrip().startswith("#")]
    if len(numbered) > 2 and numbered[0][1].strip() in (str(len(numbered) - 1), str(len(numbered) - 2)):
        del numbered[0]  # how many lines follow, as lists of data sets begin
    lines, places = [line for _, line in numbered], [i for i, _ in numbered]
    most = len(lines) / 2
    if sum("\t|" in line for line in lines) > most:
        return Table(
            [_barred(line) for line in lines], places, "lines divided by tabs and bars, as NCBI's dumps", False
        )
    if sum("\t" in line.strip() for line in lines) > most:
        return quoted(text, source, "\t", is_csv=False)
    if lines and all(line.strip()[:1] == line.strip()[-1:] == "|" for line in lines):
        rows = [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in lines]
        kept = [i for i, row in enumerate(rows) if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
        return Table([rows[i] for i in kept], [places[i] for i in kept], "a table with bars, as in Markdown", True)
    if not any(sum(joint in line for line in lines) > most for joint in JOINTS):
        for sign in (",", ";"):
            if sum(sign in line for line in lines) > most:
                return quoted(text, source, sign, is_csv=False)
    aligned = [re.split(r"[ \t]{2,}|\t", line.strip()) for line in lines]
    widths = Counter(map(len, aligned))
    if widths and widths.most_common(1)[0][0] > 1 and len(widths) == 1:
        for sign in (":", "-", "|"):
            if all(row[-1].startswith(f"{sign} ") for row in aligned):
                aligned = [[*row[:-1], row[-1][2:].strip()] for row in aligned]
        return Table(aligned, places, "columns set with runs of blanks", False, texts=lines)
    pairs = [line.split() for line in lines]
    if pairs and all(len(pair) == 2 for pair in pairs):
        return Table(pairs, places, "two words in each line", False, texts=lines)
    return Table([[line.strip()] for line in lines], places, "lines", False)


def _barred(line: str) -> list[str]:
    return [cell.strip() for cell in re.sub(r"\t?\|\s*$", "", line).split("\t|")]


def _sign_of_csv(text: str) -> str:
    """What divides cells: the comma, unless every line has another of the usual signs and the first one more of it."""
    lines = [line for line in lines_of(text[:100_000]) if line.strip()][:-1] or [text]
    first = lines[0]
    if match := re.fullmatch(r"sep=(.)", first.strip().strip('"')):
        return match[1]
    for sign in (";", "\t", "|"):
        if first.count(sign) > first.count(",") and all(sign in line for line in lines):
            return sign
    return ","


def quoted(text: str, source: str, sign: str, is_csv: bool, loose: bool = True) -> Table:
    """Rows as CSV has them, with their first lines; blank ones are left out.

    Args:
        text: The table.
        source: For messages.
        sign: What divides cells.
        is_csv: Whether it is certain to be a table.
        loose: Whether a blank behind every sign may belong to the sign.

    Raises:
        UserError: A quotation mark is not closed.
    """
    # "leaf, mid, top": the blank behind each comma belongs to it. In a table without them it is a fault of a name.
    loose = loose and sign != "\t" and not re.search(rf"{re.escape(sign)}(?![ \t])[^\n]", text)
    rows, lines = [], []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=sign, skipinitialspace=loose)
    while True:
        first_line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise UserError(f"{source}: line {first_line}: {error}", hint="Check its quotation marks.") from None
        if row is None:
            break
        if any(map(str.strip, row)) and (is_csv or not row[0].startswith("#")):
            rows.append([cell.strip() for cell in row] if loose else row)
            lines.append(first_line)
    while rows and (rows[0][0].startswith("#") or rows[0][0].startswith("sep=")) and len(rows[0]) < max(map(len, rows)):
        del rows[0], lines[0]  # a comment above the header
    what = "CSV" if sign == "," and is_csv else f"{'CSV' if is_csv else 'lines'} divided by {_SIGNS.get(sign, sign)}"
    return Table(rows, lines, what, is_csv)


# Records -------------------------------------------------------------------------------------------------------------


def record_tables(value: Any, language: str) -> dict[str, Table]:
    """Tables of the records in a document, by the keys that lead to them; lists along the way are gone through.

    Records are mappings in a list; mappings below different names that have their keys in common (then their name is
    their ``key``); or a list of cells below each column's name, as pandas and plotly write tables.
    """
    found: dict[str, list[Pairs]] = {}
    stack: list[tuple[str, Any, int]] = [("", value, 0)]
    while stack:
        at, here, depth = stack.pop()
        if depth > _DEEPEST:
            continue
        if isinstance(here, Pairs):
            if columns := _columns(here):
                found.setdefault(at, []).extend(columns)
            elif _are_alike([entry for _, entry in here]):
                found.setdefault(at, []).extend(Pairs([("key", key), *entry]) for key, entry in here)
            stack += [(f"{at}.{key}".strip("."), entry, depth + 1) for key, entry in here if isinstance(entry, list)][
                ::-1
            ]
        elif isinstance(here, list):
            if here and all(isinstance(entry, Pairs) for entry in here):
                found.setdefault(at, []).extend(here)
            stack += [(at, entry, depth + 1) for entry in here if isinstance(entry, list)][::-1]
    return {at: _table_of(records, f"{language} records") for at, records in found.items()}


def _are_alike(entries: Sequence[Any]) -> bool:
    """Whether mappings have most of their keys in common, two at least."""
    if len(entries) < 2 or not all(isinstance(entry, Pairs) and entry for entry in entries):
        return False
    counts = Counter(key for entry in entries for key in dict.fromkeys(entry.names()))
    return sum(2 * count > len(entries) for count in counts.values()) >= 2 and 2 * len(counts) <= sum(counts.values())


def _columns(value: Pairs) -> list[Pairs]:
    """Records out of {column: [cell, …]} or {columns: […], data: [[…], …]}; none where it is no such thing."""
    by_key: Mapping[str, Any] = dict(value)
    names, rows = by_key.get("columns"), by_key.get("data")
    if not (isinstance(names, list) and isinstance(rows, list)):
        lists = [*by_key.values()]
        if not 1 < len(lists) < 40 or not all(isinstance(cells, list) for cells in lists):
            return []
        singular = [re.sub(r"s$", "", str(key)) for key in by_key]
        if not speaks_of_columns(singular):
            return []
        lists = [[cell for _, cell in cells] if isinstance(cells, Pairs) else cells for cells in lists]
        names, rows = singular, [*zip(*lists, strict=False)] if len({*map(len, lists)}) == 1 else []
    if isinstance(names, Pairs) or any(isinstance(row, Pairs) or not isinstance(row, list | tuple) for row in rows):
        return []
    return [Pairs(zip(map(str, names), row, strict=False)) for row in rows]


def _table_of(records: Sequence[Pairs], what: str) -> Table:
    header: dict[str, int] = {}
    rows: list[list[Any]] = []
    for record in records:
        row: list[Any] = [""] * len(header)
        for key, value in record:
            column = header.setdefault(str(key), len(header))
            row += [""] * (column + 1 - len(row))
            row[column] = cell_of(value)
        rows.append(row)
    table = Table(rows, range(1, len(rows) + 1), what, True, "record", tuple(header))
    return _without_floats(table)


def cell_of(value: Any) -> Any:
    """A value as a cell: text, or a tuple of texts for a list; mappings in it stand for their id or name."""
    if isinstance(value, str):
        return value
    if isinstance(value, Pairs):
        return str(next((entry for key, entry in value if key in ("id", "@id", "name")), ""))
    if isinstance(value, list):
        return tuple(str(cell_of(entry)) for entry in value)
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
