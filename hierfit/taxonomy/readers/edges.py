"""A link in each row: child and parent, in either order. WordNet's `is_a` files are such, too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Where
from hierfit.taxonomy.readers.given import Links
from hierfit.taxonomy.readers.named import id_names
from hierfit.taxonomy.readers.options import Reading
from hierfit.taxonomy.readers.source import Source
from hierfit.taxonomy.readers.table import CHILD, CHILD_ID, LABEL, PARENT, PARENT_ID, Table

Order = Literal["child-parent", "parent-child"]

WNID = re.compile(r"n\d{8}")
"""A noun of WordNet 3.0, as ImageNet writes it."""


def read_edges(source: Source, options: Reading, order: Order) -> Links:
    """The links of a table; a name that is only ever a parent is a root.

    In a table under the house's header ``name,parent`` every node has its own row: there, a parent without one is a
    fault.
    """
    table = source.table
    header = table.header(options.header, str(source.path))
    child, parent = (0, 1) if order == "child-parent" else (1, 0)
    closed = False
    if header is not None:
        table = table.below_header()
        closed = any(not cell for row in table.rows for cell in (row[parent : parent + 1] or [""]))
    label = None
    if found := columns_of(header or ()):
        child, parent, label = found
    if options.columns:
        if len(options.columns) != 2:
            raise UserError(f"{source.path}: a link has two columns, its parent's and its own; got {options.columns}")
        parent, child = (c - 1 for c in options.columns)
    faults = []
    pairs, kept = [], []
    width = max(child, parent) + 1
    for number, row in enumerate(table.rows):
        short = len(row) <= child or (len(row) <= parent and header is None)
        if short or (header is None and len(row) > width) or (header and any(row[len(header) :])):
            faults.append(f"{table.where(number)}: {len(row)} cells, expected a child and its parent: {_shown(row)}")
            continue
        pairs.append((row[child], row[parent] if parent < len(row) else ""))
        kept.append(number)
    labels = id_names(options, source, [name for pair in pairs for name in pair], faults)
    if label is not None and not labels:
        labels = {row[child]: row[label] for row in (table.rows[i] for i in kept) if len(row) > label and row[label]}
    return links_of(pairs, lambda number: table.where(kept[number]), closed, labels, faults)


def links_of(
    pairs: Sequence[tuple[str, str | None]],
    where: Where,
    closed: bool,
    labels: dict[str, str] | None = None,
    faults: Sequence[str] = (),
) -> Links:
    """Links out of (child, parent) pairs.

    Args:
        pairs: Names; a parent that is empty, or the child itself, says that it is a root.
        where: Place of a pair.
        closed: Whether every node has its own pair. If not, names that are only parents are roots.
        labels: What ids mean.
        faults: Found before.
    """
    names = [child for child, _ in pairs]
    parents: list[str | None] = [parent if parent and parent != child else None for child, parent in pairs]
    places = list(range(len(pairs)))
    if not closed:
        known = set(names)
        for number, parent in enumerate(parents):
            if parent and parent not in known:
                known.add(parent)
                names.append(parent)
                places.append(number)
        parents += [None] * (len(names) - len(parents))
    return Links(names, parents, lambda node: where(places[node]), labels or {}, faults=faults)


class Columns(NamedTuple):
    """Where a link's child, its parent and, if they are ids, the child's name stand."""

    child: int
    parent: int
    label: int | None = None


def columns_of(header: Sequence[str]) -> Columns | None:
    """The columns of links, where the header says which: ``name,parent``, or ``id,parent_id`` and perhaps ``name``."""
    words = [cell.strip().casefold().replace(" ", "_") for cell in header]

    def find(known: Sequence[str], taken: int | None = None) -> int | None:
        return next((words.index(word) for word in known if word in words and words.index(word) != taken), None)

    parent, child = find(PARENT_ID), find(CHILD_ID)
    if parent is not None and child is not None:
        return Columns(child, parent, find(LABEL))
    parent = find(PARENT)
    child = find(CHILD, parent)
    if parent is None or child is None:
        return None
    return Columns(child, parent)


def order_of(pairs: Iterable[tuple[str, str]]) -> tuple[Order | None, str]:
    """Which of two columns is the child's: each child has one parent, and few nodes are roots."""
    partners: tuple[dict[str, set[str]], dict[str, set[str]]] = ({}, {})
    for left, right in pairs:
        if left != right:
            partners[0].setdefault(left, set()).add(right)
            partners[1].setdefault(right, set()).add(left)
    several = [sum(len(others) > 1 for others in side.values()) for side in partners]
    only = [len(side.keys() - other.keys()) for side, other in (partners, partners[::-1])]
    if several[0] * 2 <= several[1] and several[0] < several[1] and only[1] <= only[0]:
        return "child-parent", f"{several[0]} names on the left stand beside several others, {several[1]} on the right"
    if several[1] * 2 <= several[0] and several[1] < several[0] and only[0] <= only[1]:
        return "parent-child", f"{several[1]} names on the right stand beside several others, {several[0]} on the left"
    return None, f"{several[0]} names on the left and {several[1]} on the right stand beside several others"


def is_chained(table: Table) -> bool:
    """Whether names of one column return in the other, in another row."""
    left = {row[0] for row in table.rows if len(set(row[:2])) == 2}
    right = {row[1] for row in table.rows if len(set(row[:2])) == 2}
    return not left.isdisjoint(right)


def are_links(table: Table) -> bool:
    """Whether pairs of words are links, and not names of two words: most parents are somebody's child."""
    if all(WNID.fullmatch(cell) for row in table.rows for cell in row):
        return True
    left, right = ({row[side] for row in table.rows} for side in (0, 1))
    return 2 * len(left & right) >= min(len(left), len(right))


def _shown(row: Sequence[str]) -> str:
    return ", ".join(map(repr, row[:4])) + (", …" if len(row) > 4 else "")
