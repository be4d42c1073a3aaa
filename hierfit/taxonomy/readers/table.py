"""Lines as tables of cells: how they are divided, and whether the first line names the columns."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hierfit.errors import UserError
from hierfit.taxonomy.readers.columns import PATH, speaks_of_columns, word
from hierfit.taxonomy.readers.document import Placed

_SIGNS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
SAMPLE = 3000
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
    is_csv: bool = False
    unit: str = "line"
    header: tuple[str, ...] | None = None
    texts: Sequence[str] = ()

    @cached_property
    def width(self) -> int:
        """Cells of the widest row."""
        return max(map(len, self.rows), default=0)

    @cached_property
    def words(self) -> list[str]:
        """The header, as `columns` knows words; empty without one."""
        return [word(cell) for cell in self.header or ()]

    @property
    def of_records(self) -> bool:
        """Whether rows are records of a document."""
        return self.unit == "record"

    def name(self, column: int) -> str:
        """What a column is called, perhaps nothing."""
        return self.header[column] if self.header and column < len(self.header) else ""

    def where(self, row: int) -> str:
        """Place of a row."""
        place = f"{self.unit} {self.numbers[row]}"
        line = (
            next((cell.line for cell in self.rows[row] if isinstance(cell, Placed)), None) if self.of_records else None
        )
        return f"line {line} ({place})" if line else place

    def sample(self) -> Table:
        """The first rows, which are enough to see what columns are."""
        return self.part(slice(SAMPLE))

    def part(self, rows: slice) -> Table:
        """Some of the rows."""
        return replace(self, rows=self.rows[rows], numbers=self.numbers[rows], texts=self.texts[rows])

    def column(self, number: int) -> list[Any]:
        """The cells of a column, empty ones for short rows."""
        return [row[number] if number < len(row) else "" for row in self.rows]

    def paths(self, columns: Sequence[int]) -> list[list[Any]]:
        """The cells of some columns, row by row, empty ones for short rows."""
        return [[row[c] if c < len(row) else "" for c in columns] for row in self.rows]

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
            return self.without_floats()
        header = [str(cell).strip() for cell in self.rows[top]]
        while header and header[-1] == "":
            header.pop()
        what = f"{self.what} below {self.unit} {self.numbers[top] - 1}" if top else self.what
        return replace(self.part(slice(top + 1, None)), what=what, header=tuple(header)).without_floats()

    def _header_line(self, wanted: bool | None, source: str) -> int | None:
        if wanted is not None:
            return 0 if wanted else None
        for number, row in enumerate(self.rows[:4]):
            if speaks_of_columns(row) and not any(len([*filter(None, above)]) > 1 for above in self.rows[:number]):
                return number
        first = [str(cell).strip() for cell in self.rows[0]]
        if self.width == 1:
            return 0 if self.is_csv or word(first[0]) in PATH else None
        below = [set(filter(None, self.part(slice(1, None)).column(c))) for c in range(len(first))]
        pairs = list(zip(first, below, strict=True))
        if any(
            cells and cell and not cell[0].isdigit() and all(map(_NUMBER.fullmatch, cells)) for cell, cells in pairs
        ):
            return 0  # a word above numbers
        if self.is_csv:
            if not any(cell and cell in cells for cell, cells in pairs):
                return 0
        elif not set(first).isdisjoint(cell for row in self.rows[1:] for cell in row):
            return None
        raise UserError(
            f"{source}: line 1 may name the columns or be data: {', '.join(map(repr, first[:8]))}",
            hint="Say which: --header or --no-header (in a data card, `header: true` or `header: false`).",
        )

    def without_floats(self) -> Table:
        """Ids that became decimal numbers, as pandas makes them where one is missing: 3.0 is 3."""
        floats = [c for c in range(self.width) if self._is_float(c)]
        if not floats:
            return self
        rows = [list(row) for row in self.rows]
        for row in rows:
            for column in floats:
                if column < len(row):
                    row[column] = row[column].partition(".")[0]
        return replace(self, rows=rows)

    def _is_float(self, column: int) -> bool:
        filled = False
        for row in self.rows:
            if column < len(row) and row[column]:
                if not isinstance(row[column], str) or not _WHOLE_FLOAT.fullmatch(row[column]):
                    return False
                filled = True
        return filled


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
    if suffix in (".csv", ".tsv"):
        table = _quoted(text, source, _sign_of_csv(text) if suffix == ".csv" else "\t", is_csv=True)
    else:
        table = _split_lines(text, source)
    if not table.rows:
        raise UserError(f"{source}: there are only comments and blank lines")
    return table


def _split_lines(text: str, source: str) -> Table:
    numbered = [(i, line) for i, line in enumerate(lines_of(text), 1) if line.strip() and line.lstrip()[0] != "#"]
    if len(numbered) > 2 and numbered[0][1].strip() in (str(len(numbered) - 1), str(len(numbered) - 2)):
        del numbered[0]  # how many lines follow, as lists of data sets begin
    lines, places = [line for _, line in numbered], [i for i, _ in numbered]

    def in_most(sign: str) -> bool:
        return sum(sign in line.strip() for line in lines) > len(lines) / 2

    if sum("\t|" in line for line in lines) > len(lines) / 2:
        rows = [[cell.strip() for cell in re.sub(r"\t?\|\s*$", "", line).split("\t|")] for line in lines]
        return Table(rows, places, "lines divided by tabs and bars, as NCBI's dumps")
    if in_most("\t"):
        return _quoted(text, source, "\t", is_csv=False)
    if lines and all(line.strip()[:1] == line.strip()[-1:] == "|" for line in lines):
        rows = [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in lines]
        kept = [i for i, row in enumerate(rows) if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
        what = "a table with bars, as in Markdown"
        return Table([rows[i] for i in kept], [places[i] for i in kept], what, is_csv=True)
    if not any(sum(joint in line for line in lines) > len(lines) / 2 for joint in JOINTS):
        for sign in ",;":
            if in_most(sign):
                return _quoted(text, source, sign, is_csv=False)
    aligned = [re.split(r"[ \t]{2,}|\t", line.strip()) for line in lines]
    if lines and len(aligned[0]) > 1 and len({*map(len, aligned)}) == 1:
        for sign in ":-|":
            if all(row[-1].startswith(f"{sign} ") for row in aligned):
                aligned = [[*row[:-1], row[-1][2:].strip()] for row in aligned]
        return Table(aligned, places, "columns set with runs of blanks", texts=lines)
    pairs = [line.split() for line in lines]
    if pairs and all(len(pair) == 2 for pair in pairs):
        return Table(pairs, places, "two words in each line", texts=lines)
    return Table([[line.strip()] for line in lines], places, "lines")


def _sign_of_csv(text: str) -> str:
    """What divides cells: the comma, unless every line has another of the usual signs and the first one more of it."""
    lines = [line for line in lines_of(text[:100_000]) if line.strip()][:-1] or [text]
    first = lines[0]
    if match := re.fullmatch(r"sep=(.)", first.strip().strip('"')):
        return match[1]
    fits = (s for s in ";\t|" if first.count(s) > first.count(",") and all(s in line for line in lines))
    return next(fits, ",")


def _quoted(text: str, source: str, sign: str, is_csv: bool) -> Table:
    """Rows as CSV has them, with their first lines; blank ones are left out."""
    # "leaf, mid, top": the blank behind each comma belongs to it. In a table without them it is a fault of a name.
    loose = sign != "\t" and not re.search(rf"{re.escape(sign)}(?![ \t])[^\n]", text)
    rows: list[list[str]] = []
    lines: list[int] = []
    same: dict[str, str] = {}
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=sign, skipinitialspace=loose)
    line = 1
    try:
        for row in reader:
            if any(map(str.strip, row)) and (is_csv or not row[0].startswith("#")):
                rows.append([same.setdefault(cell, cell) for cell in (map(str.strip, row) if loose else row)])
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{source}: line {line}: {error}", hint="Check its quotation marks.") from None
    width = max(map(len, rows), default=0)
    top = next((i for i, row in enumerate(rows) if len(row) == width or not row[0].startswith(("#", "sep="))), 0)
    what = "CSV" if sign == "," and is_csv else f"{'CSV' if is_csv else 'lines'} divided by {_SIGNS.get(sign, sign)}"
    return Table(rows[top:], lines[top:], what, is_csv)  # without comments above the header
