"""networkx's node-link JSON: nodes with ids and links from parent to child."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hierfit.errors import UserError
from hierfit.taxonomy.readers.document import Pairs, is_list, place_of
from hierfit.taxonomy.readers.given import Links
from hierfit.taxonomy.readers.named import id_names
from hierfit.taxonomy.readers.nested import as_name
from hierfit.taxonomy.readers.options import Reading
from hierfit.taxonomy.readers.source import Source

LINK_KEYS = ("links", "edges")  # networkx wrote the first until 3.3, and writes the second since
_ID_KEYS = ("id", "key", "name")
_LABEL_KEYS = ("label", "name", "title")


def read_node_link(value: Any, source: Source, options: Reading) -> Links:
    """Nodes in the order of the file; a node's label, where it has one, is its name, its id tells it apart.

    Links run from parent to child; or, where only that makes a tree, from child to parent.

    Raises:
        UserError: There are no nodes, or no links.
    """
    key = next((key for key in LINK_KEYS if isinstance(value.get(key), list)), None)
    nodes = value.get("nodes")
    if key is None or not isinstance(nodes, list):
        raise UserError(f"{source.path}: node-link JSON holds lists 'nodes' and 'links' (or 'edges')")
    faults: list[str] = []
    labels: dict[str, str] = {}
    ids: list[str] = []
    for number, node in enumerate(nodes):
        attributes = dict(node) if isinstance(node, Pairs) else {"id": node}
        name = _first(attributes, _ID_KEYS)
        if name is None or isinstance(name, list):
            faults.append(f"nodes[{number}]: a node needs an 'id'")
            continue
        ids.append(as_name(name, faults))
        label = _first(attributes, _LABEL_KEYS)
        if label is not None and not isinstance(label, list) and label != ids[-1]:
            labels[ids[-1]] = as_name(label, faults)
    pairs = []
    known = set(ids)
    for number, link in enumerate(value.get(key)):
        named = dict(link) if isinstance(link, Pairs) else {}
        ends = [named.get("source"), named.get("target")] if named else link
        if not isinstance(ends, list) or len(ends) != 2 or any(end is None or isinstance(end, list) for end in ends):
            faults.append(f"{key}[{number}]: a link needs a 'source' and a 'target'")
            continue
        above, below = as_name(ends[0], faults), as_name(ends[1], faults)
        if above not in known or below not in known:
            unknown = [end for end in (above, below) if end not in known]
            faults.append(f"{place_of(*unknown)}: {key}[{number}]: there is no node {', '.join(map(repr, unknown))}")
        else:
            pairs.append((above, below))
    if _upwards(pairs):
        pairs = [(above, below) for below, above in pairs]
    names = id_names(options, source, ids, faults) if options.names else {}
    return _links(ids, pairs, labels | names, _levels(value), faults)


def _levels(value: Pairs) -> list[str] | None:
    """Level names, where hierfit wrote them into the graph's own attributes."""
    graph = value.get("graph")
    levels = graph.get("levels") if isinstance(graph, Pairs) else None
    return levels if is_list(levels) and levels and all(isinstance(level, str) for level in levels) else None


def _first(attributes: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """The value of the first key that is there; None if none is."""
    for key in keys:
        if (value := attributes.get(key)) is not None:
            return value
    return None


def _upwards(pairs: list[tuple[str, str]]) -> bool:
    """Whether links read from child to parent make a tree, and the other way do not."""
    sources, targets = [above for above, _ in pairs], [below for _, below in pairs]
    return len(set(sources)) == len(sources) and len(set(targets)) < len(targets)


def _links(
    ids: list[str], pairs: list[tuple[str, str]], labels: dict[str, str], levels: list[str] | None, faults: list[str]
) -> Links:
    parents: dict[str, list[str]] = {}
    for above, below in pairs:
        if above != below:
            parents.setdefault(below, []).append(above)
    names, above_of = [], []
    for name in ids:
        for parent in parents.pop(name, None) or [None]:  # type: ignore[list-item]
            names.append(name)
            above_of.append(parent)
    return Links(names, above_of, lambda link: place_of(above_of[link], names[link]), labels, levels, faults)
