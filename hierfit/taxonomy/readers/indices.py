"""Whole numbers, a column for each level, and the files that say what numbers and ids mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding, problem
from hierfit.taxonomy.readers.given import Reading, Rows
from hierfit.taxonomy.readers.source import Content, read_text
from hierfit.taxonomy.readers.table import CellTable, lines_of

_WHOLE_NUMBER = re.compile(r"\s*\d+\s*")
_NUMBER_AND_NAME = re.compile(r"\s*(\d+)(?:\s*[\t,:]\s*|\s+)(\S.*)")
WNID = re.compile(r"n\d{8}")
"""A noun of WordNet 3.0, as ImageNet writes it."""


def names_in(file: str | Path) -> list[str]:
    """The lines of a file that are not blank."""
    return [line.strip() for line in lines_of(read_text(Path(file).expanduser())) if line.strip()]


def id_names(
    options: Reading, file: Content, columns: Iterable[Iterable[str]], findings: list[Finding]
) -> dict[str, str]:
    """Names of the ids in some columns, out of ``id name`` lines; WordNet's ``words.txt`` is found beside the file.

    Of several synonyms, divided by commas, the first is taken. Ids without a name become faults.
    """
    beside = file.path.with_name("words.txt")
    if not options.names and not beside.is_file():
        return {}
    ids = {name for column in columns for name in column if name}
    wordnet = all(map(WNID.fullmatch, ids))
    files = options.names or ((str(beside),) if wordnet else ())
    known: dict[str, str] = {}
    for line in (line for names in files for line in names_in(names)):
        key, _, name = line.partition("\t" if "\t" in line else " ")
        if name.strip() and key in ids:
            known[key] = name.split(",")[0].strip() if wordnet else name.strip()
    missing = sorted(ids - known.keys() if files else ())
    findings += [problem("no-name", f"{name!r} has no name in {', '.join(files)}") for name in missing]
    return known


def leaf_list(file: str) -> list[str]:
    """The leaves a file lists, one a line; of WordNet's the ids that its lines begin with."""
    lines = names_in(file)
    return [line[:9] for line in lines] if all(re.match(r"n\d{8}\b", line) for line in lines) else lines


def are_indices(rows: Sequence[Sequence[object]]) -> bool:
    """Whether all cells are whole numbers, at least two in each row."""
    return bool(rows) and all(len(row) > 1 and all(_WHOLE_NUMBER.fullmatch(str(c)) for c in row) for row in rows)


def read(table: CellTable, source: str, options: Reading) -> Rows:
    """Rows of names for rows of numbers: from the name files, or ``level 3``.

    Unless columns are asked for, the one with fewer different numbers is coarser; raises `UserError` where that does
    not tell, or the name files do not fit.
    """
    width = len(table.rows[0]) if table.rows else 0
    good = [len(row) == width and all(map(_WHOLE_NUMBER.fullmatch, row)) for row in table.rows]
    faults = [problem("row", f"expected {width} whole numbers, got {', '.join(row)}", table.where(number))
              for number, row in enumerate(table.rows) if not good[number]]  # fmt: skip
    table = table.part([number for number, fine in enumerate(good) if fine])
    numbers = [[*map(int, table.column(c))] for c in range(width)]
    columns = [column - 1 for column in options.columns]
    if not columns:
        sizes = [len(set(column)) for column in numbers]
        if len(set(sizes)) < len(sizes):
            counts = ", ".join(map(str, sizes))
            hint = "Give the columns from coarse to fine, counted from 1: --columns 3,2,1."
            what = f"the columns hold {counts} different numbers, which does not tell coarse from fine"
            raise UserError(f"{source}: {what}", hint=hint)
        columns = sorted(range(width), key=sizes.__getitem__)
    if options.names and len(options.names) != len(columns):
        hint = "Give one a level, coarse to fine."
        raise UserError(f"{len(options.names)} files of names for {len(columns)} levels", hint=hint)
    levels = options.levels or tuple(f"level{i}" for i in range(len(columns)))
    called = levels if len(levels) == len(columns) else [f"level{i}" for i in range(len(columns))]
    found = [[f"{level} {number}" for number in numbers[c]] for level, c in zip(called, columns, strict=True)]
    for level, file in enumerate(options.names if table.rows else ()):
        found[level] = _names_of(numbers[columns[level]], file, level + 1, faults)
    return Rows([list(row) for row in zip(*found, strict=True)], table.where, levels, faults)


def _names_of(column: Sequence[int], file: str, level: int, faults: list[Finding]) -> list[str]:
    """The name of each number, counted from 0 or 1; lines may begin with their numbers, as in ``1 001.Albatross``."""
    names = names_in(file)
    matches = [match for name in names if (match := _NUMBER_AND_NAME.fullmatch(name))]
    if [int(match[1]) for match in matches] in ([*range(len(names))], [*range(1, len(names) + 1)]):
        names = [match[2].strip() for match in matches]
    base = min(min(column), 1)
    if min(column) > 1:
        faults.append(problem("index", f"level {level}: indices begin with {min(column)}, neither 0 nor 1"))
    if max(column) - base >= len(names):
        faults.append(problem("index", f"level {level}: index {max(column)}, but {file} has {len(names)}"))
    return [names[i - base] if i - base < len(names) else str(i - base) for i in column]
