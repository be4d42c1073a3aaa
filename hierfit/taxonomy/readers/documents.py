"""What a JSON, YAML or Python document can be: a graph, records, rows, lists below names, nested nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding, problem
from hierfit.taxonomy.readers import columns, indices, links, nested
from hierfit.taxonomy.readers.document import Pairs, Placed, as_name, is_list, place_of
from hierfit.taxonomy.readers.given import Guess, Reading, Rows
from hierfit.taxonomy.readers.lines import of_table, of_texts
from hierfit.taxonomy.readers.records import cell_of, graph_of, read_graph, record_tables
from hierfit.taxonomy.readers.rows import torn
from hierfit.taxonomy.readers.source import Content
from hierfit.taxonomy.readers.table import CellTable

_PARTS_OF_FILES = frozenset(
    {"levels", "names", "classes", "labels", "train", "val", "test", "split", "splits", "columns"}
)


def of_document(file: Content, options: Reading) -> Iterator[Guess]:
    """Everything a document can be; raises `UserError` where one of several data sets has to be chosen."""
    value, keys = _selected(file, options)
    if isinstance(value, Pairs) and isinstance(paths := value.get("leaf_to_path"), Pairs):
        levels = value.get("levels")
        named = is_list(levels) and all(isinstance(level, str) for level in levels)
        read = partial(_read_ancestors, paths, levels[::-1] if named else None)
        yield Guess("ancestors", f"{file.language} with 'leaf_to_path'", read, True)
        return
    if isinstance(value, Pairs) and (graph := graph_of(value)):
        why = f"{file.language} graph, by its 'nodes' and links"
        yield Guess("node-link", why, partial(read_graph, *graph, file, options), True)
        return
    yield from _of_records(value, keys, file, options)
    tree = nested.unwrapped(value)
    if isinstance(tree, Pairs):
        yield from _of_mapping(tree, file, options)
    elif isinstance(tree, list) and tree:
        yield from _of_list(tree, file, options)
    if isinstance(tree, list) and tree:
        yield nested.of_nested(value if options.format == "nested" else tree, file.language)


def _selected(file: Content, options: Reading) -> tuple[Any, str]:
    """The value of the document, or of the data set or variable chosen in it, and the keys that lead to its records."""
    value, select = file.document, options.select
    python = file.language == "Python"
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
        raise _choose(file, f"there is no {select!r}", names)
    sets = [entry for _, entry in value if isinstance(entry, Pairs) and (entry.get("leaf_to_path") or graph_of(entry))
            ] if names else []  # fmt: skip
    if select is None and len(names) > 1 and (python or len(sets) == len(names)):
        raise _choose(file, "the file holds several data sets", names[:20])
    return value, select or ""


def _choose(file: Content, what: str, names: Sequence[str]) -> UserError:
    known = ", ".join(names) or "no keys"
    return UserError(f"{file.path}: {what}: choose one of {known}", hint="Name it by --select.")


# Records -------------------------------------------------------------------------------------------------------------


def _of_records(value: Any, select: str, file: Content, options: Reading) -> Iterator[Guess]:
    """The best guesses on lists of records, wherever in the document they lie."""
    tables = record_tables(value, file.language)
    if select:
        if select not in tables:
            names = value.names() if isinstance(value, Pairs) else []
            raise _choose(file, f"there is no {select!r}", [*dict.fromkeys([*names, *filter(None, tables)])])
        tables = {select: tables[select]}
    guesses = {at: [guess for guess in of_table(table, file, options) if not guess.doubt]
               for at, table in tables.items()}  # fmt: skip
    best = {at: max((guess.score for guess in found), default=0) for at, found in guesses.items()}
    most = [at for at in guesses if best[at] == max(best.values()) > 0]
    if len(most) > 1 and not options.format:
        if not all(at.startswith(most[0]) for at in most):
            raise _choose(file, "several lists of records give a tree", most)
        most = most[:1]
    for at in most:
        yield from guesses[at]
    if not most and isinstance(value, Pairs) and is_list(value.get("categories")):
        names = [str(entry.get("name")) for entry in value.get("categories") if isinstance(entry, Pairs)]
        if names and len(set(names)) == len(names):
            why = f"{file.language} categories of a COCO-like set without a supercategory, a tree of one level"
            listed = Rows([[name] for name in names], lambda row: f"category {row + 1}")
            yield Guess("list", why, lambda: listed)


# Mappings and lists --------------------------------------------------------------------------------------------------


def _sheet(rows: Sequence[Sequence[Any]], what: str) -> CellTable:
    cells = [[cell_of(cell) for cell in row] for row in rows]
    return CellTable(cells, range(1, len(cells) + 1), what, unit="entry")


def _of_mapping(value: Pairs, file: Content, options: Reading) -> Iterator[Guess]:
    """{child: parent}, {super: [sub, …]} and {leaf: [parent, …]}."""
    below, keys, what = [entry for _, entry in value], [str(key) for key, _ in value], file.language
    doubt = nested.no_classes(value) or ("" if len(keys) > 1 else columns.no_names(keys))
    doubt = (
        "a key is no class but a part of a file" if not _PARTS_OF_FILES.isdisjoint(map(columns.word, keys)) else doubt
    )
    if not any(isinstance(entry, list) for entry in below):
        if any(isinstance(entry, str) and entry for entry in below):
            for guess in of_table(_sheet(value, f"{what} names by name"), file, options):
                yield replace(guess, doubt=doubt or guess.doubt)
        return
    if nested.node_keys(value) or not all(is_list(entry) and not any(map(_is_nested, entry)) for entry in below):
        return
    items = [str(item) for entry in below for item in entry]
    why = f"{what} lists below names"
    edges = [(str(key), str(item)) for key, entry in value for item in entry if item != key]
    if chained := {*keys}.intersection(item for _, item in edges):
        known = {item for _, item in edges}
        ids = dict.fromkeys([*(key for key in keys if key not in known), *(item for _, item in edges)])
        read = partial(links.of_edges, [*ids], edges, place_of, {})
        yield Guess("super-sub", f"{why}, {len(chained)} of which are in lists themselves", read, False, doubt)
        return
    counts = Counter(items)
    again = sum(count > 1 for count in counts.values())
    why += f", {again} of {len(counts)} items several times"
    down = again * 10 <= len(counts)
    up = not down and len({*map(len, below)}) == 1 and len(counts) * 2 <= len(items)
    yield Guess("super-sub", why, partial(nested.read_nested, value), False, doubt or ("" if down else "too many do"))
    yield Guess("ancestors", why, partial(_read_ancestors, value), False, doubt or ("" if up else "too few do"))


def _is_nested(entry: Any) -> bool:
    return isinstance(entry, list)


def _read_ancestors(value: Pairs, levels: Sequence[str] | None = None) -> Rows:
    """The rows of {leaf: [parent, grandparent, …]}, or, where that fits far better, of {leaf: [root, …, parent]}.

    A single parent may stand alone.
    """
    found: list[list[str]] = []
    findings: list[Finding] = []
    for leaf, above in value:
        above = above if isinstance(above, list) else [] if above is None else [above]
        if any(map(_is_nested, above)):
            text = f"below {leaf!r} comes a list of names, nothing that is nested deeper"
            findings.append(problem("row", text, place_of(leaf)))
            above = []
        found.append([*(as_name(name, findings) for name in above), leaf])
    turned = [[*row[-2::-1], row[-1]] for row in found]
    down, up = torn(found), torn(turned)
    found = found if 2 * down <= up and down < up else turned
    return Rows(found, lambda row: place_of(*found[row][::-1], value[row][0]), levels, findings)


def _of_list(value: list[Any], file: Content, options: Reading) -> Iterator[Guess]:
    """Lists of rows, of whole numbers, of names or of paths."""
    what = file.language
    if not any(map(_is_nested, value)):
        yield from of_texts(_sheet([[entry] for entry in value], f"{what} list of {len(value)} texts"))
    if not all(is_list(entry) and entry and not any(map(_is_nested, entry)) for entry in value):
        return
    table = _sheet(value, f"{what} lists")
    flat = [cell for row in table.rows for cell in row]
    if 4 * sum(map(str.isdigit, flat)) <= 3 * len(flat):
        yield from of_table(table, file, options)
        return
    if what == "Python":
        lines = [next((cell.line for cell in row if isinstance(cell, Placed)), 0) for row in table.rows]
        table = replace(table, numbers=lines, unit="line")
    yield Guess("indices", f"{what} lists of whole numbers", partial(indices.read, table, str(file.path), options))
