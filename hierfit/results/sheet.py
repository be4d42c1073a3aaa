"""A group as text cells: what the terminal, Markdown and LaTeX tables share."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hierfit.results.columns import Column, Unit
from hierfit.results.group import Group, Row
from hierfit.results.statistics import Estimate, Verdict

DASH = "–"
HELPS, HURTS = "▲", "▼"
READING = (
    "% on the test split, mean ± 95 % t-interval over seeds; – where one seed gives no interval, or where inner nodes "
    "were not trained. leaf acc: the best leaf. FPA and TICE: each level's own argmax. decoded: by the decoder that "
    "val chose. Levels: the most probable node."
)
READING_DIFFERENCES = (
    f"{HELPS} helps, {HURTS} hurts: by a paired t-test over seeds at 5 %, corrected for all differences of the table "
    "(Holm), and by 0.2 points or more. No mark: no evidence, also where an interval excludes 0."
)

_DECIMALS: dict[Unit, int] = {"%": 2, "edges": 3, "levels": 3, "count": 0, "s": 1, "MiB": 0}


@dataclass(frozen=True)
class Sheet:
    """Text cells of one table.

    Attributes:
        title: Above it.
        header: Units other than % are named.
        rows: As long as the header each.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def sheets(group: Group) -> list[Sheet]:
    """The figures of a group and, where there is a control, the differences to it."""
    names = tuple(_header(column) for column in group.columns)
    figures = Sheet(
        group.title,
        ("", "seeds", *names, "selected on", "tuned on"),
        tuple(
            (row.name, str(len(row.seeds)), *_figures(row, group.columns), row.selected_on, row.tuned_on)
            for row in group.rows
        ),
    )
    compared = [row for row in group.rows if row.differences]
    if not compared:
        return [figures]
    title = f"Difference to {group.control}, paired over seeds"
    rows = tuple(
        (
            row.name,
            str(_pairs(row)),
            *(
                difference_cell(d, c, _pairs(row), said)
                for d, c, said in zip(row.differences, group.columns, group.verdicts[row.name], strict=True)
            ),
        )
        for row in compared
    )
    return [figures, Sheet(title, ("", "pairs", *names), rows)]


def _header(column: Column) -> str:
    return column.header if column.unit in ("%", "count") else f"{column.header} [{column.unit}]"


def _figures(row: Row, shown: tuple[Column, ...]) -> tuple[str, ...]:
    pairs = zip(row.values, shown, strict=True)
    if row.source is not None:
        return tuple(DASH if value is None else _number(value.mean, column) for value, column in pairs)
    return tuple(figure_cell(value, column, len(row.seeds)) for value, column in pairs)


def figure_cell(estimate: Estimate | None, column: Column, expected: int) -> str:
    """``93.20 ±0.41``; names the number of values where it is not the expected one."""
    if estimate is None:
        return DASH
    return f"{_number(estimate.mean, column)}{_half_width(estimate, column, expected)}"


def difference_cell(estimate: Estimate | None, column: Column, expected: int, said: Verdict | None) -> str:
    """``+1.30 ±0.60 ▲``: a difference with its interval and what it says in its table, see `Group.verdicts`."""
    if estimate is None:
        return DASH
    text = f"{_number(estimate.mean, column, sign='+')}{_half_width(estimate, column, expected)}"
    return text + mark(said)


def mark(said: Verdict | None) -> str:
    """What stands behind a difference: `` ▲`` helps, `` ▼`` hurts, nothing where there is no evidence."""
    return {"helps": f" {HELPS}", "hurts": f" {HURTS}"}.get(said or "", "")


def _half_width(estimate: Estimate, column: Column, expected: int) -> str:
    if column.is_fact and (estimate.n == 1 or estimate.half_width == 0):
        return ""
    width = DASH if math.isnan(estimate.half_width) else _number(estimate.half_width, column)
    # A figure undefined for some seeds rests on fewer than its row says.
    return f" ±{width}" if estimate.n == expected else f" ±{width} (n={estimate.n})"


def _number(value: float, column: Column, sign: str = "") -> str:
    scaled = 100 * value if column.unit == "%" else value
    text = f"{scaled:{sign},.{_DECIMALS[column.unit]}f}"
    return text.replace("-", "−")


def _pairs(row: Row) -> int:
    return max((d.n for d in row.differences if d is not None), default=0)
