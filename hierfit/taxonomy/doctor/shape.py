"""What the shape of a tree means for methods that go by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hierfit.taxonomy.checks import Finding, Where, path_to
from hierfit.taxonomy.index import Ints, tree_index

_LISTED = 5
_LOPSIDED = 0.5


@dataclass(frozen=True)
class Shape:
    """The sound part of what a file gives, in canonical order.

    Attributes:
        names: [N] what each node is called; siblings may share a name.
        parent: [N] parents, −1 for roots.
        where: Place of a node in the file.
    """

    names: Sequence[str]
    parent: Ints
    where: Where

    @cached_property
    def index(self) -> dict[str, Ints]:
        """Index arrays, see `tree_index`."""
        return tree_index(self.parent)[1] if len(self.parent) else {}

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """[L] nodes of each level."""
        return tuple(np.bincount(self.index["level"]).tolist()) if self.index else ()

    @property
    def num_leaves(self) -> int:
        """Nodes without children."""
        return len(self.index["leaves"]) if self.index else 0

    @cached_property
    def parents(self) -> list[int]:
        """[N] `parent` as a list."""
        parents: list[int] = self.parent.tolist()
        return parents

    def path(self, node: int) -> str:
        """Names from the root to a node."""
        return " / ".join(path_to(node, self.names, self.parents))


def shape_findings(shape: Shape) -> list[Finding]:
    """Depths, chains, siblings and balance."""
    if not shape.num_leaves:
        return []
    return [*_depth(shape), *_chains(shape), *_siblings(shape), *_balance(shape)]


def _listed(shape: Shape, nodes: Ints) -> str:
    more = ", …" if len(nodes) > _LISTED else ""
    return ", ".join(repr(shape.names[node]) for node in nodes[:_LISTED].tolist()) + more


def _depth(shape: Shape) -> list[Finding]:
    level, leaves = shape.index["level"], shape.index["leaves"]
    counts = np.bincount(level[leaves])
    depths = np.flatnonzero(counts)
    if len(shape.sizes) == 1:
        text = "the tree has one level: losses and metrics of a hierarchy have nothing to go by"
        return [Finding("warning", "flat", text)]
    if len(depths) == 1:
        return []
    shares = ", ".join(f"{counts[depth]} at level {depth + 1}" for depth in depths)
    few = min(depths.tolist(), key=lambda depth: int(counts[depth]))
    examples = leaves[level[leaves] == few][:_LISTED]
    text = f"leaves end at {len(depths)} different levels"
    details = (shares, f"such as {_listed(shape, examples)} at level {few + 1}")
    return [Finding("note", "uneven-depth", text, "", details, "Nothing has to be done: short branches are allowed.")]


def _chains(shape: Shape) -> list[Finding]:
    counts = shape.index["num_children"]
    lonely = np.flatnonzero(counts == 1)
    if not len(lonely):
        return []
    inner = int((counts > 0).sum())
    only_child = shape.index["first_child"][lonely].tolist()
    same = sum(shape.names[a] == shape.names[b] for a, b in zip(lonely.tolist(), only_child, strict=True))
    details = [_listed(shape, lonely)]
    if same:
        details.append(f"{same} of the children have their parent's name")
    everywhere = len(lonely) == inner
    text = f"{len(lonely)} of {inner} inner nodes have a single child"
    advice = "A level that only repeats the one below teaches nothing: leave it out." if everywhere else ""
    return [Finding("warning" if everywhere else "note", "single-child", text, "", tuple(details), advice)]


def _siblings(shape: Shape) -> list[Finding]:
    above = shape.parent[shape.index["leaves"]]
    family = np.where(above >= 0, shape.index["num_children"][above], shape.sizes[0])
    total, acted = len(above), int((family > 1).sum())
    text = f"HiSCE acts on {acted} of {total} leaves" + ("; the others have no sibling" if acted < total else "")
    return [Finding("warning" if acted < total / 2 else "note", "siblings", text)]


def _balance(shape: Shape) -> list[Finding]:
    counts, below = shape.index["num_children"], shape.index["num_leaves_below"]
    inner = counts[counts > 0]
    details = []
    if len(inner):
        widest = shape.names[int(counts.argmax())]
        spread = f"{inner.min()} to {inner.max()} ({widest!r}), median {np.median(inner):g}"
        details.append(f"children of an inner node: {spread}")
    roots = below[: shape.sizes[0]]
    if len(roots) == 1:
        return [Finding("note", "balance", "one root", "", tuple(details))]
    largest, smallest = int(roots.argmax()), len(roots) - 1 - int(roots[::-1].argmin())
    share = roots[largest] / shape.num_leaves
    details.append(
        f"leaves of a root: {roots[smallest]} ({shape.names[smallest]!r}) to "
        f"{roots[largest]} ({shape.names[largest]!r})"
    )
    lopsided = share > _LOPSIDED and len(roots) > 2
    text = f"{len(roots)} roots; the largest holds {share:.0%} of the leaves"
    advice = "Report balanced accuracy beside the plain one on the coarsest level." if lopsided else ""
    return [Finding("warning" if lopsided else "note", "balance", text, "", tuple(details), advice)]
