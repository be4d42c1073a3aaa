"""Which format a file is in, by its content, with one line that says why."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple

from hierfit.errors import UserError
from hierfit.taxonomy.readers import edges, indices, paths, ranks
from hierfit.taxonomy.readers.document import Pairs, is_list
from hierfit.taxonomy.readers.node_link import LINK_KEYS
from hierfit.taxonomy.readers.options import Format, Reading
from hierfit.taxonomy.readers.outline import is_drawn
from hierfit.taxonomy.readers.source import Source
from hierfit.taxonomy.readers.table import lines_of

_NEWICK = re.compile(r"\s*(?:\[&[RU]\]\s*)?\(")
_NEWICK_NAMES = (".nwk", ".newick", ".tree", ".nw", ".tre")


class Found(NamedTuple):
    """A format, and by what it was recognised."""

    format: Format
    why: str


def detect(source: Source, options: Reading) -> Found:
    """The format of a file.

    Raises:
        UserError: Several formats fit and would give different trees, or none does; the message says what to give.
    """
    if _NEWICK.match(source.text) or source.path.suffix.lower() in _NEWICK_NAMES:
        return Found("newick", "Newick, as it opens with a bracket")
    if source.looks_like_json:
        return of_document(source, selected(source, options), "JSON")
    if source.is_yaml:
        return of_document(source, selected(source, options), "YAML")
    if source.path.suffix.lower() not in (".csv", ".tsv"):
        if source.path.suffix.lower() == ".py" or indices.assigned(source.text):
            return _python(source)
        if is_drawn(lines_of(source.text)):
            return Found("outline", "a drawn tree, by its ├── or |--")
        if any(line[:1].isspace() and line.strip() for line in lines_of(source.text)):
            return Found("outline", "indented text")
    return _of_table(source, options)


def _python(source: Source) -> Found:
    if names := indices.assigned(source.text):
        return Found("indices", f"Python lists of numbers: {', '.join(names)}")
    raise UserError(f"{source.path}: there is no list of lists in this Python file", hint="It is read, never run.")


# Documents -----------------------------------------------------------------------------------------------------------


def selected(source: Source, options: Reading) -> Any:
    """The value of a document, or of the data set chosen in it.

    Raises:
        UserError: It holds several data sets, and none is chosen; or the one chosen is not there.
    """
    value = source.document
    several = isinstance(value, Pairs) and len(value) > 0 and all(_is_set(entry) for _, entry in value)
    if options.select is None and not several:
        return value
    if not isinstance(value, Pairs) or options.select not in value.names():
        keys = ", ".join(value.names()[:20]) if isinstance(value, Pairs) else "no keys"
        what = f"there is no {options.select!r}" if options.select else "the file holds several data sets"
        raise UserError(f"{source.path}: {what}: choose one of {keys}", hint="Name it by --select.")
    return value.get(options.select)


def _is_set(value: Any) -> bool:
    keys = value.names() if isinstance(value, Pairs) else []
    return "leaf_to_path" in keys or ("nodes" in keys and any(key in keys for key in LINK_KEYS))


def of_document(source: Source, value: Any, what: str) -> Found:
    """The format of a JSON or YAML value; raises `UserError`."""
    if isinstance(value, Pairs):
        keys = value.names()
        if "leaf_to_path" in keys:
            return Found("ancestors", f"{what} with 'leaf_to_path'")
        if link := next((key for key in LINK_KEYS if key in keys and "nodes" in keys), None):
            return Found("node-link", f"{what} of networkx, by its keys 'nodes' and {link!r}")
        if (records := ranks.records_of(value)) is not None:
            return Found("ranks", f"{what} records with {', '.join(ranks.ranks_in(records[0].names()))}")
        return _of_mapping(source, value, what)
    if isinstance(value, list) and value:
        return _of_list(source, value, what)
    raise _nothing(source, f"{what} that holds no names")


def _of_mapping(source: Source, value: Pairs, what: str) -> Found:
    below = [entry for _, entry in value]
    if value and all(_is_scalar(entry) and entry not in (None, "") for entry in below):
        if "name" in value.names():
            return Found("nested", f"{what}, one node with a 'name'")
        return _flat_mapping(source, value, what)
    lists = [entry for entry in below if is_list(entry) and all(map(_is_scalar, entry))]
    if len(lists) < len(below):
        return Found("nested", f"{what} with mappings in mappings")
    items = [str(item) for entry in lists for item in entry]
    return _lists_below_names(source, value.names(), items, lists, what)


def _lists_below_names(source: Source, keys: list[str], items: list[str], lists: list[list[Any]], what: str) -> Found:
    """{super: [sub, …]} or {leaf: [parent, …]}: subs come once, parents again and again."""
    counts = Counter(items)
    again = sum(count > 1 for count in counts.values())
    same_length = len({len(entry) for entry in lists}) == 1
    if not again:
        return Found("super-sub", f"{what} lists below names, each item once")
    if same_length and len(counts) * 2 <= len(items):
        return Found("ancestors", f"{what} lists below names, whose {len(items)} items are only {len(counts)} names")
    if again * 10 <= len(counts):
        return Found("super-sub", f"{what} lists below names, nearly each item once")
    raise _ambiguous(source, f"{what} lists below names, {again} of {len(counts)} items several times",
                     {"super-sub": "{super: [sub, …]}", "ancestors": "{leaf: [parent, …]}"})  # fmt: skip


def _flat_mapping(source: Source, value: Pairs, what: str) -> Found:
    chosen, _ = edges.order_of([(key, str(entry)) for key, entry in value])
    if chosen == "parent-child":
        raise _ambiguous(source, f"{what} {{name: name}}, of which the values look like children", _BOTH_LINKS)
    return Found("child-parent", f"{what} {{child: parent}}, as keys differ")


def _of_list(source: Source, value: list[Any], what: str) -> Found:
    if ranks.records_of(value) is not None:
        return Found("ranks", f"{what} records with {', '.join(ranks.ranks_in(value[0].names()))}")
    if all(isinstance(entry, Pairs) for entry in value):
        if edges.columns_of(value[0].names()):
            return Found("child-parent", f"{what} records with {', '.join(value[0].names()[:4])}")
        return Found("nested", f"{what} list of nodes")
    if all(is_list(entry) and entry and all(map(_is_scalar, entry)) for entry in value):
        if indices.are_indices(value):
            return Found("indices", f"{what} lists of whole numbers")
        rows = [[str(cell) for cell in row] for row in value]
        way, why = paths.direction_by_parents(rows)
        if way is None:
            raise _ambiguous(source, f"{what} lists of names: {why}", _BOTH_WAYS)
        return Found(way, f"{what} lists of names, {_WAY[way]}: {why}")
    if all(map(_is_scalar, value)):
        return Found("list", f"{what} list of {len(value)} names: a tree of one level")
    return Found("nested", f"{what} lists in lists")


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, list)


# Tables --------------------------------------------------------------------------------------------------------------

_WAY = {"paths": "root first", "leaf-first": "leaf first"}
_BOTH_WAYS = {"paths": "rows from the root", "leaf-first": "rows from the leaf"}
_BOTH_LINKS = {"child-parent": "the child on the left", "parent-child": "the parent on the left"}


def _of_table(source: Source, options: Reading) -> Found:
    table = source.table
    if options.columns:
        numbers = indices.are_indices(table.rows[1:] if options.header else table.rows)
        return Found(
            "indices" if numbers else "paths", f"columns {', '.join(map(str, options.columns))}, coarse to fine"
        )
    first = list(table.rows[0]) if table.rows else []
    what = "CSV" if table.is_csv else f"lines divided by {table.divided}"
    if options.header is not False and edges.columns_of(first):
        return Found("child-parent", f"{what} with the columns {', '.join(first[:4])}")
    if options.header is not False and (found := ranks.ranks_in(first)) and found != tuple(c.casefold() for c in first):
        return Found("ranks", f"{what} with columns for {', '.join(found)}")
    header = table.header(options.header, str(source.path))
    body = table.below_header() if header is not None else table
    if table.width < 2:
        return Found("list", "a name a line: a tree of one level")
    if indices.are_indices(body.rows) and (body.width > 2 or not edges.is_chained(body)):
        return Found("indices", f"{what}, all of them whole numbers")
    if table.divided == "blanks" and not edges.are_links(body):
        choices = {"list": "a name of two words in each line", "child-parent": "the child on the left"}
        raise _ambiguous(source, "two words in each line", choices | {"parent-child": "the parent on the left"})
    if header is None and body.width == 2 and edges.is_chained(body):
        order, why = edges.order_of([(row[0], row[1]) for row in body.rows if len(row) == 2])
        if order is None:
            raise _ambiguous(source, f"{what}, links between names: {why}", _BOTH_LINKS)
        wordnet = "WordNet ids, " if all(edges.WNID.fullmatch(cell) for row in body.rows for cell in row) else ""
        return Found(order, f"{wordnet}{what}, links with {_BOTH_LINKS[order]}: {why}")
    way, why = paths.direction_of(table, header)
    if way is None:
        raise _ambiguous(source, f"{what}, a path in each: {why}", _BOTH_WAYS)
    return Found(way, f"{what}, a path in each, {_WAY[way]}: {why}")


# Neither -------------------------------------------------------------------------------------------------------------


def _ambiguous(source: Source, what: str, choices: dict[str, str]) -> UserError:
    return UserError(
        f"{source.path}: its format is not certain: {what}",
        [f"--format {name}: {meaning}" for name, meaning in choices.items()],
        "Give one of these formats (in a data card, `taxonomy: {file: …, format: …}`).",
    )


def _nothing(source: Source, what: str) -> UserError:
    return UserError(f"{source.path}: no taxonomy is recognised: {what}")
