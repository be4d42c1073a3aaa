"""Whole numbers, a column for each level: `[leaf, order, family]`, as fine-grained code keeps them in `trees.py`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding, Where
from hierfit.taxonomy.readers.given import Rows, problem
from hierfit.taxonomy.readers.names import name_lists
from hierfit.taxonomy.readers.options import Reading
from hierfit.taxonomy.readers.source import Source


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
    faults: list[Finding] = []
    width = len(cells[0]) if cells else 0
    rows, kept = [], []
    for number, row in enumerate(cells):
        if len(row) != width or not all(re.fullmatch(r"\d+", cell) for cell in row):
            text = f"expected {width} whole numbers, got {', '.join(row)}"
            faults.append(problem("row", text, where(number)))
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


def _names(rows: list[list[int]], options: Reading, faults: list[Finding]) -> list[list[str]]:
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
            text = f"level {level + 1}: indices begin with {start}, neither 0 nor 1"
            faults.append(problem("index", text))
        beyond = max(row[level] for row in rows) - min(start, 1)
        if beyond >= len(known):
            text = f"level {level + 1}: index {beyond + min(start, 1)}, but {options.names[level]} has {len(known)}"
            faults.append(problem("index", text))
    for row in rows:
        at = [cell - min(start, 1) for cell, start in zip(row, first, strict=True)]
        named.append([known[i] if i < len(known) else str(i) for known, i in zip(lists, at, strict=True)])
    return named
