"""Which classes are taken for which, in the order of the tree and as coarse as can be seen."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from hierfit.taxonomy import Taxonomy


@dataclass(frozen=True)
class Confusion:
    """Counts between classes of one depth, siblings beside each other.

    Attributes:
        taxonomy: The tree.
        depth: Of the classes; leaves that end above it stand for themselves.
        nodes: The classes in tree order ``[k]``.
        rows: True class of each cell that is not zero, by its place in ``nodes`` ``[z]``.
        columns: Predicted class of each cell ``[z]``.
        counts: Samples in each cell ``[z]``.
        left_out: Classes of this depth that are not shown: those with the fewest mistakes.
    """

    taxonomy: Taxonomy
    depth: int
    nodes: Tensor
    rows: Tensor
    columns: Tensor
    counts: Tensor
    left_out: int = 0

    @property
    def row_totals(self) -> Tensor:
        """Samples of each class ``[k]`` that are shown."""
        return torch.zeros(len(self.nodes), dtype=torch.int64).index_add_(0, self.rows, self.counts)

    def blocks(self, depth: int) -> list[tuple[int, int, int]]:
        """``(start, stop, node)`` of the runs of classes under each node of a coarser depth."""
        above = at_depth(self.taxonomy.paths(self.nodes), depth)
        starts = [0, *(i for i in range(1, len(above)) if above[i] != above[i - 1]), len(above)]
        return [(a, b, int(above[a])) for a, b in pairwise(starts) if b > a]


def tree_order(taxonomy: Taxonomy) -> Tensor:
    """``[N]`` number of leaves before each node, walking the tree depth first: a subtree is a range of it. O(N)."""
    before = torch.zeros(taxonomy.num_nodes, dtype=torch.int64)
    for nodes in taxonomy.level_slices:
        size = taxonomy.num_leaves_below[nodes]
        running = size.cumsum(0) - size
        ids = torch.arange(nodes.start, nodes.stop)
        parent = taxonomy.parent[nodes]
        # Siblings are neighbours: a node stands behind its elder siblings, counted from the first of them.
        first = torch.where(parent >= 0, taxonomy.first_child[parent], nodes.start)
        start = torch.where(parent >= 0, before[parent], 0)
        before[ids] = start + running - running[first - nodes.start]
    return before


def frontier(taxonomy: Taxonomy, depth: int) -> Tensor:
    """Nodes at a depth, and leaves above it, in tree order."""
    shown = (taxonomy.level == depth) | ((taxonomy.level < depth) & (taxonomy.num_children == 0))
    nodes = shown.nonzero()[:, 0]
    return nodes[tree_order(taxonomy)[nodes].argsort()]


def at_depth(paths: Tensor, depth: int) -> Tensor:
    """Deepest node of each path ``[n, L]`` down to a depth ``[n]``; −1 for none."""
    return paths[:, : depth + 1].amax(dim=1)


def confusion(predicted: Tensor, target: Tensor, taxonomy: Taxonomy, limit: int = 120) -> Confusion:
    """Counts at the finest depth that has at most ``limit`` classes. O(n·L + N), no C × C matrix.

    Where even the coarsest level has more, the ``limit`` classes with the most mistakes are shown.

    Args:
        predicted: Paths of the tree ``[n, L]``, as decoders that walk the tree give them.
        target: True paths ``[n, L]``; samples that are not labelled down to the depth are left out.
        taxonomy: The tree.
        limit: Most classes a picture can hold.
    """
    fitting = [depth for depth in range(taxonomy.num_levels) if len(frontier(taxonomy, depth)) <= limit]
    depth = max(fitting, default=0)
    nodes = frontier(taxonomy, depth)
    position = torch.full((taxonomy.num_nodes + 1,), -1)
    position[nodes] = torch.arange(len(nodes))
    rows, columns = position[at_depth(target, depth)], position[at_depth(predicted, depth)]
    left_out = 0
    if len(nodes) > limit:
        wrong = (rows >= 0) & (columns >= 0) & (rows != columns)
        mistakes = torch.cat([rows[wrong], columns[wrong]]).bincount(minlength=len(nodes))
        kept = mistakes.argsort(descending=True, stable=True)[:limit].sort().values
        moved = torch.full((len(nodes) + 1,), -1)
        moved[kept] = torch.arange(limit)
        rows, columns, nodes, left_out = moved[rows], moved[columns], nodes[kept], len(nodes) - limit
    both = (rows >= 0) & (columns >= 0)
    cells, counts = (rows[both] * len(nodes) + columns[both]).unique(return_counts=True)
    return Confusion(taxonomy, depth, nodes, cells // len(nodes), cells % len(nodes), counts, left_out)
