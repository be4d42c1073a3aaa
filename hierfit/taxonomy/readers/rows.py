"""Tables with a path in each row: levels in columns, biology's ranks, whole numbers; and which way they run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding, problem, remark
from hierfit.taxonomy.readers import columns, indices
from hierfit.taxonomy.readers.columns import EPITHET, NAMES, SPECIES_NAME, word
from hierfit.taxonomy.readers.given import Claim, Reading, Rows, Score
from hierfit.taxonomy.readers.source import Source
from hierfit.taxonomy.readers.table import Table
from hierfit.taxonomy.readers.tidy import tidy

Direction = Literal["paths", "leaf-first"]

_ENOUGH = 3  # names with several parents
_EPITHET = re.compile(r"[a-z][a-zäëïöü-]*(?: [a-z][a-zäëïöü-]*)?")
PICTURE = re.compile(r".*\.(?:jpe?g|png|tiff?|webp|bmp|gif)", re.IGNORECASE)
_CODE = re.compile(r"[A-Za-z]{0,3}[\d][\w.\- ]*|[A-Z]")
_CODE_NAME = re.compile(r".*(?:code|id|no|nr|num|number|key|index)\d*")
_MEASURE = re.compile(r"[-+]?\d*\.\d+(?:e-?\d+)?")
_MARKUP = re.compile(r"[{}<>=]|\w\(.*\)\s*[;{:]|^(?:https?|gid|urn):|;$")
_NOTHING = "each name stands under one other either way"


def claims(table: Table, source: Source, options: Reading) -> Iterator[Claim]:
    """What a table, with its header if it has one, can be, links aside."""
    if options.columns:
        yield _chosen(table, source, options)
    elif options.format == "paths" and options.header and table.header:
        yield _by_columns(table, range(len(table.header)), "paths", Score.CERTAIN, "as it stands", verbatim=True)
    elif table.width < 2:
        if table.header:
            yield _by_columns(table, [0], "paths", Score.POSSIBLE, "one level")
    elif not table.of_records and indices.are_indices(table.rows) and (table.width > 2 or not is_chained(table.rows)):
        what = f"{table.what}, all of them whole numbers"
        yield Claim("indices", Score.LIKELY, what, lambda: _indices(table, source, options))
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


def _chosen(table: Table, source: Source, options: Reading) -> Claim:
    why = f"columns {', '.join(map(str, options.columns))}, coarse to fine"
    if max(options.columns) > table.width:
        asked = max(options.columns)
        raise UserError(f"{source.path}: there are {table.width} columns, but column {asked} is asked for")
    if indices.are_indices(table.rows):
        return Claim("indices", Score.CERTAIN, why, lambda: _indices(table, source, options))
    return _by_columns(table, [column - 1 for column in options.columns], "paths", Score.CERTAIN, why)


def _indices(table: Table, source: Source, options: Reading) -> Rows:
    cells = [[cell.strip() for cell in row] for row in table.rows]
    return indices.read_indices(cells, table.where, source, options)


def _by_columns(
    table: Table, chosen: Sequence[int], way: Direction, score: Score, why: str, findings: Sequence[Finding] = (),
    verbatim: bool = False,
) -> Claim:  # fmt: skip
    """Rows of some columns, given coarse to fine; tidied, unless every cell is to be taken as it stands."""
    header = table.header
    named = f", columns {', '.join(table.name(c) for c in chosen if c < len(header))}" if header else ""

    def read() -> Rows:
        found = list(findings)
        rows: list[Sequence[str]] = []
        kept: list[int] = []
        plain = bool(header) and [*chosen] == [*range(len(header or ()))] and not table.of_records
        width = table.width if header is None else len(header)
        for number, row in enumerate(table.rows):
            if len(row) > width and any(row[width:]):
                found.append(problem("row", f"{len(row)} cells under a header of {width}", table.where(number)))
                continue
            if not plain or len(row) > width:
                row = [row[c] if c < len(row) else "" for c in chosen]
                if any(isinstance(cell, tuple) for cell in row):
                    found.append(problem("row", "a list of names where one name should be", table.where(number)))
                    continue
                if way == "leaf-first" and header is None:
                    # A headerless line is as long as its path: from the leaf, what is missing is missing at its end.
                    row = [*filter(None, row)]
            rows.append(row)
            kept.append(number)
        where = table.where if len(kept) == len(table.rows) else lambda row: table.where(kept[row])
        levels = [table.name(c) for c in chosen] if header else None
        if verbatim:
            return Rows(rows, where, levels, found)
        whole = [table.rows[i] for i in kept] if len(chosen) < table.width else None
        return tidy(rows, where, levels, False, whole, found)

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
    fault = _no_path(table, chosen, sample)
    ways: tuple[Direction, ...] = ("paths", "leaf-first")
    if places and places in (sorted(places), sorted(places)[::-1]) and "pictures" not in fault:
        ways, why, score = ways[:1] if places == sorted(places) else ways[1:], "by its column names", Score.CERTAIN
    else:
        way, why = _direction(sample, table)
        if fault:
            way, why = None, fault
        elif table.header is None and table.what == "two words in each line":
            way, why = None, table.what
        elif table.header is None and table.width == 2 and is_chained(sample):
            way, why = None, "names of one column return in the other"
        ways, score = ((way,), Score.LIKELY) if way else (ways, Score.POSSIBLE)
    for direction in ways:
        turned = chosen if direction == "paths" else chosen[::-1]
        yield _by_columns(table, turned, direction, score, why, findings)


def _direction(rows: Sequence[Sequence[str]], table: Table) -> tuple[Direction | None, str]:
    way, reason = direction_by_parents(rows)
    certain = table.header is not None and table.is_csv
    if way is None and certain and reason == _NOTHING:
        return "paths", "as a CSV file's columns run coarse to fine unless something speaks against it"
    if way == "leaf-first" and certain and torn(rows) < _ENOUGH:
        return None, f"{reason}, which is too little to read a CSV file's columns fine to coarse"
    return way, reason


def _no_path(table: Table, chosen: Sequence[int], rows: Sequence[Sequence[str]]) -> str:
    """What speaks against a path in each row, if anything does."""
    for column, cells in zip(chosen, zip(*rows, strict=True), strict=True):
        name = repr(table.name(column)) if table.name(column) else f"column {column + 1}"
        filled = [cell for cell in cells if cell]
        if 2 * sum(PICTURE.fullmatch(cell) is not None for cell in filled) > len(filled):
            return f"{name} names pictures: such a table is for `hierfit data new`"
        if filled and all(map(_MEASURE.fullmatch, filled)):
            return f"{name} holds measurements"
        if 2 * sum(_MARKUP.search(cell) is not None for cell in filled) > len(filled):
            return f"{name} holds code or markup, not names"
    distinct = len(set(map(tuple, rows)))
    return f"{len(rows)} rows give only {distinct} paths" if len(rows) > 20 and distinct * 2 < len(rows) else ""


def _without_ids(table: Table) -> tuple[list[int], list[Finding]]:
    """Columns that can be levels: none that number the rows, and of a code and its title side by side the title."""
    table = table.sample()
    cells = [table.column(column) for column in range(table.width)]
    kept, dropped = [], []
    for column, below in enumerate(cells):
        name = table.name(column)
        if table.header and len(table.header) <= column and not any(below):
            continue
        if table.header and table.width > 2 and _numbers_rows(word(name), below):
            dropped.append(f"{name or f'column {column + 1}'!r} only numbers the rows")
        elif word(name) in ("description", "definition", "url", "image", "notes", "remarks"):
            dropped.append(f"{name!r} describes a row")
        else:
            kept.append(column)
    for left, right in pairwise(list(kept) if table.width > 3 else ()):
        for code, title in ((left, right), (right, left)):
            if {left, right} <= {*kept} and _is_code_of(table, cells, code, title):
                name = table.name(code) if table.header and code < len(table.header) else f"column {code + 1}"
                dropped.append(f"{name!r} says the same as the column beside it")
                kept.remove(code)
    text = f"columns that are no level: {'; '.join(dropped)}"
    advice = f"--columns {','.join(str(c + 1) for c in kept)} asks for these; give others to choose yourself."
    return kept, [remark("id-column", text, advice=advice)] if dropped else []


def _numbers_rows(name: str, cells: Sequence[str]) -> bool:
    if len(set(cells)) < len(cells):
        return False
    if name in ("", "unnamed0", "index", "rowid", "no", "nr", "rownumber"):
        return all(re.fullmatch(r"\d+", cell) for cell in cells)
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
        rows = [[cell.strip() for cell in row] for row in table.paths(chosen)]
        if last:
            rows = [[*row, name] for row, name in zip(rows, last, strict=True)]
        return tidy(rows, table.where, levels, True, table.rows)

    return Claim("ranks", Score.CERTAIN, f"{table.what} with {', '.join(levels)}", read)


def _species(table: Table, words: Sequence[str], ranks: Sequence[int]) -> tuple[list[str] | None, str]:
    """What the finest level is called, where no column says it as it stands, and that level's name.

    An epithet (``alba``) needs its genus in front of it. Without one, a column of names is the species where they begin
    with the genus, and otherwise the finest level where its names tell rows apart that all ranks leave together.
    """
    epithet = columns.find(words, EPITHET)
    genera = [cell.strip() for cell in table.column(words.index("genus"))] if "genus" in words else None
    if epithet is not None and genera is not None:
        cells = [str(cell).strip() for cell in table.column(epithet)]
        filled = [cell for cell in cells if cell]
        if filled and sum(_EPITHET.fullmatch(cell) is not None for cell in filled) >= 0.9 * len(filled):
            return [f"{g} {cell}".strip() if cell else "" for g, cell in zip(genera, cells, strict=True)], "species"
    if "species" in words:
        return None, ""
    for column in (words.index(name) for name in (*SPECIES_NAME, *NAMES) if name in words):
        cells = [str(cell).strip() for cell in table.column(column)]
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


def is_chained(pairs: Iterable[Sequence[str]]) -> bool:
    """Whether names of one column return in the other, in another row."""
    linked = [(pair[0], pair[1]) for pair in pairs if pair[0] != pair[1]]
    return not {left for left, _ in linked}.isdisjoint(right for _, right in linked)


def direction_by_parents(rows: Iterable[Sequence[str]]) -> tuple[Direction | None, str]:
    """The way of rows in which far fewer names have several parents."""
    full = [[cell for cell in row if cell] for row in rows]
    down, up = torn(full), torn(row[::-1] for row in full)
    few, many = sorted((down, up))
    if not many:
        return None, _NOTHING
    if 2 * few > many or few == many:
        return None, f"{_many(down)} read root first, {_many(up)} leaf first"
    against = f", against {few}" if few else ""
    return ("paths" if down < up else "leaf-first"), f"the other way round {_many(many)}{against}"


def _many(count: int) -> str:
    return "1 name would have several parents" if count == 1 else f"{count} names would have several parents"


def torn(rows: Iterable[Sequence[Any]]) -> int:
    """Names that stand under several others at one depth, rows read root first; empty cells are nobody's."""
    above: dict[tuple[int, str], str] = {}
    found = set()
    for row in rows:
        for depth, (parent, name) in enumerate(pairwise(row)):
            if name and parent and above.setdefault((depth, name), parent) != parent:
                found.add((depth, name))
    return len(found)
