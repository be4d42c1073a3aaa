"""What a JSON, YAML or Python document can be: records, rows, lists below names, nested nodes, a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding
from hierfit.taxonomy.readers import graphs, indices, lines, links, nested, rows
from hierfit.taxonomy.readers.columns import word
from hierfit.taxonomy.readers.document import Pairs, is_list, place_of
from hierfit.taxonomy.readers.given import Claim, Links, Reading, Rows, Score, problem
from hierfit.taxonomy.readers.nested import as_name
from hierfit.taxonomy.readers.rows import direction_by_parents, torn
from hierfit.taxonomy.readers.source import Source
from hierfit.taxonomy.readers.table import record_tables

_NO_CLASS = frozenset({"levels", "names", "classes", "labels", "train", "val", "test", "split", "splits", "columns"})
_LEVELS = "rows that run the other way"


def claims(source: Source, options: Reading) -> Iterator[Claim]:
    """Everything a document can be; raises `UserError` where one of several data sets has to be chosen."""
    value, keys = _selected(source, options)
    if isinstance(value, Pairs) and isinstance(value.get("leaf_to_path"), Pairs):
        yield _ancestors(value.get("leaf_to_path"), Score.CERTAIN, f"{source.language} with 'leaf_to_path'",
                         value.get("levels"))  # fmt: skip
        return
    if isinstance(value, Pairs) and (found := [*graphs.claims(value, source, options)]):
        yield from found
        return
    yield from _records(value, keys, source, options)
    tree = nested.unwrapped(value)
    if isinstance(tree, Pairs):
        yield from _mapping(tree, source)
    elif isinstance(tree, list) and tree:
        yield from _list(tree, source, options)
    if isinstance(tree, list) and tree:
        yield nested.claim(value, source, options.format == "nested")


def _selected(source: Source, options: Reading) -> tuple[Any, str]:
    """The value of the document, or of the data set or variable chosen in it, and the keys that lead to its records."""
    value, select = source.document, options.select
    names = value.names() if isinstance(value, Pairs) else []
    if source.is_python and select is None:
        # Lists of names or settings stand beside the tree.
        deep = [(name, entry) for name, entry in value if isinstance(entry, Pairs) or any(map(is_list, entry))]
        value = Pairs(deep or value)
        names = value.names()
    several = len(names) > 1 and (source.is_python or all(_is_set(entry) for _, entry in value))
    if source.is_python and len(names) == 1 and select is None:
        return value[0][1], ""
    if select in names:
        return value.get(select), select if not isinstance(value.get(select), list) else ""
    if select is not None and (source.is_python or not isinstance(value, Pairs)):
        raise UserError(f"{source.path}: there is no {select!r}: choose one of {', '.join(names) or 'no keys'}",
                        hint="Name it by --select.")  # fmt: skip
    if several and select is None:
        raise UserError(f"{source.path}: the file holds several data sets: choose one of {', '.join(names[:20])}",
                        hint="Name it by --select.")  # fmt: skip
    return value, select or ""


def _is_set(value: Any) -> bool:
    keys = value.names() if isinstance(value, Pairs) else []
    return "leaf_to_path" in keys or ("nodes" in keys and any(key in keys for key in graphs.LINK_KEYS))


# Records -------------------------------------------------------------------------------------------------------------


def _records(value: Any, select: str, source: Source, options: Reading) -> Iterator[Claim]:
    """The best claims on lists of records, wherever in the document they lie."""
    tables = record_tables(value, source.language)
    if select:
        if select not in tables:
            names = value.names() if isinstance(value, Pairs) else []
            known = dict.fromkeys([*names, *filter(None, tables)])
            raise UserError(f"{source.path}: there is no {select!r}: choose one of {', '.join(known) or 'no keys'}",
                            hint="Name it by --select.")  # fmt: skip
        tables = {select: tables[select]}
    found: dict[str, list[Claim]] = {}
    for at, table in tables.items():
        every = [*links.claims(table, source, options), *rows.claims(table, source, options), *lines.claims(table)]
        if good := [claim for claim in every if claim.score > Score.POSSIBLE]:
            top = max(claim.score for claim in good)
            label = f" below {at!r}" if at else ""
            found[at] = [replace(claim, why=claim.why.replace(" with ", f"{label} with ", 1)) for claim in good
                         if claim.score == top or claim.format == options.format]  # fmt: skip
    best = max((group[0].score for group in found.values()), default=None)
    found = {at: group for at, group in found.items() if group[0].score == best}
    if len(found) > 1 and not options.format:
        first = next(iter(found))
        if not all(at.startswith(first) for at in found):
            raise UserError(f"{source.path}: several lists of records give a tree: choose one of {', '.join(found)}",
                            hint="Name it by --select.")  # fmt: skip
        found = {first: found[first]}
    for group in found.values():
        yield from group
    if not found and isinstance(value, Pairs) and is_list(value.get("categories")) and "images" in value.names():
        names = [str(entry.get("name")) for entry in value.get("categories") if isinstance(entry, Pairs)]
        if names and len(set(names)) == len(names):
            why = f"{source.language} categories of a COCO-like set without a supercategory, a tree of one level"
            yield Claim("list", Score.LIKELY, why, "a key for what is above", "names of one level",
                        lambda: Rows([[name] for name in names], lambda row: f"category {row + 1}"))  # fmt: skip


# Mappings ------------------------------------------------------------------------------------------------------------


def _mapping(value: Pairs, source: Source) -> Iterator[Claim]:
    """{child: parent}, {super: [sub, …]} and {leaf: [parent, …]}."""
    below = [entry for _, entry in value]
    what, keys = source.language, value.names()
    if not below or (nested.node_keys(value) is not None and any(isinstance(entry, list) for entry in below)):
        return
    if not any(isinstance(entry, list) for entry in below):
        if any(isinstance(entry, str) and entry for entry in below):
            yield _child_parent(value, what)
            yield _ancestors(value, Score.POSSIBLE, f"{what} {{leaf: parent}}")
        return
    if not all(is_list(entry) and not any(isinstance(cell, list) for cell in entry) for entry in below):
        return
    fault = nested.contradiction(value) or ("" if len(keys) > 1 else lines.not_names([str(key) for key in keys]))
    if not fault and any(word(key) in _NO_CLASS for key in keys):
        fault = "a key is no class but a part of a file"
    if chained := {str(key) for key in keys} & {str(item) for key, entry in value for item in entry if item != key}:
        why = f"{what} lists below names, {len(chained)} of which are in lists themselves"
        score = Score.POSSIBLE if fault else Score.LIKELY
        yield _adjacency(value, score, f"{why}; but {fault}" if fault else why)
        return
    items = [str(item) for entry in below for item in entry]
    counts = Counter(items)
    again = sum(count > 1 for count in counts.values())
    same_length = len({len(entry) for entry in below}) == 1
    down = up = Score.LIKELY
    if not again or again * 10 <= len(counts):
        why, up = f"{what} lists below names, {'each' if not again else 'nearly each'} item once", Score.POSSIBLE
    elif same_length and len(counts) * 2 <= len(items):
        why = f"{what} lists below names, whose {len(items)} items are only {len(counts)} names"
        down = Score.POSSIBLE
    else:
        why = f"{what} lists below names, {again} of {len(counts)} items several times"
        down = up = Score.POSSIBLE
    if fault:
        why, down, up = f"{why}; but {fault}", Score.POSSIBLE, Score.POSSIBLE
    tree = value
    yield Claim("super-sub", down, why, "items that come again below other names", "{super: [sub, …]}",
                lambda: nested.read_nested(tree))  # fmt: skip
    yield _ancestors(value, up, why)


def _adjacency(value: Pairs, score: Score, why: str) -> Claim:
    """{parent: [child, …]}, where children have children of their own."""

    def read() -> Links:
        findings: list[Finding] = []
        pairs = [(as_name(item, findings), str(key)) for key, entry in value for item in entry if item != key]
        known = {child for child, _ in pairs}
        alone: list[tuple[str, str | None]] = [(str(key), None) for key, _ in value if str(key) not in known]
        found = [*alone, *pairs]
        return links.links_of(found, lambda link: place_of(*found[link]), True, None, findings)

    return Claim("super-sub", score, why, "names that come again", "{super: [sub, …]}", read)


def _child_parent(value: Pairs, what: str) -> Claim:
    pairs = [(str(key), None if above is None or above == "" else str(above)) for key, above in value]
    order, _ = links.order_of([(key, above) for key, above in pairs if above])
    above = [parent for _, parent in pairs if parent]
    chained = not {key for key, _ in pairs}.isdisjoint(above)
    fault = nested.contradiction(value)
    good = not fault and order != "parent-child" and (chained or len(set(above)) * 3 <= len(above) * 2)
    why = f"{what} {{child: parent}}, {len(set(above))} parents of {len(pairs)} names"
    if not good:
        why = f"{what} {{name: value}}; {fault or 'the values do not look like parents'}"

    def read() -> Links:
        findings: list[Finding] = []
        found = [(as_name(key, findings), as_name(up, findings) if up not in (None, "") else None) for key, up in value]
        closed = any(not up for _, up in found)
        return links.links_of(found, lambda link: place_of(*found[link]), closed, None, findings)

    score = Score.LIKELY if good else Score.POSSIBLE
    return Claim("child-parent", score, why, "values that are all different", "{child: parent}", read)


def _ancestors(value: Pairs, score: Score, why: str, levels: Any = None) -> Claim:
    def read() -> Rows:
        found = read_ancestors(value)
        if is_list(levels) and all(isinstance(level, str) for level in levels):
            found = replace(found, levels=levels[::-1])
        return found

    return Claim(
        "ancestors", score, why, "a first parent that stands under several others", "{leaf: [parent, …]}", read
    )


def read_ancestors(value: Pairs) -> Rows:
    """The rows of {leaf: [parent, grandparent, …]}, or, where that fits far better, of {leaf: [root, …, parent]}.

    A single parent may stand alone.
    """
    found: list[list[str]] = []
    findings: list[Finding] = []
    names = value.names()
    for leaf, above in value:
        above = above if isinstance(above, list) else [] if above is None else [above]
        if any(isinstance(name, list) for name in above):
            text = f"below {leaf!r} comes a list of names, nothing that is nested deeper"
            findings.append(problem("row", text, place_of(leaf)))
            above = []
        found.append([leaf, *(as_name(name, findings) for name in above)])
    down, up = torn([[*path, leaf] for leaf, *path in found]), torn([row[::-1] for row in found])
    found = [[*path, leaf] for leaf, *path in found] if 2 * down <= up and down < up else [row[::-1] for row in found]
    return Rows(found, lambda row: place_of(*found[row][::-1], names[row]), None, findings)


# Lists ---------------------------------------------------------------------------------------------------------------


def _list(value: list[Any], source: Source, options: Reading) -> Iterator[Claim]:
    """Lists of rows, of whole numbers, of names or of paths."""
    what = source.language
    if all(is_list(entry) and entry and not any(isinstance(cell, list) for cell in entry) for entry in value):
        if indices.are_indices(value) or _are_numbers(value):
            yield Claim(
                "indices", Score.LIKELY, f"{what} lists of whole numbers", "a column that is not counted through",
                "whole numbers, a column for each level", lambda: _indices(value, source, options),
            )  # fmt: skip
            return
        cells = [[str(cell) for cell in row] for row in value]
        way, why = direction_by_parents(cells)
        inner = {tuple(row[:-1]) for row in cells} & {tuple(row) for row in cells}
        way, why = ("paths", f"{len(inner)} begin another") if inner else (way, why)
        for form in ("paths", "leaf-first"):
            score = Score.LIKELY if form == way else Score.POSSIBLE
            yield Claim(form, score, f"{what} lists of names, {why}", _LEVELS, f"rows from the {form[:4]}",
                        partial(_rows, value, form == "leaf-first"))  # fmt: skip
    elif not any(isinstance(entry, list) for entry in value):
        names = [str(entry) for entry in value]
        fault = lines.not_names(names)
        why = f"{what} list of {len(names)} names, a tree of one level" + (f"; but {fault}" if fault else "")
        yield Claim("list", Score.POSSIBLE if fault else Score.LIKELY, why, "a sign that divides levels",
                    "names of one level", lambda: nested.read_nested(value))  # fmt: skip


def _are_numbers(value: Sequence[Sequence[Any]]) -> bool:
    cells = [str(cell) for row in value for cell in row]
    return sum(cell.isdigit() for cell in cells) * 4 > 3 * len(cells)


def _indices(value: Sequence[Sequence[Any]], source: Source, options: Reading) -> Rows:
    cells = [[str(cell) for cell in row] for row in value]
    places = [place_of(*row) if source.is_python and row else f"entry {i + 1}" for i, row in enumerate(value)]
    return indices.read_indices(cells, lambda row: places[row], source, options)


def _rows(value: Sequence[Any], leaf_first: bool) -> Rows:
    findings: list[Finding] = []
    found = [[as_name(cell, findings) for cell in row] for row in value]
    found = [row[::-1] if leaf_first else row for row in found]
    return Rows(found, lambda row: place_of(*found[row][::-1]), None, findings)
