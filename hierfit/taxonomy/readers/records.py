"""Records in a document as tables: objects in lists, objects that are alike, columns; the nodes and links of graphs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from hierfit.taxonomy.checks import problem
from hierfit.taxonomy.readers.columns import first_known, speaks_of_columns
from hierfit.taxonomy.readers.document import Pairs, is_list
from hierfit.taxonomy.readers.given import Links, Reading
from hierfit.taxonomy.readers.indices import id_names
from hierfit.taxonomy.readers.links import of_edges
from hierfit.taxonomy.readers.source import Content
from hierfit.taxonomy.readers.table import CellTable

_DEEPEST_RECORDS = 6  # wrappings around them
_EDGES = ("links", "edges")  # networkx wrote the first until 3.3, and writes the second since
_ENDS = (("source", "target"), ("from", "to"), ("parent", "child"), ("obj", "sub"), ("start", "end"))


def record_tables(value: Any, language: str) -> dict[str, CellTable]:
    """Tables of the records in a document, by the keys that lead to them; lists along the way are gone through.

    Records are mappings in a list; mappings below different names that have their keys in common (then their name is
    their ``key``); or a list of cells below each column's name, as pandas and plotly write tables.
    """
    found: dict[str, list[Pairs]] = {}
    stack: list[tuple[str, Any, int]] = [("", value, 0)] if isinstance(value, list) else []
    while stack:
        at, here, depth = stack.pop()
        below = [(f"{at}.{key}".strip("."), entry) for key, entry in here] if isinstance(here, Pairs) else [
            (at, entry) for entry in here]  # fmt: skip
        entries = [entry for _, entry in below]
        if not isinstance(here, Pairs):
            records = here if all(isinstance(entry, Pairs) for entry in here) else []
        elif not (records := _columns(here.names(), entries)) and _are_alike(entries):
            records = [Pairs([("key", key), *entry]) for key, entry in here]
        if records:
            found.setdefault(at, []).extend(records)
        stack += [(key, entry, depth + 1) for key, entry in reversed(below)
                  if isinstance(entry, list) and depth < _DEEPEST_RECORDS]  # fmt: skip
    names = {at: f"{language} records{f' below {at!r}' if at else ''}" for at in found}
    return {at: _table_of(records, names[at]).without_floats() for at, records in found.items()}


def _are_alike(entries: Sequence[Any]) -> bool:
    """Whether mappings have most of their keys in common, two at least."""
    if len(entries) < 2 or not all(isinstance(entry, Pairs) and entry for entry in entries):
        return False
    counts = Counter(key for entry in entries for key in dict.fromkeys(entry.names()))
    return sum(2 * count > len(entries) for count in counts.values()) >= 2 and 2 * len(counts) <= sum(counts.values())


def _columns(keys: Sequence[str], entries: Sequence[Any]) -> list[Pairs]:
    """Records out of {column: [cell, …]} or pandas' {columns: […], data: [[…], …]}; none where it is no such thing."""
    split = dict(zip(keys, entries, strict=True))
    if {*keys} <= {"columns", "index", "data"} and is_list(split.get("columns")) and is_list(split.get("data")):
        return [Pairs(zip(map(str, split["columns"]), row, strict=False)) for row in split["data"] if is_list(row)]
    if not 1 < len(entries) < 40 or not all(isinstance(cells, list) for cells in entries):
        return []
    names = [re.sub(r"s$", "", str(key)) for key in keys]
    if not speaks_of_columns(names) or len({*map(len, entries)}) > 1:
        return []
    cells = [[cell for _, cell in entry] if isinstance(entry, Pairs) else entry for entry in entries]
    return [Pairs(zip(names, row, strict=True)) for row in zip(*cells, strict=True)]


def _table_of(records: Sequence[Pairs], what: str) -> CellTable:
    header: dict[str, int] = {}
    rows: list[list[Any]] = []
    for record in records:
        row: list[Any] = [""] * len(header)
        for key, value in record:
            column = header.setdefault(str(key), len(header))
            row += [""] * (column + 1 - len(row))
            row[column] = cell_of(value)
        rows.append(row)
    return CellTable(rows, range(1, len(rows) + 1), what, True, "record", tuple(header))


def cell_of(value: Any) -> Any:
    """A value as a cell: text, or a tuple of texts for a list; a mapping is its id or name, or its text in English."""
    if isinstance(value, str):
        return value
    if isinstance(value, Pairs):
        texts = sorted(value, key=lambda pair: (pair[0] not in ("id", "@id", "name", "@value"), pair[0][:2] != "en"))
        return str(texts[0][1]) if texts and not isinstance(texts[0][1], list) else ""
    if isinstance(value, list):
        return tuple(str(cell_of(entry)) for entry in value)
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


# Graphs --------------------------------------------------------------------------------------------------------------


def graph_of(value: Pairs) -> tuple[Pairs, str] | None:
    """A graph as networkx and its relatives write it (cytoscape's ``elements``, OBO's ``graphs``), its key of links."""
    graphs, elements = value.get("graphs"), value.get("elements")
    value = graphs[0] if is_list(graphs) and len(graphs) == 1 and isinstance(graphs[0], Pairs) else value
    value = elements if isinstance(elements, Pairs) else value
    nodes, adjacency = value.get("nodes"), value.get("adjacency")
    if is_list(nodes) and is_list(adjacency) and all(isinstance(node, Pairs) for node in nodes):
        near = [Pairs([("source", node.get("id")), ("target", other.get("id"))])
                for node, others in zip(nodes, adjacency, strict=False) for other in others]  # fmt: skip
        value = Pairs([*value, ("links", near)])
    link = next((key for key in _EDGES if isinstance(value.get(key), list)), None)
    return (value, link) if link is not None and isinstance(nodes, list) else None


def read_graph(graph: Pairs, key: str, file: Content, options: Reading) -> Links:
    """Nodes in the order of the file; a node's label, where it has one, is its name, its id tells it apart."""
    nodes, links = (_table_of([_attributes(entry) for entry in graph.get(k)], k) for k in ("nodes", key))
    names, titles = (_column_of(nodes, *keys) for keys in (("id", "key", "name"), ("label", "lbl", "name", "title")))
    above, below = next((ends for ends in _ENDS if {*ends} <= {*links.words}), _ENDS[0])
    edges = [*zip(_column_of(links, above), _column_of(links, below), strict=True)]
    number_of = {name: number for number, name in enumerate(names) if name and isinstance(name, str)}
    findings = [problem("node", "a node needs an 'id'", nodes.where(number)) for number, name in enumerate(names)
                if name not in number_of]  # fmt: skip
    for row, ends in enumerate(edges):
        if unknown := [repr(end) for end in ends if end not in number_of]:
            findings.append(problem("link", f"there is no node {', '.join(unknown)}", links.where(row)))
    sound = [(up, down) for up, down in edges if up in number_of and down in number_of]
    labels = {name: title for name, title in zip(names, titles, strict=True) if title and isinstance(title, str)}
    labels |= id_names(options, file, [number_of], findings) if options.names else {}
    # Level names, where hierfit wrote them into the graph's own attributes.
    levels = graph.get("graph").get("levels") if isinstance(graph.get("graph"), Pairs) else None
    named = is_list(levels) and levels and all(isinstance(level, str) for level in levels)

    @cache
    def rows() -> dict[frozenset[str], int]:  # only where something is wrong
        return {frozenset(ends): row for row, ends in enumerate(edges)}

    def place(name: str, parent: str | None) -> str:
        return nodes.where(number_of[name]) if parent is None else links.where(rows()[frozenset((name, parent))])

    ids = [name for name in names if name in number_of]
    return of_edges(ids, sound, place, labels, findings, levels if named else None)


def _attributes(entry: Any) -> Pairs:
    """Of a node or link; cytoscape puts them below ``data``."""
    pairs = entry if isinstance(entry, Pairs) else Pairs([("id", entry)])
    return data if isinstance(data := pairs.get("data"), Pairs) else pairs


def _column_of(table: CellTable, *known: str) -> list[Any]:
    column = first_known(table.words, known)
    return [""] * len(table.rows) if column is None else table.column(column)
