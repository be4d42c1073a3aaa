"""One table: columns that know their unit, cells that know their interval and what their difference says.

Whoever shows figures makes a `Table`; `results.writers` writes it for a terminal, as Markdown, LaTeX, CSV or HTML.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

Verdict = Literal["helps", "no evidence", "hurts"]
DASH = "–"
HELPS, HURTS = "▲", "▼"
_MARKS: Mapping[Verdict | None, str] = {"helps": f" {HELPS}", "hurts": f" {HURTS}"}

WORDS, SEEDS = "words", "seeds"
_DECIMALS = {"%": 2, "count": 0, "s": 1, "MiB": 0}
_UNNAMED = (WORDS, SEEDS, "%", "count", "")


class Estimate(NamedTuple):
    """A mean of ``n`` values with its interval, mean ± half_width; NaN when one value says nothing of the spread."""

    mean: float
    half_width: float
    n: int

    @property
    def low(self) -> float:
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        return self.mean + self.half_width


class Interval(NamedTuple):
    """A mean with the two ends of an interval that need not lie evenly around it; over ``n`` samples."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Column:
    """One column."""

    header: str  # above it
    # ``words``; ``seeds``, whose cells list them and show their number; ``%``, a fraction shown times 100; ``count``,
    # ``edges``, ``levels``, ``s``, ``MiB``, or empty for a figure without one
    unit: str = WORDS
    decimals: int | None = None  # of a figure; by its unit if None
    higher_is_better: bool | None = None  # None where more is neither better nor worse
    key: str = ""  # for programs, such as ``fpa@decoded``; the header if empty
    is_fact: bool = False  # it follows from the settings, and needs no interval where all seeds agree
    signed: bool = False  # shown with its sign, as differences are

    @property
    def is_figure(self) -> bool:
        """Whether it holds what was measured, rather than names and facts of the rows."""
        return self.unit not in (WORDS, SEEDS)

    @property
    def title(self) -> str:
        """The header, with units other than %."""
        return self.header if self.unit in _UNNAMED else f"{self.header} [{self.unit}]"

    def scaled(self, value: float) -> float:
        """A figure in its unit."""
        return 100 * value if self.unit == "%" else value

    def number(self, value: float) -> str:
        """A figure as text; minus signs are as wide as the plus."""
        decimals = _DECIMALS.get(self.unit, 3) if self.decimals is None else self.decimals
        return f"{self.scaled(value):{'+' if self.signed else ''},.{decimals}f}".replace("-", "−")


NAME = Column("", key="row")
"""The first column of most tables: names of rows."""


@dataclass(frozen=True)
class Cell:
    """One cell."""

    # Words, seeds, a figure, or one with its interval; None is shown as a dash
    value: str | float | Estimate | Interval | tuple[int, ...] | None
    difference: Estimate | None = None  # to the control's, paired over seeds
    # What the difference says among all of its table; of a cell without one, what its value says
    mark: Verdict | None = None
    of: int | None = None  # how many values its row has: an estimate over fewer says over how many

    @property
    def number(self) -> float | None:
        """The figure alone; None where there is none."""
        value = self.value.mean if isinstance(self.value, Estimate | Interval) else self.value
        return value if isinstance(value, int | float) else None

    def text(self, column: Column) -> str:
        """As people read it: ``93.20 ±0.41``, ``93.20`` of one seed, ``+1.30 [0.20, 2.40] ▲``."""
        mark = "" if self.difference is not None else _MARKS.get(self.mark, "")
        match self.value:
            case None:
                return DASH
            case str(words):
                return words
            case Interval(mean, low, high, _):
                return f"{column.number(mean)} [{column.number(low)}, {column.number(high)}]{mark}"
            case Estimate(mean, width, n):
                known = not math.isnan(width) and (width or not column.is_fact)
                half = f" ±{replace(column, signed=False).number(width)}" if known else ""
                return f"{column.number(mean)}{half}{'' if self.of in (None, n) else f' (n={n})'}{mark}"
            case tuple(seeds):
                return str(len(seeds))
            case figure:
                return f"{column.number(figure)}{mark}"


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns; the first column names the rows."""

    title: str  # on what it stands, in a line
    columns: tuple[Column, ...]  # from left to right
    rows: tuple[tuple[Cell, ...], ...]  # as long as the columns each
    reading: str = ""  # how to read it
    notes: tuple[str, ...] = ()  # what a reader must know before comparing rows
    control: str | None = None  # name of the row that differences are to
    facts: Mapping[str, Any] = field(default_factory=dict)  # what all rows share, for programs

    @classmethod
    def of(cls, title: str, columns: Sequence[Column | str], rows: Iterable[Sequence[Any]], reading: str = "") -> Table:
        """From plain values and `Cell`; a column that is only a header holds words."""
        made = tuple(tuple(value if isinstance(value, Cell) else Cell(value) for value in row) for row in rows)
        named = tuple(column if isinstance(column, Column) else Column(column) for column in columns)
        return cls(title, named, made, reading)

    @property
    def header(self) -> tuple[str, ...]:
        """Titles of the columns."""
        return tuple(column.title for column in self.columns)

    def texts(self) -> list[tuple[str, ...]]:
        """The rows as people read them."""
        return [tuple(c.text(column) for c, column in zip(row, self.columns, strict=True)) for row in self.rows]

    def row(self, name: str) -> dict[str, Cell]:
        """Cells of a row by the keys of their columns."""
        found = next(row for row in self.rows if row[0].value == name)
        return {column.key: cell for column, cell in zip(self.columns, found, strict=True)}

    def without(self, *keys: str) -> Table:
        """The same without some columns."""
        left = [i for i, column in enumerate(self.columns) if column.key not in keys]
        rows = tuple(tuple(row[i] for i in left) for row in self.rows)
        return replace(self, columns=tuple(self.columns[i] for i in left), rows=rows)

    def parts(self) -> list[Table]:
        """The figures, and below them, where there is a control, the differences to it."""
        shown = [row for row in self.rows if any(cell.difference for cell in row)]
        if not shown:
            return [self]
        figures = [i for i, column in enumerate(self.columns) if column.is_figure]
        signed = [replace(self.columns[i], signed=True) for i in figures]
        rows = []
        for row in shown:
            pairs = max(cell.difference.n for cell in row if cell.difference)
            cells = (Cell(row[i].difference, mark=row[i].mark, of=pairs) for i in figures)
            rows.append((row[0], Cell(pairs), *cells))
        title = f"Difference to {self.control}, paired over seeds"
        return [self, Table(title, (self.columns[0], Column("pairs", "count"), *signed), tuple(rows))]
