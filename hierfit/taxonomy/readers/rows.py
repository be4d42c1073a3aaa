"""Tables with a path in each row: levels in columns, biology's ranks, whole numbers; and which way they run."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding, problem, remark
from hierfit.taxonomy.readers import columns, indices
from hierfit.taxonomy.readers.cells import PICTURE, filled_down, tidy, with_genus
from hierfit.taxonomy.readers.columns import word
from hierfit.taxonomy.readers.given import Claim, Reading, Rows, Score
from hierfit.taxonomy.readers.source import Source
from hierfit.taxonomy.readers.table import Table

Direction = Literal["paths", "leaf-first"]

_ENOUGH = 3  # names with several parents
_CODE = re.compile(r"[A-Za-z]{0,3}[\d][\w.\- ]*|[A-Z]")
_CODE_NAME = re.compile(r".*(?:code|id|no|nr|num|number|key|index)\d*")
_ROW_NUMBER = re.compile(r"unnamed0|index|rowid|(?:seq|row|s|line)?(?:no|nr|number|num)|")
_DESCRIBES = ("description", "definition", "url", "image", "notes", "remarks")
_MEASURE = re.compile(r"\s*[-+]?\d*\.\d+(?:e-?\d+)?\s*")
_MARKUP = re.compile(r"[{}<>=]|\w\(.*\)\s*[;{:]|^(?:https?|gid|urn):|;$")
_NOTHING = "each name stands under one other either way"


def claims(table: Table, source: Source, options: Reading) -> Iterator[Claim]:
    """What a table, with its header if it has one, can be, links aside."""
    whole_numbers = not table.of_records and indices.are_indices(table.rows)
    if options.columns:
        why = f"columns {', '.join(map(str, options.columns))}, coarse to fine"
        if (most := max(options.columns)) > table.width:
            raise UserError(f"{source.path}: there are {table.width} columns, but column {most} is asked for")
        if whole_numbers:
            yield indices.claim(table, source, options, Score.CERTAIN, why)
        else:
            yield _by_columns(table, [column - 1 for column in options.columns], "paths", Score.CERTAIN, why)
    elif options.format == "paths" and options.header and table.header:
        yield _by_columns(table, range(len(table.header)), "paths", Score.CERTAIN, "as it stands", verbatim=True)
    elif table.width < 2:
        if table.header:
            yield _by_columns(table, [0], "paths", Score.POSSIBLE, "one level")
    elif whole_numbers and (table.width > 2 or not is_chained(table.rows)):
        yield indices.claim(table, source, options, Score.LIKELY, f"{table.what}, all of them whole numbers")
    else:
        ranks = _ranks(table)
        if ranks:
            yield ranks
        if ranks and options.format is None:
            return
        if not table.of_records:
            yield from _levels(table)
        elif chosen := columns.coarse_and_fine(table.words):
            yield _by_columns(table, chosen, "paths", Score.LIKELY, "by its keys")


def _by_columns(
    table: Table, chosen: Sequence[int], way: Direction, score: Score, why: str, findings: Sequence[Finding] = (),
    verbatim: bool = False,
) -> Claim:  # fmt: skip
    """Rows of some columns, given coarse to fine; tidied, unless every cell is to be taken as it stands."""
    header = table.header
    width = table.width if header is None else len(header)
    named = f", columns {', '.join(table.name(c) for c in chosen if c < width)}" if header else ""
    levels = [table.name(c) for c in chosen] if header else None
    all_columns = [*chosen] == [*range(width)] and not table.of_records

    def read() -> Rows:
        rows: Sequence[Sequence[str]] = table.rows if all_columns else table.paths(chosen)
        faults = {i: f"{len(row)} cells under a header of {width}" for i, row in enumerate(table.rows)
                  if len(row) > width and any(row[width:])}  # fmt: skip
        for number, row in enumerate(rows if table.of_records else ()):
            if any(isinstance(cell, tuple) for cell in row):
                faults[number] = "a list of names where one name should be"
        found = [*findings, *(problem("row", text, table.where(number)) for number, text in faults.items())]
        good = table
        if faults:
            kept = [i for i in range(len(rows)) if i not in faults]
            good, rows = table.part(kept), [rows[i][:width] for i in kept]
        if way == "leaf-first" and header is None:
            # A headerless line is as long as its path: from the leaf, what is missing is missing at its end.
            rows = [[*filter(None, row)] for row in rows]
        if verbatim:
            return Rows(rows, good.where, levels, found)
        return tidy(rows, good.where, levels, False, good.rows if len(chosen) < table.width else None, found)

    first = "root first" if way == "paths" else "leaf first"
    return Claim(way, score, f"{table.what}, a path in each, {first}: {why}{named}", read)


# Levels in columns ---------------------------------------------------------------------------------------------------


def _levels(table: Table) -> Iterator[Claim]:
    """Columns from coarse to fine or from fine to coarse, without those that only number the rows or repeat another."""
    chosen, findings = _without_ids(table)
    if len(chosen) < 2:
        return
    sample = table.sample().paths(chosen)
    places = [place for _, place in columns.order_of_columns([table.name(c) for c in chosen] if table.header else ())]
    fault, grave = _no_path(table, chosen, sample)
    ways: tuple[Direction, ...] = ("paths", "leaf-first")
    if places and places in (sorted(places), sorted(places)[::-1]) and not grave:
        ways, why, score = ways[:1] if places == sorted(places) else ways[1:], "by its column names", Score.CERTAIN
    else:
        way, why = direction_by_parents(sample)
        certain = table.header is not None and table.is_csv
        if fault:
            way, why = None, fault
        elif way is None and filled_down(sample, str, []) is not sample:
            way, why = "paths", "cells are empty on the left, as of merged cells"
        elif way is None and certain and why == _NOTHING:
            way, why = "paths", "as a CSV file's columns run coarse to fine unless something speaks against it"
        elif way == "leaf-first" and certain and torn(sample) < _ENOUGH:
            way, why = None, f"{why}, which is too little to read a CSV file's columns fine to coarse"
        elif table.header is None and table.what == "two words in each line":
            way, why = None, table.what
        elif table.header is None and table.width == 2 and is_chained(sample):
            way, why = None, "names of one column return in the other"
        ways, score = ((way,), Score.LIKELY) if way else (ways, Score.POSSIBLE)
    for direction in ways:
        turned = chosen if direction == "paths" else chosen[::-1]
        yield _by_columns(table, turned, direction, score, why, findings)


def _no_path(table: Table, chosen: Sequence[int], rows: Sequence[Sequence[str]]) -> tuple[str, bool]:
    """What speaks against a path in each row, if anything does; and whether column names do not outweigh it."""
    for column, cells in zip(chosen, zip(*rows, strict=True), strict=True):
        name = table.shown(column)
        filled = [cell for cell in cells if cell]
        if 2 * sum(map(bool, map(PICTURE.fullmatch, filled))) > len(filled):
            return f"{name} names pictures: such a table is for `hierfit data new`", True
        if filled and all(map(_MEASURE.fullmatch, filled)):
            return f"{name} holds measurements", False
        if 2 * sum(map(bool, map(_MARKUP.search, filled))) > len(filled):
            return f"{name} holds code or markup, not names", False
        if filled and {*filled} <= {"0", "1"} and len(chosen) > 2:
            return f"{name} holds 0 and 1 alone: marks for classes, not names", False
    distinct = len(set(map(tuple, rows)))
    if len(rows) > 20 and distinct * 2 < len(rows):
        return f"{len(rows)} rows give only {distinct} paths", False
    if len(rows) > 2 and all(len(set(cells)) == len(cells) for cells in zip(*rows, strict=True)):
        return "no name comes twice in any column: they say the same of a row, and are no levels", False
    return "", False


def _without_ids(table: Table) -> tuple[list[int], list[Finding]]:
    """Columns that can be levels: none that number the rows, and of a code and its title side by side the title."""
    width, table = table.width, table.sample()
    cells = [table.column(column) for column in range(width)]
    kept, dropped = [], []
    for column, below in enumerate(cells):
        name = word(table.name(column))
        if table.header and len(table.header) <= column and not any(below):
            continue
        if width > 2 and _numbers_rows(name, below):
            dropped.append(f"{table.shown(column)} only numbers the rows")
        elif name in _DESCRIBES:
            dropped.append(f"{table.shown(column)} describes a row")
        else:
            kept.append(column)
    for left, right in pairwise(list(kept) if width > 3 else ()):
        for code, title in ((left, right), (right, left)):
            if {left, right} <= {*kept} and _is_code_of(table, cells, code, title):
                dropped.append(f"{table.shown(code)} says the same as the column beside it")
                kept.remove(code)
    text = f"columns that are no level: {'; '.join(dropped)}"
    advice = f"--columns {','.join(str(c + 1) for c in kept)} asks for these; give others to choose yourself."
    return kept, [remark("id-column", text, advice=advice)] if dropped else []


def _numbers_rows(name: str, cells: Sequence[str]) -> bool:
    if len(cells) < 2 or len(set(cells)) < len(cells):
        return False
    if _ROW_NUMBER.fullmatch(name):
        return all(map(str.isdecimal, cells))
    return name in columns.IDS and all(map(_CODE.fullmatch, cells))


def _is_code_of(table: Table, cells: Sequence[Sequence[str]], code: int, title: int) -> bool:
    """Whether a column of codes and the one beside it stand for each other, by their names or by digits alone."""
    codes = {cell for cell in cells[code] if cell}
    if not codes or not all(map(_CODE.fullmatch, codes)) or all(map(_CODE.fullmatch, filter(None, cells[title]))):
        return False
    own, other = word(table.name(code)), word(table.name(title))
    named = _CODE_NAME.fullmatch(own) or (own and other != own and other.startswith(own))
    if not named and (len(codes) < 3 or not all(map(str.isdigit, codes))):
        return False
    return len({pair for pair in zip(cells[code], cells[title], strict=True) if all(pair)}) == len(codes)


# Ranks ---------------------------------------------------------------------------------------------------------------


def _ranks(table: Table) -> Claim | None:
    """Columns of biology's ranks among others; plain rows in the ranks' order are ordinary paths."""
    words = table.words
    chosen = columns.ranks_in(words)
    if not chosen or (not table.of_records and chosen == [*range(len(words))]):
        return None
    sample = table.sample().paths(chosen)
    if any(isinstance(cell, tuple) for row in sample for cell in row) or torn(sample) > torn(r[::-1] for r in sample):
        return None
    last, finest = _species(table, words, chosen)
    chosen = [c for c in chosen if words[c] != finest or not last]
    levels = [*(words[c] for c in chosen), *([finest] if last else [])]

    def read() -> Rows:
        ends = [[name] for name in last] if last else [[]] * len(table.rows)
        rows = [[*map(str.strip, row), *end] for row, end in zip(table.paths(chosen), ends, strict=True)]
        return tidy(rows, table.where, levels, True, table.rows)

    return Claim("ranks", Score.CERTAIN, f"{table.what} with {', '.join(levels)}", read)


def _species(table: Table, words: Sequence[str], ranks: Sequence[int]) -> tuple[list[str] | None, str]:
    """What the finest level is called, where no column says it as it stands, and that level's name.

    An epithet (``alba``) needs its genus in front of it. Without one, a column of names is the species where they begin
    with the genus, and otherwise the finest level where its names tell rows apart that all ranks leave together.
    """

    def stripped(column: int) -> list[str]:
        return [str(cell).strip() for cell in table.column(column)]

    epithet = columns.find(words, columns.EPITHET)
    genera = stripped(words.index("genus")) if "genus" in words else None
    if epithet is not None and genera and (whole := with_genus(genera, stripped(epithet))):
        return whole, "species"
    if "species" in words:
        return None, ""
    for column in (words.index(name) for name in (*columns.SPECIES_NAME, *columns.NAMES) if name in words):
        cells = stripped(column)
        if all(not cell or cell.isdigit() for cell in cells):
            continue
        if genera is not None:
            begun = [cell.startswith(f"{g} ") for g, cell in zip(genera, cells, strict=True) if cell]
            if sum(begun) >= 0.9 * len(begun):
                return [cell if len(cell.split()) > 1 else "" for cell in cells], "species"
        above = [tuple(row) for row in table.paths(ranks)]
        finest = {row[-1] for row in above}
        if len(set(above)) < len(set(zip(above, cells, strict=True))) and finest.isdisjoint(filter(None, cells)):
            return cells, table.name(column)
    return None, ""


# Which way -----------------------------------------------------------------------------------------------------------


def is_chained(pairs: Sequence[Sequence[str]]) -> bool:
    """Whether names of one column return in the other, in another row."""
    left = {pair[0] for pair in pairs if pair[0] != pair[1]}
    return any(pair[1] in left for pair in pairs if pair[0] != pair[1])


def direction_by_parents(rows: Iterable[Sequence[str]]) -> tuple[Direction | None, str]:
    """The way of rows in which far fewer names have several parents."""
    full = [[cell for cell in row if cell] for row in rows]
    down, up = torn(full), torn(row[::-1] for row in full)
    few, many = sorted((down, up))
    shown = {n: f"{n} name{'s' * (n != 1)} would have several parents" for n in (down, up)}
    if not many:
        return None, _NOTHING
    if 2 * few > many or few == many:
        return None, f"{shown[down]} read root first, {shown[up]} leaf first"
    against = f", against {few}" if few else ""
    return ("paths" if down < up else "leaf-first"), f"the other way round {shown[many]}{against}"


def torn(rows: Iterable[Sequence[Any]]) -> int:
    """Names that stand under several others at one depth, rows read root first; empty cells are nobody's."""
    above: defaultdict[int, dict[str, str]] = defaultdict(dict)
    found = set()
    for row in rows:
        for depth, (parent, name) in enumerate(pairwise(row)):
            if name and parent and above[depth].setdefault(name, parent) != parent:
                found.add((depth, name))
    return len(found)
