"""Lines of cells: how they are divided, and whether the first names the columns."""

from __future__ import annotations

import io
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hierfit.errors import UserError
from hierfit.taxonomy.table import csv_records

# Words that name columns of taxonomies, with their place from coarse to fine. In biology a class is coarse, elsewhere
# it is the finest there is.
RANKS = ("domain", "kingdom", "phylum", "class", "order", "family", "genus", "species")
_BIOLOGY = {word: place for place, word in enumerate(RANKS)}
_COARSE = ("root", "top", "superclass", "superclass_name", "supercategory", "super", "coarse", "coarse_label",
           "department", "manufacturer", "make")  # fmt: skip
_MIDDLE = ("mid", "middle", "group", "category", "subclass")
_FINE = ("leaf", "fine", "fine_label", "class", "class_name", "label", "variant", "model")
_WORDS = {**dict.fromkeys(_COARSE, 0), **dict.fromkeys(_MIDDLE, 1), **dict.fromkeys(_FINE, 2)}
_LEVEL = re.compile(r"(?:level|l)[ _-]?(\d+)")
CHILD = ("child", "name", "node", "id", "taxon", "hyponym")
CHILD_ID = ("id", "node_id", "taxon_id", "taxonid", "child_id")
LABEL = ("name", "label", "title", "scientificname", "scientific_name")
PARENT = ("parent", "parent_name", "hypernym")
PARENT_ID = ("parent_id", "parentid", "parent_taxon_id", "parentnameusageid")
_OTHER = ("count", "images", "description", "index", "common_name", "names")


@dataclass(frozen=True)
class Table:
    """Cells of a file's lines; blank lines and, but for CSV, lines behind a # are left out.

    Attributes:
        rows: Cells of each line.
        lines: Its number.
        divided: What divides cells, in words.
        is_csv: Whether cells are divided by commas as CSV does, or the file's name says so.
    """

    rows: Sequence[Sequence[str]]
    lines: Sequence[int]
    divided: str
    is_csv: bool

    @property
    def width(self) -> int:
        """Cells of the widest line."""
        return max(map(len, self.rows), default=0)

    def where(self, number: int) -> str:
        """Place of a row."""
        return f"line {self.lines[number]}"

    def below_header(self) -> Table:
        """Without the first line."""
        return replace(self, rows=self.rows[1:], lines=self.lines[1:])

    def header(self, wanted: bool | None, source: str) -> tuple[str, ...] | None:
        """The first line where it names the columns.

        Args:
            wanted: What the user says of it.
            source: For messages.

        Raises:
            UserError: It could as well be data.
        """
        first = tuple(self.rows[0])
        if wanted is not None:
            return first if wanted else None
        if speaks_of_columns(first):
            return first
        if self.width == 1:
            return first if self.is_csv else None
        if self.is_csv:
            if not any(i < len(row) and row[i] == cell for row in self.rows[1:] for i, cell in enumerate(first)):
                return first
        elif not set(first).isdisjoint(cell for row in self.rows[1:] for cell in row):
            return None
        raise UserError(
            f"{source}: line 1 may name the columns or be data: {', '.join(map(repr, first))}",
            hint="Say which: --header or --no-header (in a data card, `header: true` or `header: false`).",
        )


def order_of_columns(header: Sequence[str]) -> list[tuple[str, int]]:
    """Columns whose names tell their place from coarse to fine, with that place; none when most do not tell."""
    words = [re.sub(r"[ -]", "_", cell.strip().casefold()) for cell in header]
    biology = len(set(words) & set(RANKS)) > 1
    known: dict[str, int] = _BIOLOGY if biology else _WORDS
    numbered = {word: int(match[1]) for word in words if (match := _LEVEL.fullmatch(word))}
    known = numbered if len(numbered) > 1 else known
    places = [(cell, known[word]) for cell, word in zip(header, words, strict=True) if word in known]
    return places if len({place for _, place in places}) > 1 and 2 * len(places) >= len(words) else []


def speaks_of_columns(header: Sequence[str]) -> bool:
    """Whether two cells or more, and all but one, are words that name columns."""
    known = {*_BIOLOGY, *_WORDS, *CHILD, *CHILD_ID, *LABEL, *PARENT, *PARENT_ID, *_OTHER}
    words = [re.sub(r"[ -]", "_", cell.strip().casefold()) for cell in header]
    told = sum(word in known or _LEVEL.fullmatch(word) is not None for word in words)
    return told >= 2 and told >= len(words) - 1


def lines_of(text: str) -> list[str]:
    """Lines by their ends; `str.splitlines` takes other signs for ends, too, which may stand in a name."""
    return re.split(r"\r\n|\n|\r", text)


def split(text: str, source: str, suffix: str) -> Table:
    """Divide the lines of a text into cells.

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
    if suffix == ".csv":
        sign = ";" if "," not in text and all(";" in line for line in lines_of(text) if line.strip()) else ","
        return _quoted(text, source, sign, is_csv=True)
    if suffix == ".tsv":
        return _quoted(text, source, "\t", is_csv=True)
    numbered = [(i, line) for i, line in enumerate(lines_of(text), 1) if line.strip()]
    numbered = [(i, line) for i, line in numbered if not line.lstrip().startswith("#")]
    lines = [line for _, line in numbered]
    places = [i for i, _ in numbered]
    for sign in ("\t", ",", ";"):
        if sum(sign in line for line in lines) > len(lines) / 2:
            return _quoted(text, source, sign, is_csv=False)
    for sign in (" > ", "|", "/"):
        if lines and all(sign in line for line in lines):
            rows = [[cell.strip() for cell in line.strip().split(sign)] for line in lines]
            return Table(rows, places, f"{sign.strip()!r}", False)
    pairs = [line.split() for line in lines]
    if pairs and all(len(pair) == 2 for pair in pairs):
        return Table(pairs, places, "blanks", False)
    return Table([[line.strip()] for line in lines], places, "nothing", False)


_NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons"}


def _quoted(text: str, source: str, sign: str, is_csv: bool) -> Table:
    # "leaf, mid, top": the blank behind each comma belongs to it. In a table without them it is a fault of a name.
    loose = not re.search(rf"{re.escape(sign)}(?![ \t])[^\n]", text) if sign != "\t" else False
    places = array("q")
    rows, lines = [], []
    for row in csv_records(io.StringIO(text, newline=""), source, places, sign, loose):
        if is_csv or (any(map(str.strip, row)) and not row[0].startswith("#")):
            rows.append([cell.strip() for cell in row] if loose else row)
            lines.append(places[-1])
    return Table(rows, lines, _NAMES[sign], is_csv)
