"""Whole numbers, a column for each level, and the files that say what numbers and ids mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding, Where, problem
from hierfit.taxonomy.readers.given import Reading, Rows
from hierfit.taxonomy.readers.source import Source, read_text
from hierfit.taxonomy.readers.table import lines_of

_NUMBERED = re.compile(r"\s*(\d+)(?:\s*[\t,:]\s*|\s+)(\S.*)")
WNID = re.compile(r"n\d{8}")
"""A noun of WordNet 3.0, as ImageNet writes it."""


def _lines(file: str) -> list[str]:
    return [line.strip() for line in lines_of(read_text(Path(file).expanduser())) if line.strip()]


def id_names(
    options: Reading, source: Source, columns: Iterable[Iterable[str]], findings: list[Finding]
) -> dict[str, str]:
    """Names of the ids in some columns, out of ``id name`` lines; WordNet's ``words.txt`` is found beside the file.

    Of several synonyms, divided by commas, the first is taken. Ids without a name become faults.
    """
    beside = source.path.with_name("words.txt")
    if not options.names and not beside.is_file():
        return {}
    ids = {name for column in columns for name in column if name}
    wordnet = all(map(WNID.fullmatch, ids))
    files = options.names or ((str(beside),) if wordnet else ())
    known: dict[str, str] = {}
    for line in (line for file in files for line in _lines(file)):
        key, _, name = line.partition("\t" if "\t" in line else " ")
        if name.strip() and key in ids:
            known[key] = name.split(",")[0].strip() if wordnet else name.strip()
    missing = sorted(ids - known.keys() if files else ())
    findings += [problem("no-name", f"{name!r} has no name in {', '.join(files)}") for name in missing]
    return known


def leaf_list(file: str) -> list[str]:
    """The leaves a file lists, one a line; of WordNet's the ids that its lines begin with."""
    lines = _lines(file)
    return [line[:9] for line in lines] if all(re.match(r"n\d{8}\b", line) for line in lines) else lines


def are_indices(rows: Sequence[Sequence[object]]) -> bool:
    """Whether all cells are whole numbers, at least two in each row."""
    return bool(rows) and all(len(row) > 1 and all(re.fullmatch(r"\s*\d+\s*", str(c)) for c in row) for row in rows)


def read_indices(cells: Sequence[Sequence[str]], where: Where, source: Source, options: Reading) -> Rows:
    """Rows of names: from the name files, or ``level 3``.

    The leaves' column is the one without repeats. Of the others one with fewer different numbers is coarser.

    Raises:
        UserError: The order of the columns cannot be told, or the name files do not fit.
    """
    faults: list[Finding] = []
    width = len(cells[0]) if cells else 0
    rows, kept = [], []
    for number, row in enumerate(cells):
        if len(row) != width or not all(re.fullmatch(r"\s*\d+\s*", cell) for cell in row):
            faults.append(problem("row", f"expected {width} whole numbers, got {', '.join(row)}", where(number)))
        else:
            rows.append([int(cell) for cell in row])
            kept.append(number)
    columns = [c - 1 for c in options.columns]
    if any(not 0 <= c < width for c in columns):
        raise UserError(f"{source.path}: there are {width} columns, but {options.columns} are asked for")
    if not columns:
        sizes = [len(set(column)) for column in zip(*rows, strict=True)]
        if len(set(sizes)) < len(sizes):
            raise UserError(
                f"{source.path}: the columns hold {', '.join(map(str, sizes))} different numbers, "
                "which does not tell coarse from fine",
                hint="Give the columns from coarse to fine, counted from 1: --columns 3,2,1.",
            )
        columns = sorted(range(len(sizes)), key=sizes.__getitem__)
    levels = options.levels or tuple(f"level{i}" for i in range(len(columns)))
    ordered = [[row[c] for c in columns] for row in rows]
    return Rows(_named(ordered, levels, options, faults), lambda row: where(kept[row]), levels, faults)


def _named(rows: list[list[int]], levels: Sequence[str], options: Reading, faults: list[Finding]) -> list[list[str]]:
    depth = len(rows[0]) if rows else 0
    if not options.names:
        levels = levels if len(levels) == depth else [f"level{i}" for i in range(depth)]
        return [[f"{level} {cell}" for level, cell in zip(levels, row, strict=True)] for row in rows]
    if len(options.names) != depth:
        hint = "Give one a level, coarse to fine."
        raise UserError(f"{len(options.names)} files of names for {depth} levels", hint=hint)
    columns = []
    for level, (file, column) in enumerate(zip(options.names, zip(*rows, strict=True), strict=True), 1):
        names = _lines(file)
        matches = [match for name in names if (match := _NUMBERED.fullmatch(name))]
        if [int(match[1]) for match in matches] in ([*range(len(names))], [*range(1, len(names) + 1)]):
            names = [match[2].strip() for match in matches]  # as in ``1 001.Albatross``
        base = min(min(column), 1)
        if min(column) > 1:
            faults.append(problem("index", f"level {level}: indices begin with {min(column)}, neither 0 nor 1"))
        if max(column) - base >= len(names):
            faults.append(problem("index", f"level {level}: index {max(column)}, but {file} has {len(names)}"))
        columns.append([names[i - base] if i - base < len(names) else str(i - base) for i in column])
    return [list(row) for row in zip(*columns, strict=True)]
