"""A row for each leaf, from the root to it or from it to the root."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

from hierfit.taxonomy.checks import Where
from hierfit.taxonomy.readers.given import Rows
from hierfit.taxonomy.readers.options import Reading
from hierfit.taxonomy.readers.source import Source
from hierfit.taxonomy.readers.table import Table, order_of_columns

Direction = Literal["paths", "leaf-first"]


def read_paths(source: Source, options: Reading, direction: Direction) -> Rows:
    """The rows of a table, the header's names as levels."""
    table = source.table
    header = table.header(options.header, str(source.path))
    if header is not None:
        table = table.below_header()
        header = header[: max((i + 1 for i, cell in enumerate(header) if cell), default=0)]
    faults: list[str] = []
    rows: list[Sequence[str]] = []
    kept: list[int] = []
    for number, row in enumerate(table.rows):
        if header is not None and len(row) > len(header) and any(row[len(header) :]):
            faults.append(f"{table.where(number)}: {len(row)} cells under a header of {len(header)}")
        else:
            rows.append(row)
            kept.append(number)
    where: Where = lambda number: table.where(kept[number])  # noqa: E731
    if options.columns:
        columns = [c - 1 for c in options.columns]
        short = [i for i, row in enumerate(rows) if len(row) <= max(columns)]
        faults += [f"{where(i)}: {len(rows[i])} cells, but column {max(columns) + 1} is asked for" for i in short]
        rows = [[row[c] for c in columns if c < len(row)] for row in rows]
        header = tuple(header[c] for c in columns if c < len(header)) if header else None
    elif direction == "leaf-first":
        rows = [_turned(row) for row in rows]
        header = header[::-1] if header else None
    return Rows(rows, where, header, faults)


def _turned(row: Sequence[str]) -> Sequence[str]:
    """The row the other way round, empty cells at its end left out."""
    stop = len(row)
    while stop and row[stop - 1] == "":
        stop -= 1
    return row[:stop][::-1]


def direction_of(table: Table, header: Sequence[str] | None) -> tuple[Direction | None, str]:
    """Which way rows run, and by what that is known; None when nothing tells."""
    order = [place for _, place in order_of_columns(header or ())]
    if header is not None and order and order in (sorted(order), sorted(order)[::-1]):
        way: Direction = "paths" if order == sorted(order) else "leaf-first"
        return way, f"by its column names, {', '.join(header)}"
    rows = table.rows if header is None else table.rows[1:]
    way_or_none, reason = direction_by_parents(rows)
    if way_or_none is None and header is not None and table.is_csv and reason == _NOTHING:
        return "paths", "as a CSV file's columns run coarse to fine unless something speaks against it"
    if way_or_none == "leaf-first" and header is not None and table.is_csv and torn(rows) < _ENOUGH:
        return None, f"{reason}, which is too little to read a CSV file's columns fine to coarse"
    return way_or_none, reason


_ENOUGH = 3  # names with several parents
_NOTHING = "each name stands under one other either way"


def direction_by_parents(rows: Iterable[Sequence[str]]) -> tuple[Direction | None, str]:
    """The way of rows in which far fewer names have several parents."""
    full = [[cell for cell in row if cell] for row in rows]
    down, up = torn(full), torn([row[::-1] for row in full])
    if 2 * min(down, up) > max(down, up) or down == up:
        reason = f"{_many(down)} read root first, {_many(up)} leaf first" if down or up else _NOTHING
        return None, reason
    few, many = sorted((down, up))
    against = f", against {few}" if few else ""
    return ("paths" if down < up else "leaf-first"), f"the other way round {_many(many)}{against}"


def _many(count: int) -> str:
    return "1 name would have several parents" if count == 1 else f"{count} names would have several parents"


def torn(rows: Iterable[Sequence[str]]) -> int:
    """Names that stand under several others at one depth, rows read root first."""
    above: dict[tuple[int, str], str] = {}
    found = set()
    for row in rows:
        for depth, (parent, name) in enumerate(pairwise(row)):
            if above.setdefault((depth, name), parent) != parent:
                found.add((depth, name))
    return len(found)
