"""The shape of what a file gives, faults and all: enough of a tree to measure, whatever is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hierfit.taxonomy import build
from hierfit.taxonomy.checks import Problems, Where, path_to
from hierfit.taxonomy.index import Ints
from hierfit.taxonomy.readers.given import Form, Links, Rows


@dataclass(frozen=True)
class Sketch:
    """Nodes with one parent each, in the order they first come.

    Of several parents the first counts; a parent that is not there, or that closes a cycle, counts as none.

    Attributes:
        names: [M] what each node is called.
        parents: [M] position of the parent, −1 for none.
        where: Place of a node in the file.
    """

    names: Sequence[str]
    parents: Sequence[int]
    where: Where

    @classmethod
    def of(cls, form: Form) -> Sketch:
        """The shape of rows or links."""
        return _of_rows(form) if isinstance(form, Rows) else _of_links(form)

    @cached_property
    def order(self) -> Ints:
        """Nodes coarse to fine, those on and below a cycle left out."""
        return build.breadth_first(np.array(self.parents, dtype=np.int64))

    @cached_property
    def depth(self) -> list[int]:
        """[M] 0 for roots; −1 on and below a cycle."""
        depth = [-1] * len(self.names)
        for node in self.order.tolist():
            depth[node] = depth[self.parents[node]] + 1 if self.parents[node] >= 0 else 0
        return depth

    @cached_property
    def num_children(self) -> list[int]:
        """[M] children of each node."""
        links = np.array(self.parents, dtype=np.int64)
        counts: list[int] = np.bincount(links[links >= 0], minlength=len(self.names)).tolist()
        return counts

    @cached_property
    def leaves(self) -> list[int]:
        """Nodes without children."""
        return [node for node, count in enumerate(self.num_children) if not count and self.depth[node] >= 0]

    @cached_property
    def num_leaves_below(self) -> list[int]:
        """[M] leaves in the subtree of each node."""
        total = [0] * len(self.names)
        for node in reversed(self.order.tolist()):
            total[node] += not self.num_children[node]
            if self.parents[node] >= 0:
                total[self.parents[node]] += total[node]
        return total

    def path(self, node: int) -> str:
        """Names from the root to a node."""
        return " / ".join(path_to(node, self.names, self.parents))


def _of_rows(form: Rows) -> Sketch:
    grown = build.grow(form.rows, Problems("", form.where, ""))
    return Sketch(grown.names, grown.parents, lambda node: form.where(grown.first_row[node]))


def _of_links(form: Links) -> Sketch:
    if form.by_position:
        parents = [-1 if parent is None else int(parent) for parent in form.parents]
        return Sketch(list(map(str, form.names)), parents, form.where)
    place: dict[str, int] = {}
    first: list[int] = []
    for link, name in enumerate(form.names):
        if name not in place:
            place[name] = len(place)
            first.append(link)
    parents = [place.get(str(form.parents[link] or ""), -1) for link in first]
    return Sketch(form.told_apart(list(place), parents), parents, lambda node: form.where(first[node]))
