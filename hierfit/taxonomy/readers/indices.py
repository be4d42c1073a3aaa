"""Whole numbers, a column for each level, and the files that say what numbers and ids mean."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding, Where
from hierfit.taxonomy.readers.given import Reading, Rows, problem
from hierfit.taxonomy.readers.source import Source, read_text
from hierfit.taxonomy.readers.table import lines_of

_NUMBERED = re.compile(r"\s*(\d+)(?:\s*[\t,:]\s*|\s+)(\S.*)")
WNID = re.compile(r"n\d{8}")
"""A noun of WordNet 3.0, as ImageNet writes it."""

_WORDS = "words.txt"


def id_names(options: Reading, source: Source, ids: Collection[str], findings: list[Finding]) -> dict[str, str]:
    """Names of ids, out of ``id name`` lines; WordNet's ``words.txt`` is found when it lies beside the file.

    Of several synonyms, divided by commas, the first is taken. Ids without a name become faults.
    """
    files = options.names
    wordnet = all(WNID.fullmatch(name) for name in ids)
    beside = source.path.with_name(_WORDS)
    if not files and wordnet and beside.is_file():
        files = (str(beside),)
    if not files:
        return {}
    known: dict[str, str] = {}
    for file in files:
        for line in lines_of(read_text(Path(file).expanduser())):
            key, _, name = line.strip().partition("\t") if "\t" in line else line.strip().partition(" ")
            if key and name.strip():
                known[key] = name.split(",")[0].strip() if wordnet else name.strip()
    missing = sorted({name for name in ids if name and name not in known})
    findings += [problem("no-name", f"{name!r} has no name in {', '.join(files)}") for name in missing]
    wanted = set(ids)
    return {key: name for key, name in known.items() if key in wanted}


def name_lists(files: Sequence[str]) -> list[list[str]]:
    """The names of each file, one a line, without the numbers in front of them (``1 001.Albatross``)."""
    lists = []
    for file in files:
        lines = [line.strip() for line in lines_of(read_text(Path(file).expanduser())) if line.strip()]
        matches = [_NUMBERED.fullmatch(line) for line in lines]
        numbers = [int(match[1]) for match in matches if match]
        if len(numbers) == len(lines) and numbers in (list(range(len(lines))), list(range(1, len(lines) + 1))):
            lines = [match[2].strip() for match in matches if match]
        lists.append(lines)
    return lists


def leaf_list(file: str) -> list[str]:
    """The leaves a file lists: the first column of its lines."""
    lines = [line.strip() for line in lines_of(read_text(Path(file).expanduser())) if line.strip()]
    if all(re.match(r"n\d{8}\b", line) for line in lines):
        return [line[:9] for line in lines]
    return lines


# Numbers -------------------------------------------------------------------------------------------------------------


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
