"""What a JSON, YAML or Python document can be: records, rows, lists below names, nested nodes, a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding, problem
from hierfit.taxonomy.readers import graphs, indices, lines, links, nested, rows
from hierfit.taxonomy.readers.columns import word
from hierfit.taxonomy.readers.document import Pairs, Placed, as_name, is_list, place_of
from hierfit.taxonomy.readers.given import Claim, Links, Reading, Rows, Score
from hierfit.taxonomy.readers.source import Source
from hierfit.taxonomy.readers.table import Table

_NO_CLASS = frozenset({"levels", "names", "classes", "labels", "train", "val", "test", "split", "splits", "columns"})


def claims(source: Source, options: Reading) -> Iterator[Claim]:
    """Everything a document can be; raises `UserError` where one of several data sets has to be chosen."""
    value, keys = _selected(source, options)
    if isinstance(value, Pairs) and isinstance(paths := value.get("leaf_to_path"), Pairs):
        levels = value.get("levels")
        named = is_list(levels) and all(isinstance(level, str) for level in levels)
        read = partial(_read_ancestors, paths, levels[::-1] if named else None)
        yield Claim("ancestors", Score.CERTAIN, f"{source.language} with 'leaf_to_path'", read)
        return
    if isinstance(value, Pairs) and (found := graphs.node_link_claim(value, source, options)):
        yield found
        return
    yield from _records(value, keys, source, options)
    tree = nested.unwrapped(value)
    if isinstance(tree, Pairs):
        yield from _mapping(tree, source.language)
    elif isinstance(tree, list) and tree:
        yield from _list(tree, source, options)
    if isinstance(tree, list) and tree:
        yield nested.claim(value if options.format == "nested" else tree, source.language)


def _selected(source: Source, options: Reading) -> tuple[Any, str]:
    """The value of the document, or of the data set or variable chosen in it, and the keys that lead to its records."""
    value, select = source.document, options.select
    python = source.language == "Python"
    if python and select is None:
        # Lists of names or settings stand beside the tree.
        deep = [(name, entry) for name, entry in value if isinstance(entry, Pairs) or any(map(is_list, entry))]
        value = Pairs(deep or value)
    names = value.names() if isinstance(value, Pairs) else []
    if python and len(names) == 1 and select is None:
        return value[0][1], ""
    if select in names:
        return value.get(select), "" if isinstance(value.get(select), list) else str(select)
    if select is not None and (python or not isinstance(value, Pairs)):
        raise _choose(source, f"there is no {select!r}", names)
    if select is None and len(names) > 1 and (python or all(_is_set(entry) for _, entry in value)):
        raise _choose(source, "the file holds several data sets", names[:20])
    return value, select or ""


def _choose(source: Source, what: str, names: Sequence[str]) -> UserError:
    known = ", ".join(names) or "no keys"
    return UserError(f"{source.path}: {what}: choose one of {known}", hint="Name it by --select.")


def _is_set(value: Any) -> bool:
    keys = value.names() if isinstance(value, Pairs) else []
    return "leaf_to_path" in keys or ("nodes" in keys and any(key in keys for key in graphs.LINK_KEYS))


# Records -------------------------------------------------------------------------------------------------------------


def _records(value: Any, select: str, source: Source, options: Reading) -> Iterator[Claim]:
    """The best claims on lists of records, wherever in the document they lie."""
    tables = nested.record_tables(value, source.language)
    if select:
        if select not in tables:
            names = value.names() if isinstance(value, Pairs) else []
            raise _choose(source, f"there is no {select!r}", [*dict.fromkeys([*names, *filter(None, tables)])])
        tables = {select: tables[select]}
    found: dict[str, list[Claim]] = {}
    for at, table in tables.items():
        every = [*links.claims(table, source, options), *rows.claims(table, source, options), *lines.claims(table)]
        good = [claim for claim in every if claim.score > Score.POSSIBLE]
        top = max((claim.score for claim in good), default=Score.POSSIBLE)
        label = f" below {at!r}" if at else ""
        if good:
            found[at] = [replace(claim, why=claim.why.replace(" with ", f"{label} with ", 1)) for claim in good
                         if claim.score == top or claim.format == options.format]  # fmt: skip
    best = max((group[0].score for group in found.values()), default=None)
    found = {at: group for at, group in found.items() if group[0].score == best}
    if len(found) > 1 and not options.format:
        first = next(iter(found))
        if not all(at.startswith(first) for at in found):
            raise _choose(source, "several lists of records give a tree", list(found))
        found = {first: found[first]}
    for group in found.values():
        yield from group
    if not found and isinstance(value, Pairs) and is_list(value.get("categories")):
        names = [str(entry.get("name")) for entry in value.get("categories") if isinstance(entry, Pairs)]
        if names and len(set(names)) == len(names):
            why = f"{source.language} categories of a COCO-like set without a supercategory, a tree of one level"
            listed = Rows([[name] for name in names], lambda row: f"category {row + 1}")
            yield Claim("list", Score.LIKELY, why, lambda: listed)


# Mappings ------------------------------------------------------------------------------------------------------------


def _mapping(value: Pairs, what: str) -> Iterator[Claim]:
    """{child: parent}, {super: [sub, …]} and {leaf: [parent, …]}."""
    below, keys = [entry for _, entry in value], [str(key) for key, _ in value]
    lists = [isinstance(entry, list) for entry in below]
    if not below or (any(lists) and nested.node_keys(value) is not None):
        return
    if not any(lists):
        if any(isinstance(entry, str) and entry for entry in below):
            yield _child_parent(value, what)
            yield Claim("ancestors", Score.POSSIBLE, f"{what} {{leaf: parent}}", partial(_read_ancestors, value))
        return
    if not all(is_list(entry) and not any(isinstance(cell, list) for cell in entry) for entry in below):
        return
    fault = nested.contradiction(value) or ("" if len(keys) > 1 else lines.not_names(keys))
    if not fault and any(word(key) in _NO_CLASS for key in keys):
        fault = "a key is no class but a part of a file"
    items = [str(item) for entry in below for item in entry]
    why, but = f"{what} lists below names", f"; but {fault}" if fault else ""
    if chained := {*keys} & {str(item) for key, entry in value for item in entry if item != key}:
        why += f", {len(chained)} of which are in lists themselves{but}"
        yield Claim("super-sub", Score.POSSIBLE if fault else Score.LIKELY, why, lambda: _adjacency(value))
        return
    counts = Counter(items)
    again = sum(count > 1 for count in counts.values())
    down = up = False  # which way speaks for itself
    if again * 10 <= len(counts):
        why, down = f"{why}, {'nearly ' if again else ''}each item once", True
    elif len({*map(len, below)}) == 1 and len(counts) * 2 <= len(items):
        why, up = f"{why}, whose {len(items)} items are only {len(counts)} names", True
    else:
        why = f"{why}, {again} of {len(counts)} items several times"
    score = {True: Score.LIKELY, False: Score.POSSIBLE}
    yield Claim("super-sub", score[down and not fault], why + but, lambda: nested.read_nested(value))
    yield Claim("ancestors", score[up and not fault], why + but, partial(_read_ancestors, value))


def _adjacency(value: Pairs) -> Links:
    """{parent: [child, …]}, where children have children of their own."""
    findings: list[Finding] = []
    pairs = [(as_name(item, findings), str(key)) for key, entry in value for item in entry if item != key]
    known = {child for child, _ in pairs}
    found = [*((str(key), "") for key, _ in value if str(key) not in known), *pairs]
    names, parents = [child for child, _ in found], [above for _, above in found]
    return links.links_of(names, parents, lambda link: place_of(*found[link]), True, None, findings)


def _child_parent(value: Pairs, what: str) -> Claim:
    pairs = [(str(key), str(above)) for key, above in value if above is not None and above != ""]
    order, _ = links.order_of(pairs)
    parents = [parent for _, parent in pairs]
    few = not {str(key) for key, _ in value}.isdisjoint(parents) or len(set(parents)) * 3 <= len(parents) * 2
    fault = nested.contradiction(value)
    if fault or order == "parent-child" or not few:
        score, why = Score.POSSIBLE, f"{what} {{name: value}}; {fault or 'the values do not look like parents'}"
    else:
        score, why = Score.LIKELY, f"{what} {{child: parent}}, {len(set(parents))} parents of {len(value)} names"

    def read() -> Links:
        findings: list[Finding] = []
        names = [as_name(key, findings) for key, _ in value]
        above = ["" if up in (None, "") else as_name(up, findings) for _, up in value]
        return links.links_of(names, above, lambda link: place_of(names[link], above[link]), "" in above, None,
                              findings)  # fmt: skip

    return Claim("child-parent", score, why, read)


def _read_ancestors(value: Pairs, levels: Sequence[str] | None = None) -> Rows:
    """The rows of {leaf: [parent, grandparent, …]}, or, where that fits far better, of {leaf: [root, …, parent]}.

    A single parent may stand alone.
    """
    found: list[list[str]] = []
    findings: list[Finding] = []
    for leaf, above in value:
        above = above if isinstance(above, list) else [] if above is None else [above]
        if any(isinstance(name, list) for name in above):
            text = f"below {leaf!r} comes a list of names, nothing that is nested deeper"
            findings.append(problem("row", text, place_of(leaf)))
            above = []
        found.append([*(as_name(name, findings) for name in above), leaf])
    turned = [[*row[-2::-1], row[-1]] for row in found]
    down, up = rows.torn(found), rows.torn(turned)
    found = found if 2 * down <= up and down < up else turned
    return Rows(found, lambda row: place_of(*found[row][::-1], value[row][0]), levels, findings)


# Lists ---------------------------------------------------------------------------------------------------------------


def _list(value: list[Any], source: Source, options: Reading) -> Iterator[Claim]:
    """Lists of rows, of whole numbers, of names or of paths."""
    what = source.language
    if not any(isinstance(entry, list) for entry in value):
        names = [[str(entry)] for entry in value]
        table = Table(names, range(1, len(names) + 1), f"{what} list of {len(names)} texts", True, "entry")
        for claim in lines.claims(table):
            yield replace(claim, read=lambda: nested.read_nested(value)) if claim.format == "list" else claim
    if not all(is_list(entry) and entry and not any(isinstance(cell, list) for cell in entry) for entry in value):
        return
    cells = [[str(cell) for cell in row] for row in value]
    flat = [cell for row in cells for cell in row]
    if indices.are_indices(cells) or 4 * sum(map(str.isdigit, flat)) > 3 * len(flat):
        lined = what == "Python"
        places = [next((cell.line for cell in row if isinstance(cell, Placed)), 0) if lined else number
                  for number, row in enumerate(value, 1)]  # fmt: skip
        table = Table(cells, places, what, True, "line" if lined else "entry")
        yield indices.claim(table, source, options, Score.LIKELY, f"{what} lists of whole numbers")
        return
    way, why = rows.direction_by_parents(cells)
    if inner := {tuple(row[:-1]) for row in cells} & {*map(tuple, cells)}:
        way, why = "paths", f"{len(inner)} begin another"

    def read(step: int) -> Rows:
        findings: list[Finding] = []
        found = [[as_name(cell, findings) for cell in row][::step] for row in value]
        return Rows(found, lambda row: place_of(*found[row][::-1]), None, findings)

    why = f"{what} lists of names, {why}"
    yield Claim("paths", Score.LIKELY if way == "paths" else Score.POSSIBLE, why, partial(read, 1))
    yield Claim("leaf-first", Score.LIKELY if way == "leaf-first" else Score.POSSIBLE, why, partial(read, -1))
