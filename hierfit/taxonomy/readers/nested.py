"""Trees that are nested as they are: {super: [sub, …]}, mappings in mappings, {"name": …, "children": […]}."""

from __future__ import annotations

from typing import Any

from hierfit.taxonomy.readers.document import Pairs, place_of
from hierfit.taxonomy.readers.given import Links, Rows
from hierfit.taxonomy.readers.paths import torn

NAME_KEYS = ("name", "label", "id", "title", "text")
_NAME_KEYS = frozenset(NAME_KEYS)
CHILD_KEYS = ("children", "child", "subclasses", "subcategories", "nodes")


def read_nested(value: Any) -> Links:
    """Every node where it stands; ``null``, ``""``, ``{}`` and ``[]`` below a key make it a leaf. Any depth."""
    names: list[Any] = []
    parents: list[int | None] = []
    faults: list[str] = []
    stack: list[tuple[Any, int | None]] = [(value, None)]

    def add(name: Any, parent: int | None) -> int:
        names.append(name if isinstance(name, str) else as_name(name, faults))
        parents.append(parent)
        return len(names) - 1

    while stack:
        here, parent = stack.pop()
        if isinstance(here, Pairs) and (named := _named(here)):
            name, below = named
            stack += [(below, parent if name is None else add(name, parent))]
        elif isinstance(here, Pairs):
            stack += [(below, add(name, parent)) for name, below in here][::-1]
        elif isinstance(here, list):
            stack += [(as_name(entry, faults) if entry is None else entry, parent) for entry in here][::-1]
        elif here is not None and here != "":
            add(here, parent)
    return Links(names, parents, lambda node: place_of(names[node]), faults=faults)


def _named(pairs: Pairs) -> tuple[Any, Any] | None:
    """Name and children of a node written as {"name": …, "children": […]}; None for a plain mapping."""
    if _NAME_KEYS.isdisjoint(key for key, _ in pairs):
        return None
    keys = pairs.names()
    child_key = next((key for key in CHILD_KEYS if key in keys and isinstance(pairs.get(key), list | type(None))), None)
    name_key = next((key for key in NAME_KEYS if key in keys and not isinstance(pairs.get(key), list | None)), None)
    if name_key is None or not (child_key or keys[0] == name_key):
        return None
    return pairs.get(name_key), pairs.get(child_key) if child_key else None


def read_ancestors(value: Pairs) -> Rows:
    """The rows of {leaf: [parent, grandparent, …]}, or, where that fits far better, of {leaf: [root, …, parent]}.

    A single parent may stand alone.
    """
    rows, faults = [], []
    names = value.names()
    for leaf, above in value:
        above = above if isinstance(above, list) else [] if above is None else [above]
        if any(isinstance(name, list) for name in above):
            faults.append(f"{place_of(leaf)}: below {leaf!r} comes a list of names, nothing that is nested deeper")
            above = []
        path = [as_name(name, faults) for name in above]
        rows.append([leaf, *path])
    down, up = torn([[*path, leaf] for leaf, *path in rows]), torn([row[::-1] for row in rows])
    rows = [[*path, leaf] for leaf, *path in rows] if 2 * down <= up and down < up else [row[::-1] for row in rows]
    return Rows(rows, lambda row: place_of(*rows[row][::-1], names[row]), None, faults)


def as_name(value: Any, faults: list[str]) -> str:
    """A scalar of a document as a name; true, false and null become faults."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    faults.append(f"{value!r} is not a name")
    return repr(value)
