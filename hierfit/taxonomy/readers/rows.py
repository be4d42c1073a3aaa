"""Tables with a path in each row: levels in columns, biology's ranks, whole numbers; and which way they run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding
from hierfit.taxonomy.readers import columns, indices
from hierfit.taxonomy.readers.columns import EPITHET, NAMES, RANKS, SPECIES_NAME, word
from hierfit.taxonomy.readers.given import Claim, Reading, Rows, Score, problem, remark
from hierfit.taxonomy.readers.source import Source
from hierfit.taxonomy.readers.table import SAMPLE, Table
from hierfit.taxonomy.readers.tidy import tidy

Direction = Literal["paths", "leaf-first"]

_ENOUGH = 3  # names with several parents
_EPITHET = re.compile(r"[a-z][a-zäëïöü-]*(?: [a-z][a-zäëïöü-]*)?")
PICTURE = re.compile(r".*\.(?:jpe?g|png|tiff?|webp|bmp|gif)", re.IGNORECASE)
_CODE = re.compile(r"[A-Za-z]{0,3}[\d][\w.\- ]*|[A-Z]")
_CODE_NAME = re.compile(r".*(?:code|id|no|nr|num|number|key|index)\d*")
_MEANING = {"paths": "rows from the root", "leaf-first": "rows from the leaf"}
_WAY = {"paths": "root first", "leaf-first": "leaf first"}
_NOTHING = "each name stands under one other either way"


def claims(table: Table, source: Source, options: Reading) -> Iterator[Claim]:
    """What a table of at least two columns can be, links aside.

    Args:
        table: With its header, if it has one.
        source: For messages.
        options: How to read it.
    """
    if options.columns:
        yield from _chosen(table, source, options)
        return
    if options.format == "paths" and options.header and table.header:
        yield _by_columns(table, range(len(table.header)), "paths", Score.CERTAIN, "as it stands", verbatim=True)
        return
    if table.width < 2:
        if table.header:
            yield _by_columns(table, [0], "paths", Score.POSSIBLE, "one level")
        return
    numbers = table.unit != "record" and indices.are_indices(table.rows)
    if numbers and (table.width > 2 or not is_chained(table.rows)):
        against = "a column that is not counted through from 0 or 1"
        yield Claim("indices", Score.LIKELY, f"{table.what}, all of them whole numbers", against,
                    "whole numbers, a column for each level", lambda: _indices(table, source, options))  # fmt: skip
        return
    if table.header and (found := _ranks(table)):
        yield found
        if options.format is None:
            return
    if table.unit == "record":
        chosen = columns.coarse_and_fine([word(cell) for cell in table.header or ()])
        if chosen:
            yield _by_columns(table, chosen, "paths", Score.LIKELY, "by its keys")
        return
    yield from _levels(table)


def _chosen(table: Table, source: Source, options: Reading) -> Iterator[Claim]:
    chosen = [column - 1 for column in options.columns]
    why = f"columns {', '.join(map(str, options.columns))}, coarse to fine"
    if max(chosen) >= table.width:
        raise UserError(f"{source.path}: there are {table.width} columns, but column {max(chosen) + 1} is asked for")
    if indices.are_indices(table.rows):
        yield Claim("indices", Score.CERTAIN, why, "", "", lambda: _indices(table, source, options))
        return
    yield _by_columns(table, chosen, "paths", Score.CERTAIN, why)


def _indices(table: Table, source: Source, options: Reading) -> Rows:
    cells = [[cell.strip() for cell in row] for row in table.rows]
    return indices.read_indices(cells, table.where, source, options)


def _by_columns(
    table: Table, chosen: Sequence[int], way: Direction, score: Score, why: str, findings: Sequence[Finding] = (),
    verbatim: bool = False,
) -> Claim:  # fmt: skip
    """Rows of some columns, given coarse to fine; tidied, unless every cell is to be taken as it stands."""
    header = table.header
    named = f", columns {', '.join(header[c] for c in chosen if c < len(header))}" if header else ""

    def read() -> Rows:
        found = list(findings)
        rows: list[Sequence[str]] = []
        kept: list[int] = []
        plain = [*chosen] == [*range(len(header))] if header and table.unit != "record" else False
        for number, row in enumerate(table.rows):
            if plain and header and len(row) <= len(header):
                rows.append(row)
                kept.append(number)
            elif header is not None and len(row) > len(header) and any(row[len(header) :]):
                text = f"{len(row)} cells under a header of {len(header)}"
                found.append(problem("row", text, table.where(number)))
            elif any(isinstance(row[c], tuple) for c in chosen if c < len(row)):
                found.append(problem("row", "a list of names where one name should be", table.where(number)))
            else:
                path = [row[c] if c < len(row) else "" for c in chosen]
                # A headerless line is as long as its path: from the leaf, what is missing is missing at its end.
                rows.append([*filter(None, path)] if way == "leaf-first" and header is None else path)
                kept.append(number)
        whole = [table.rows[i] for i in kept] if len(chosen) < table.width else None
        levels = [header[c] if c < len(header) else "" for c in chosen] if header else None
        if verbatim:
            return Rows(rows, lambda row: table.where(kept[row]), levels, found)
        return tidy(rows, lambda row: table.where(kept[row]), levels, False, whole, found)

    against = "a name that stands under several others"
    return Claim(way, score, f"{table.what}, a path in each, {_WAY[way]}: {why}{named}", against, _MEANING[way], read)


# Levels in columns ---------------------------------------------------------------------------------------------------


def _levels(table: Table) -> Iterator[Claim]:
    """Columns from coarse to fine or from fine to coarse, without those that only number the rows or repeat another."""
    chosen, findings = _without_ids(table)
    if len(chosen) < 2:
        return
    header = [table.header[c] if c < len(table.header) else "" for c in chosen] if table.header else None
    sample = [[row[c] if c < len(row) else "" for c in chosen] for row in table.rows[:SAMPLE]]
    places = [place for _, place in columns.order_of_columns(header or ())]
    fault = _no_path(table, chosen, sample)
    if places and places in (sorted(places), sorted(places)[::-1]) and "pictures" not in fault:
        way: Direction | None = "paths" if places == sorted(places) else "leaf-first"
        why, score = "by its column names", Score.CERTAIN
    else:
        way, why = _direction(sample, table)
        score = Score.LIKELY
        if fault:
            way, why = None, fault
        elif table.header is None and table.what == "two words in each line":
            way, why = None, table.what
        elif table.header is None and table.width == 2 and is_chained(sample):
            way, why = None, "names of one column return in the other"
    for direction in (way,) if way else ("paths", "leaf-first"):
        turned = chosen if direction == "paths" else chosen[::-1]
        yield _by_columns(table, turned, direction, score if way else Score.POSSIBLE, why, findings)


def is_chained(pairs: Iterable[Sequence[str]]) -> bool:
    """Whether names of one column return in the other, in another row."""
    linked = [(pair[0], pair[1]) for pair in pairs if pair[0] != pair[1]]
    return not {left for left, _ in linked}.isdisjoint(right for _, right in linked)


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
        name = repr(table.header[column]) if table.header and column < len(table.header) else f"column {column + 1}"
        filled = [cell for cell in cells if cell]
        if filled and sum(PICTURE.fullmatch(cell) is not None for cell in filled) * 2 > len(filled):
            return f"{name} names pictures: such a table is for `hierfit data new`"
        if filled and all(re.fullmatch(r"[-+]?\d*\.\d+(?:e-?\d+)?", cell) for cell in filled):
            return f"{name} holds measurements"
        if filled and sum(_is_code(cell) for cell in filled) * 2 > len(filled):
            return f"{name} holds code or markup, not names"
    paths = [tuple(row) for row in rows]
    if len(paths) > 20 and len(set(paths)) * 2 < len(paths):
        return f"{len(paths)} rows give only {len(set(paths))} paths"
    return ""


def _is_code(cell: str) -> bool:
    return re.search(r"[{}<>=]|\w\(.*\)\s*[;{:]|^(?:https?|gid|urn):|;$", cell) is not None


def _without_ids(table: Table) -> tuple[list[int], list[Finding]]:
    """Columns that can be levels: none that number the rows, and of a code and its title side by side the title."""
    kept, dropped = [], []
    table = table.sample()
    cells = [table.column(column) for column in range(table.width)]
    for column in range(table.width):
        name = table.header[column] if table.header and column < len(table.header) else ""
        if table.header and len(table.header) <= column and not any(cells[column]):
            continue
        if table.header and table.width > 2 and _numbers_rows(word(name), cells[column]):
            dropped.append(f"{name or f'column {column + 1}'!r} only numbers the rows")
        elif table.header and word(name) in ("description", "definition", "url", "image", "notes", "remarks"):
            dropped.append(f"{name!r} describes a row")
        else:
            kept.append(column)
    if table.width > 3:
        for left, right in pairwise(list(kept)):
            if left not in kept or right not in kept:
                continue
            for code, title in ((left, right), (right, left)):
                if _is_code_of(table, cells, code, title):
                    name = table.header[code] if table.header and code < len(table.header) else f"column {code + 1}"
                    dropped.append(f"{name!r} says the same as the column beside it")
                    kept.remove(code)
                    break
    text = f"columns that are no level: {'; '.join(dropped)}"
    advice = f"--columns {','.join(str(c + 1) for c in kept)} asks for these; give others to choose yourself."
    return kept, [remark("id-column", text, advice=advice)] if dropped else []


def _numbers_rows(name: str, cells: Sequence[str]) -> bool:
    numbers = all(re.fullmatch(r"\d+", cell) for cell in cells)
    if name in ("", "unnamed0", "index", "rowid", "no", "nr", "rownumber"):
        return numbers and len(set(cells)) == len(cells)
    return name in columns.IDS and len(set(cells)) == len(cells) and all(map(_CODE.fullmatch, cells))


def _is_code_of(table: Table, cells: Sequence[Sequence[str]], code: int, title: int) -> bool:
    """Whether a column of codes and the one beside it stand for each other, by their names or by digits alone."""
    codes = {cell for cell in cells[code] if cell}
    if not codes or not all(map(_CODE.fullmatch, codes)) or all(map(_CODE.fullmatch, filter(None, cells[title]))):
        return False
    own, other = (word(table.header[c]) if table.header and c < len(table.header) else "" for c in (code, title))
    named = _CODE_NAME.fullmatch(own) or (own and other != own and other.startswith(own))
    if not named and (len(codes) < 3 or not all(map(str.isdigit, codes))):
        return False
    pairs = {pair for pair in zip(cells[code], cells[title], strict=True) if all(pair)}
    return len(pairs) == len(codes)


# Ranks ---------------------------------------------------------------------------------------------------------------


def _ranks(table: Table) -> Claim | None:
    """Columns of biology's ranks among others; plain rows in the ranks' order are ordinary paths."""
    words = [word(cell) for cell in table.header or ()]
    chosen = columns.ranks_in(words)
    if not chosen or (table.unit != "record" and chosen == [*range(len(words))]):
        return None
    sample = [[row[c] if c < len(row) else "" for c in chosen] for row in table.rows[:SAMPLE]]
    if any(isinstance(cell, tuple) for row in sample for cell in row) or torn(sample) > torn(r[::-1] for r in sample):
        return None
    levels = [RANKS[RANKS.index(words[c])] for c in chosen]
    last, how = _species(table, words, chosen)
    if last is not None:
        chosen, levels = [*(c for c in chosen if words[c] != how), -1], [*(r for r in levels if r != how), how]

    def read() -> Rows:
        rows = []
        for number, row in enumerate(table.rows):
            path = [row[c].strip() if 0 <= c < len(row) else "" for c in chosen]
            rows.append([*path[:-1], last[number]] if last is not None else path)
        return tidy(rows, table.where, levels, True, table.rows)

    why = f"{table.what} with {', '.join(levels)}"
    against = "a name of one rank that stands under several of the rank above"
    return Claim("ranks", Score.CERTAIN, why, against, "kingdom … species, a column each", read)


def _species(table: Table, words: Sequence[str], ranks: Sequence[int]) -> tuple[list[str] | None, str]:
    """What the finest level is called, where no column says it as it stands, and that level's name.

    An epithet (``alba``) needs its genus in front of it. Without one, a column of names is the species where they begin
    with the genus, and otherwise the finest level where its names tell rows apart that all ranks leave together.
    """
    epithet = columns.find(words, EPITHET)
    genus = words.index("genus") if "genus" in words else None
    if epithet is not None and genus is not None:
        cells = [str(cell).strip() for cell in table.column(epithet)]
        if any(cells) and sum(_EPITHET.fullmatch(cell) is not None for cell in cells if cell) >= 0.9 * sum(
            map(bool, cells)
        ):
            above = table.column(genus)
            return [
                f"{g.strip()} {cell}".strip() if cell else "" for g, cell in zip(above, cells, strict=True)
            ], "species"
    if "species" in words:
        return None, ""
    for column in (words.index(name) for name in (*SPECIES_NAME, *NAMES) if name in words):
        cells = [str(cell).strip() for cell in table.column(column)]
        if all(not cell or cell.isdigit() for cell in cells):
            continue
        if genus is not None:
            pairs = [(g.strip(), cell) for g, cell in zip(table.column(genus), cells, strict=True) if cell]
            if pairs and sum(cell.startswith(f"{g} ") for g, cell in pairs) >= 0.9 * len(pairs):
                of_genus = {cell for cell in cells if len(cell.split()) > 1}
                return [cell if cell in of_genus else "" for cell in cells], "species"
        above = [tuple(row[c] if c < len(row) else "" for c in ranks) for row in table.rows]
        finest = {row[-1] for row in above}
        if len(set(above)) < len(set(zip(above, cells, strict=True))) and finest.isdisjoint(filter(None, cells)):
            return cells, (table.header or ())[column]
    return None, ""


# Which way -----------------------------------------------------------------------------------------------------------


def direction_by_parents(rows: Iterable[Sequence[str]]) -> tuple[Direction | None, str]:
    """The way of rows in which far fewer names have several parents."""
    full = [[cell for cell in row if cell] for row in rows]
    down, up = torn(full), torn(row[::-1] for row in full)
    if 2 * min(down, up) > max(down, up) or down == up:
        reason = f"{_many(down)} read root first, {_many(up)} leaf first" if down or up else _NOTHING
        return None, reason
    few, many = sorted((down, up))
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
