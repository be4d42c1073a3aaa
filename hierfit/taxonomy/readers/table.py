"""Lines as tables of cells: how they are divided, and whether the first line names the columns."""

from __future__ import annotations

import csv
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hierfit.errors import UserError
from hierfit.taxonomy.build import without_end
from hierfit.taxonomy.checks import Where
from hierfit.taxonomy.readers.cells import JOINTS, are_floats
from hierfit.taxonomy.readers.columns import PATH, speaks_of_columns, word
from hierfit.taxonomy.readers.document import Placed

SAMPLE = 3000
"""Rows that are enough to see what columns are."""
CSV_SUFFIXES = (".csv", ".tsv")
"""Suffixes that are taken at their word."""

TABS_AND_BARS, TWO_WORDS = "lines divided by tabs and bars", "two words in each line"
IN_COLUMNS = "columns set with runs of blanks"
_DIVIDED_BY = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
_FIGURE = re.compile(r"\d+(?:\.\d+)?")
_LINE_WITH_END = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
_BLANKS = re.compile(r"[ \t]{2,}|\t")


@dataclass(frozen=True)
class CellTable:
    """Cells of a file's lines, rows or records: texts, or tuples of texts for lists within records."""

    rows: Sequence[Sequence[Any]]
    numbers: Sequence[int]
    what: str  # in words
    certain: bool = False  # to be a table: CSV by its name, a sheet, records
    unit: str = "line"  # of the numbers
    header: tuple[str, ...] | None = None  # also None where nobody has asked, see `headed`
    sign: str = ""  # what divides cells, of lines as CSV has them

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

    def shown(self, column: int) -> str:
        """A column in messages: its name in quotation marks, else its number."""
        return repr(self.name(column)) if self.name(column) else f"column {column + 1}"

    @cached_property
    def where(self) -> Where:
        """Says the place of a row; it keeps no cells, but those of records."""
        rows, numbers, unit = () if self.unit == "line" else self.rows, self.numbers, self.unit

        def place(row: int) -> str:
            line = next((cell.line for cell in rows[row] if isinstance(cell, Placed)), None) if rows else None
            return f"line {line} ({unit} {numbers[row]})" if line else f"{unit} {numbers[row]}"

        return place

    @cached_property
    def sample(self) -> CellTable:
        """The first rows."""
        return self.part(range(min(SAMPLE, len(self.rows))))

    def part(self, rows: Sequence[int]) -> CellTable:
        """Some of the rows."""
        return replace(self, rows=[self.rows[i] for i in rows], numbers=[self.numbers[i] for i in rows])

    def column(self, number: int) -> list[Any]:
        """The cells of a column, empty ones for short rows."""
        return [row[number] if number < len(row) else "" for row in self.rows]

    def paths(self, columns: Sequence[int]) -> list[list[Any]]:
        """The cells of some columns, row by row, empty ones for short rows."""
        return [[row[c] if c < len(row) else "" for c in columns] for row in self.rows]

    def headed(self, wanted: bool | None, source: str) -> CellTable:
        """The same with its header known, and without lines above it; `wanted` is what the user says of line 1.

        Raises:
            UserError: Line 1 could as well be data.
        """
        if self.header is not None:
            return self
        top = self._header_line(source) if wanted is None else 0 if wanted else None
        if top is None:
            return self.without_floats()
        header = without_end([str(cell).strip() for cell in self.rows[top]])
        what = f"{self.what} below {self.unit} {self.numbers[top] - 1}" if top else self.what
        below = self.part(range(top + 1, len(self.rows)))
        return replace(below, what=what, header=tuple(header)).without_floats()

    def _header_line(self, source: str) -> int | None:
        for number, row in enumerate(self.rows[:4]):
            if speaks_of_columns(row) and not any(len([*filter(None, above)]) > 1 for above in self.rows[:number]):
                return number
        first = [str(cell).strip() for cell in self.rows[0]]
        if self.width == 1:
            return 0 if self.certain or word(first[0]) in PATH else None
        below = [[*filter(None, self.column(c)[1:])] for c in range(len(first))]
        pairs = [pair for pair in zip(first, below, strict=True) if all(pair)]
        above = [cell for cell, cells in pairs if all(map(_FIGURE.fullmatch, cells))]  # of columns of numbers
        if any(map(_FIGURE.fullmatch, above)) or any(cell in cells for cell, cells in pairs):
            return None
        if not all(cell[0].isdigit() for cell in above):
            return 0
        if self.certain and sum(map(bool, first)) == 1 < len(self.rows) and self.rows[1][0] == "":
            return None  # a staircase
        again = not {*first}.isdisjoint(cell for row in self.rows[1:] for cell in row)
        if again != self.certain:
            return 0 if self.certain else None
        raise UserError(
            f"{source}: line 1 may name the columns or be data: {', '.join(map(repr, first[:8]))}",
            hint="Say which: --header or --no-header (in a data card, `header: true` or `header: false`).",
        )

    def without_floats(self) -> CellTable:
        """Ids that became decimal numbers as whole ones."""
        columns = [c for c in range(self.width) if are_floats(self.sample.column(c)) and are_floats(self.column(c))]
        if not any(row[c] for row in self.rows for c in columns if c < len(row)):
            return self
        floats = frozenset(columns)
        rows = [[cell.partition(".")[0] if c in floats else cell for c, cell in enumerate(row)] for row in self.rows]
        return replace(self, rows=rows)


def lines_of(text: str) -> list[str]:
    """Lines by their ends; `str.splitlines` takes other signs for ends, too, which may stand in a name."""
    return re.split(r"\r\n|\n|\r", text)


def first_lines(text: str, but: str = "#") -> list[str]:
    """Whole lines from the beginning of a text, neither blank nor comments, enough to see how it is made."""
    most = 200_000
    lines = lines_of(text) if len(text) <= most else lines_of(text[:most])[:-1] or [text]
    return [line for line in lines if line.strip() and line.lstrip()[0] != but]


def split(text: str, source: str, suffix: str) -> CellTable:
    """Divide the lines of a text into cells; blank lines and, but for CSV, lines behind a # are left out.

    Raises:
        UserError: A quotation mark is not closed, or there is nothing but comments.
    """
    lines = first_lines(text)

    def in_most(sign: str) -> bool:
        return sum(sign in line.strip() for line in lines) > len(lines) / 2

    if in_most("\t|") and '"' not in lines[0]:
        table = _divided(text, r"\t\|", r"\t?\|\s*$", TABS_AND_BARS)
    elif suffix in CSV_SUFFIXES:
        table = _quoted(text, source, _sign_of_csv(text) if suffix == ".csv" else "\t", True)
    elif in_most("\t"):
        table = _quoted(text, source, "\t", False)
    elif lines and all(line.strip()[0] == line.strip()[-1] == "|" for line in lines):
        table = _divided(text, r"\|", r"^\s*\||\|\s*$", "a table with bars, as in Markdown")
        ruled = [all(re.fullmatch(r":?-+:?", cell) for cell in row) for row in table.rows]
        table = replace(table.part([i for i, rule in enumerate(ruled) if not rule]), certain=True)
    else:
        joined = any(map(in_most, JOINTS))
        signs = [sign for sign in ",;" if in_most(sign) and not joined]
        if not signs and len({line.count("|") for line in lines}) == 1 < len(lines) and "|" in lines[0]:
            signs = ["|"]
        table = (
            _quoted(text, source, signs[0], False)
            if signs
            else _by_blanks(text, any(sign in line for sign in JOINTS for line in lines))
        )
    if not table.rows:
        raise UserError(f"{source}: there are only comments and blank lines")
    return table


def _numbered_lines(text: str) -> list[tuple[int, str]]:
    """Lines with their numbers, without blank ones and comments."""
    return [(i, line) for i, line in enumerate(lines_of(text), 1) if line.strip() and line.lstrip()[0] != "#"]


def _divided(text: str, sign: str, at_ends: str, what: str) -> CellTable:
    """Lines divided by a sign that quotation marks do not hide."""
    numbered = _numbered_lines(text)
    rows = [[cell.strip() for cell in re.split(sign, re.sub(at_ends, "", line))] for _, line in numbered]
    return CellTable(rows, [i for i, _ in numbered], what)


def _by_blanks(text: str, joined: bool) -> CellTable:
    """Columns set with runs of blanks, two words in each line, or lines as they stand, as paths joined by signs do."""
    numbered = _numbered_lines(text)
    if len(numbered) > 2 and numbered[0][1].strip() in (str(len(numbered) - 1), str(len(numbered) - 2)):
        del numbered[0]  # how many lines follow, as lists of data sets begin
    lines, places = [line.strip() for _, line in numbered], array("q", [i for i, _ in numbered])
    width = len(_BLANKS.split(lines[0])) if lines and not joined else 0
    aligned = [_BLANKS.split(line) for line in lines] if width > 1 else []
    if aligned and all(len(row) == width for row in aligned):
        return CellTable(aligned, places, IN_COLUMNS)
    if lines and all(len(line.split()) == 2 for line in lines):
        same: dict[str, str] = {}
        pairs = [[same.setdefault(cell, cell) for cell in line.split()] for line in lines]
        return CellTable(pairs, places, TWO_WORDS)
    return CellTable([[line] for line in lines], places, "lines")


def _sign_of_csv(text: str) -> str:
    """What divides cells: the comma, unless every line has another of the usual signs and the first one more of it."""
    lines = first_lines(text, but="")
    if match := re.fullmatch(r"sep=(.)", lines[0].strip().strip('"')):
        return match[1]
    fits = (s for s in ";\t|" if lines[0].count(s) > lines[0].count(",") and all(s in line for line in lines))
    return next(fits, ",")


def _quoted(text: str, source: str, sign: str, certain: bool) -> CellTable:
    """Rows as CSV has them, with their first lines; blank ones are left out."""
    # "leaf, mid, top": the blank behind each comma belongs to it. In a table without them it is a fault of a name.
    loose = sign != "\t" and not re.search(rf"{re.escape(sign)}(?![ \t])[^\n]", text)
    rows: list[tuple[str, ...]] = []
    lines = array("q")
    same: dict[str, str] = {}  # a name that comes again is kept once
    texts = map(re.Match.group, _LINE_WITH_END.finditer(text))
    reader = csv.reader(texts, strict=True, delimiter=sign, skipinitialspace=loose)
    line = 1
    try:
        for row in reader:
            if any(map(str.strip, row)) and (certain or not row[0].startswith("#")):
                if not row[-1]:
                    end = row.index("")
                    del row[max(2, len(without_end(row)) if any(row[end:]) else end) :]
                cells = list(map(str.strip, row)) if loose else row
                rows.append(tuple(map(same.setdefault, cells, cells)))
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{source}: line {line}: {error}", hint="Check its quotation marks.") from None
    width = max(map(len, rows), default=0)
    top = next((i for i, row in enumerate(rows) if len(row) == width or not row[0].startswith(("#", "sep="))), 0)
    by = f" divided by {_DIVIDED_BY.get(sign, sign)}" if sign != "," or not certain else ""
    rows, lines = (rows[top:], lines[top:]) if top else (rows, lines)  # without comments above the header
    return CellTable(rows, lines, f"{'CSV' if certain else 'lines'}{by}", certain, sign=sign)
