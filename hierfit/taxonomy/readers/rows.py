"""Tables with a path in each row: levels in columns, biology's ranks, whole numbers; and which way they run."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding, problem, remark
from hierfit.taxonomy.readers import columns, indices
from hierfit.taxonomy.readers.cells import filled_down, joint, tidy, with_genus
from hierfit.taxonomy.readers.columns import word
from hierfit.taxonomy.readers.given import Form, Format, Guess, Reading, Rows
from hierfit.taxonomy.readers.source import Content
from hierfit.taxonomy.readers.table import TWO_WORDS, CellTable

_CODE_LIKE = re.compile(r"[A-Za-z]{0,3}[\d][\w.\- ]*|[A-Z]")
_CODE_NAME = re.compile(r".*(?:code|id|no|nr|num|number|key|index)\d*")
_ROW_NUMBER = re.compile(r"unnamed0|index|rowid|(?:seq|row|s|line)?(?:no|nr|number|num)|")
_DESCRIBES = ("description", "definition", "url", "image", "images", "notes", "remarks", "count", "split", "license",
              "source", "color", "colour")  # fmt: skip
_FLAT = "each name stands under one other either way"


def of_rows(table: CellTable, file: Content, options: Reading) -> Iterator[Guess]:
    """What a table, with its header if it has one, can be, links aside."""
    whole_numbers = not table.of_records and indices.are_indices(table.rows)
    if options.columns:
        why = f"columns {', '.join(map(str, options.columns))}, coarse to fine"
        if (most := max(options.columns)) > table.width:
            raise UserError(f"{file.path}: there are {table.width} columns, but column {most} is asked for")
        if whole_numbers:
            yield Guess("indices", why, partial(indices.read, table, str(file.path), options), True)
        else:
            yield from _by_columns(table, [column - 1 for column in options.columns], 1, why, True)
    elif options.format == "paths" and options.header and table.header:
        whole = range(len(table.header))
        yield Guess("paths", "every cell as it stands", partial(_read, table, whole, (), verbatim=True), True)
    elif table.width < 2:
        if table.header:
            yield from _by_columns(table, [0], 0, "one level")
    elif whole_numbers and (table.width > 2 or not is_chained(table.rows)):
        read = partial(indices.read, table, str(file.path), options)
        yield Guess("indices", f"{table.what}, all of them whole numbers", read)
    else:
        ranked = [*_ranks(table)]
        yield from ranked
        if table.of_records and not ranked:  # of their keys some are levels only if their names say so
            ordered = [guess for guess in _levels(table) if guess.said]
            yield from ordered
            if not ordered and (chosen := columns.coarse_and_fine(table.words)):
                yield Guess("paths", f"{table.what} with keys from coarse to fine", partial(_read, table, chosen, ()))
        elif not table.of_records and (not ranked or options.format):
            yield from _levels(table)


# Levels in columns ---------------------------------------------------------------------------------------------------


def _levels(table: CellTable) -> Iterator[Guess]:
    """Columns from coarse to fine or from fine to coarse, without those that only number the rows or repeat another."""
    chosen, findings = _without_ids(table)
    if len(chosen) < 2:
        return
    sample = table.sample.paths(chosen)
    cells = [[cell for cell in column if cell] for column in zip(*sample, strict=True)]
    shown = [table.shown(c) for c in chosen]
    pictures = [name for name, column in zip(shown, cells, strict=True) if columns.name_pictures(column)]
    faults = [f"{name} {fault}" for name, column in zip(shown, cells, strict=True)
              if (fault := columns.no_level(column, len(chosen) > 2))]  # fmt: skip
    places = [place for _, place in columns.order_of_columns([table.name(c) for c in chosen] if table.header else ())]
    joined = [name for name, column in zip(shown, cells, strict=True) if joint(column)]
    said = bool(places) and places in (sorted(places), sorted(places)[::-1]) and not (pictures or joined)
    way, why = which_way(sample)
    headed_csv = table.header is not None and table.certain
    if pictures:
        way, why = 0, f"{pictures[0]} names pictures: such a table is for `hierfit data new`"
    elif joined:
        way, why = 0, f"{joined[0]} holds whole paths"
    elif said:
        way, why = 1 if places == sorted(places) else -1, "by its column names"
    elif faults:
        way, why = 0, faults[0]
    elif len(sample) > 20 and (distinct := len(set(map(tuple, sample)))) * 2 < len(sample):
        way, why = 0, f"{len(sample)} rows give only {distinct} paths"
    elif len(sample) > 2 and all(len(set(column)) == len(column) for column in zip(*sample, strict=True)):
        way, why = 0, "no name comes twice in any column: they say the same of a row, and are no levels"
    elif not way and filled_down(sample, str, []) is not sample:
        way, why = 1, "cells are empty on the left, as of merged cells"
    elif not way and headed_csv and why == _FLAT:
        way, why = 1, "as a CSV file's columns run coarse to fine unless something speaks against it"
    elif way < 0 and headed_csv and torn(sample) < 3:
        way, why = 0, f"{why}, which is too little to read a CSV file's columns fine to coarse"
    elif table.header is None and table.what == TWO_WORDS:
        way, why = 0, table.what
    elif table.header is None and table.width == 2 and is_chained(sample):
        way, why = 0, "names of one column return in the other"
    yield from _by_columns(table, chosen, way, why, said, findings)


def _by_columns(
    table: CellTable, chosen: Sequence[int], way: int, why: str, said: bool = False, findings: Sequence[Finding] = ()
) -> list[Guess]:
    """Rows of some columns, which run from coarse to fine (1), from fine to coarse (−1), or nobody knows (0)."""
    named = f", columns {', '.join(map(table.name, chosen))}" if table.header else ""

    def read(step: int) -> Rows:
        return _read(table, chosen[::step], findings, leaf_first=step < 0)

    what = [f"{table.what}, a path in each, {first} first: {why}{named}" for first in ("root", "leaf")]
    return both_ways(("paths", "leaf-first"), way, what, read, said)


def both_ways(
    formats: tuple[Format, Format], way: int, why: Sequence[str], read: Callable[[int], Form], said: bool = False
) -> list[Guess]:
    """Rows from root to leaf (1) and from leaf to root (−1): the `way` that was found, and the other on request."""
    doubts = ["" if step == way else "the other way fits" if way else "either way fits" for step in (1, -1)]
    return [Guess(form, text, partial(read, step), said, doubt)
            for form, text, step, doubt in zip(formats, why, (1, -1), doubts, strict=True)]  # fmt: skip


def _read(
    table: CellTable,
    chosen: Sequence[int],
    findings: Sequence[Finding],
    leaf_first: bool = False,
    verbatim: bool = False,
) -> Rows:
    """The cells of some columns, given coarse to fine; tidied, unless every cell is to be taken as it stands."""
    width = table.width if table.header is None else len(table.header)
    levels = [table.name(c) for c in chosen] if table.header else None
    as_they_are = [*chosen] == [*range(width)] and not table.of_records
    rows: Sequence[Sequence[str]] = table.rows if as_they_are else table.paths(chosen)
    faults = {i: f"{len(row)} cells under a header of {width}" for i, row in enumerate(table.rows)
              if len(row) > width and any(row[width:])}  # fmt: skip
    for number, row in enumerate(rows if table.of_records else ()):
        if any(isinstance(cell, tuple) for cell in row):
            faults[number] = "a list of names where one name should be"
    found = [*findings, *(problem("row", text, table.where(number)) for number, text in faults.items())]
    if faults:
        kept = [i for i in range(len(rows)) if i not in faults]
        table, rows = table.part(kept), [rows[i][:width] for i in kept]
    if leaf_first and table.header is None:
        # A headerless line is as long as its path: from the leaf, what is missing is missing at its end.
        rows = [[*filter(None, row)] for row in rows]
    if verbatim:
        return Rows(rows, table.where, levels, found)
    return tidy(rows, table.where, levels, False, table.rows if len(chosen) < table.width else None, found)


def _without_ids(table: CellTable) -> tuple[list[int], list[Finding]]:
    """Columns that can be levels: none that number the rows, and of a code and its title side by side the title."""
    width = table.width
    cells = [table.sample.column(column) for column in range(width)]
    words = [word(table.name(column)) for column in range(width)]
    kept, dropped = [], []
    for column, below in enumerate(cells):
        name = words[column]
        if table.header and len(table.header) <= column and not any(below):
            continue
        differ = width > 2 and all(below) and len(set(below)) == len(below) > 1
        if differ and (name in columns.IDS or (_ROW_NUMBER.fullmatch(name) and all(map(str.isdecimal, below)))):
            dropped.append(f"{table.shown(column)} only numbers the rows")
        elif name in _DESCRIBES or any(isinstance(cell, tuple) for cell in below):
            dropped.append(f"{table.shown(column)} describes a row")
        else:
            kept.append(column)
    coded = [c in kept and all(_CODE_LIKE.fullmatch(cell) for cell in cells[c] if cell) for c in range(width)]
    for left, right in pairwise(list(kept) if width > 3 else ()):
        code, title = (left, right) if coded[left] else (right, left)
        own, other = words[code], words[title]
        named = _CODE_NAME.fullmatch(own) or (own and other != own and other.startswith(own))
        codes = {cell for cell in cells[code] if cell}
        titled = {pair for pair in zip(cells[code], cells[title], strict=True) if all(pair)}
        counted = len(codes) > 2 and all(map(str.isdigit, codes))
        same = coded[code] > coded[title] and (named or counted) and len(titled) == len(codes)
        if same and {left, right} <= {*kept}:
            dropped.append(f"{table.shown(code)} says the same as the column beside it")
            kept.remove(code)
    text = f"columns that are no level: {'; '.join(dropped)}"
    advice = f"--columns {','.join(str(c + 1) for c in kept)} asks for these; give others to choose yourself."
    return kept, [remark("id-column", text, advice=advice)] if dropped else []


# Ranks ---------------------------------------------------------------------------------------------------------------


def _ranks(table: CellTable) -> Iterator[Guess]:
    """Columns of biology's ranks among others; plain rows in the ranks' order are ordinary paths."""
    words = table.words
    chosen = columns.ranks_in(words)
    if not chosen or (not table.of_records and chosen == [*range(len(words))]):
        return
    sample = table.sample.paths(chosen)
    if any(isinstance(cell, tuple) for row in sample for cell in row) or torn(sample) > torn(r[::-1] for r in sample):
        return
    last, finest = _species(table, words, chosen)
    chosen = [c for c in chosen if words[c] != finest or not last]
    levels = [*(words[c] for c in chosen), *([finest] if last else [])]

    def read() -> Rows:
        ends = [[name] for name in last] if last else [[]] * len(table.rows)
        rows = [[*map(str.strip, row), *end] for row, end in zip(table.paths(chosen), ends, strict=True)]
        return tidy(rows, table.where, levels, True, table.rows)

    yield Guess("ranks", f"{table.what} with {', '.join(levels)}", read, True)


def _species(table: CellTable, words: Sequence[str], ranks: Sequence[int]) -> tuple[list[str] | None, str]:
    """What the finest level is called, where no column says it as it stands, and that level's name.

    An epithet (``alba``) needs its genus in front of it. Without one, a column of names is the species where they begin
    with the genus, and otherwise the finest level where its names tell rows apart that all ranks leave together.
    """

    def stripped(column: int) -> list[str]:
        return [str(cell).strip() for cell in table.column(column)]

    epithet = columns.first_known(words, columns.EPITHET)
    genera = stripped(words.index("genus")) if "genus" in words else None
    if epithet is not None and genera and (whole := with_genus(genera, stripped(epithet))):
        return whole, "species"
    above = [tuple(row) for row in table.paths(ranks)]
    known = () if "species" in words else (*columns.SPECIES_NAME, *columns.NAMES)
    for column in (words.index(name) for name in known if name in words):
        cells = stripped(column)
        begun = [cell.startswith(f"{genus} ") for genus, cell in zip(genera or (), cells, strict=False) if cell]
        if begun and sum(begun) >= 0.9 * len(begun):
            return [cell if len(cell.split()) > 1 else "" for cell in cells], "species"
        apart = len(set(above)) < len(set(zip(above, cells, strict=True)))  # rows that all ranks leave together
        names = {cell for cell in cells if cell and not cell.isdigit()}
        if apart and names and names.isdisjoint(row[-1] for row in above):
            return cells, table.name(column)
    return None, ""


# Which way -----------------------------------------------------------------------------------------------------------


def is_chained(pairs: Sequence[Sequence[str]]) -> bool:
    """Whether names of one column return in the other, in another row."""
    left = {pair[0] for pair in pairs if pair[0] != pair[1]}
    return any(pair[1] in left for pair in pairs if pair[0] != pair[1])


def which_way(rows: Iterable[Sequence[str]]) -> tuple[int, str]:
    """1 for rows from root to leaf, −1 from leaf to root: the way in which far fewer names have several parents."""
    full = [[cell for cell in row if cell] for row in rows]
    down, up = torn(full), torn(row[::-1] for row in full)
    few, many = sorted((down, up))
    if not many:
        return 0, _FLAT
    if 2 * few > many or few == many:
        return 0, f"read root first, {down} names would have several parents, leaf first {up}"
    against = f", against {few}" if few else ""
    return 1 if down < up else -1, f"the other way round {many} names would have several parents{against}"


def torn(rows: Iterable[Sequence[Any]]) -> int:
    """Names that stand under several others at one depth, rows read root first; empty cells are nobody's."""
    above: defaultdict[int, dict[str, str]] = defaultdict(dict)
    found = set()
    for row in rows:
        for depth, (parent, name) in enumerate(pairwise(row)):
            if name and parent and above[depth].setdefault(name, parent) != parent:
                found.add((depth, name))
    return len(found)
