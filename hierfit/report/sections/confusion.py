"""Which classes are taken for which, in the order of the tree and as coarse as can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from hierfit.errors import UserError
from hierfit.report.blocks import Block, Drawn, Picture, Sheet, shown_of
from hierfit.report.evidence import Evidence
from hierfit.report.style import FULL, GRID, INK, MUTED, RIGHT, SMALL, WRONG, furnish, new_axes, shortened
from hierfit.results.table import Column, Table
from hierfit.taxonomy import Taxonomy

_LISTED = 15
_NAMED = 40  # classes that have room for their names
_POINTED = 4000  # cells that say what they are when pointed at
_BLOCKS_NAMED = 30


def section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs that saved their test logits."""
    reading = evidence.focus.reading
    found = confusion(reading.decoded, reading.target, reading.taxonomy)
    if not len(found.counts):
        raise UserError("no test image is labelled down to a level that can be shown.")
    level, inside = reading.taxonomy.levels[found.depth], _inside(found)
    coarser = " Finer levels have too many classes for a map." if found.depth < found.taxonomy.num_levels - 1 else ""
    coarser += f" {found.left_out} classes with fewer mistakes are left out." if found.left_out else ""
    picture = Picture(
        "confusion",
        f"{len(found.nodes)} classes at the level {level}, siblings beside each other; frames hold the children of "
        f"one node. The shade is the share of the true class's images.{coarser}",
        f"Map of confusion. {found.wrong} images lie off the diagonal; {inside} The largest cells are in the "
        "table below.",
        partial(confusion_map, found),
        wide=True,
    )
    wrong = sorted((cell for cell in found.cells if cell[0] != cell[1]), key=lambda cell: (-cell[2], cell[0], cell[1]))
    table = Table.of(
        f"The largest cells off the diagonal{shown_of(len(wrong), _LISTED)}",
        ("true", "predicted", Column("images", "count"), Column("of", "count")),
        [(found.names[r], found.names[c], n, found.totals[r]) for r, c, n in wrong[:_LISTED]],
    )
    lead = f"{inside} Mistakes near the diagonal are near in the tree."
    return lead, (picture, Sheet("confusion", table, folded=True, brief=0))


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

    @cached_property
    def cells(self) -> list[tuple[int, int, int]]:
        """Row, column and count of each cell that is not zero."""
        return list(zip(self.rows.tolist(), self.columns.tolist(), self.counts.tolist(), strict=True))

    @cached_property
    def names(self) -> list[str]:
        """Of the classes."""
        return [self.taxonomy.names[node] for node in self.nodes.tolist()]

    @cached_property
    def totals(self) -> list[int]:
        """Samples of each class that are shown."""
        zero = torch.zeros(len(self.nodes), dtype=torch.int64)
        found: list[int] = zero.index_add_(0, self.rows, self.counts).tolist()
        return found

    @property
    def wrong(self) -> int:
        """Samples off the diagonal."""
        return int(self.counts[self.rows != self.columns].sum())

    def blocks(self, depth: int) -> list[tuple[int, int, int]]:
        """``(start, stop, node)`` of the runs of classes under each node of a coarser depth."""
        above = _at_depth(self.taxonomy.paths(self.nodes), depth)
        starts = [0, *(i for i in range(1, len(above)) if above[i] != above[i - 1]), len(above)]
        return [(a, b, int(above[a])) for a, b in pairwise(starts) if b > a]


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
    rows, columns = position[_at_depth(target, depth)], position[_at_depth(predicted, depth)]
    left_out = 0
    if len(nodes) > limit:
        wrong = (rows >= 0) & (columns >= 0) & (rows != columns)
        mistakes = torch.cat([rows[wrong], columns[wrong]]).bincount(minlength=len(nodes))
        shown = mistakes.argsort(descending=True, stable=True)[:limit].sort().values
        moved = torch.full((len(nodes) + 1,), -1)
        moved[shown] = torch.arange(limit)
        rows, columns, nodes, left_out = moved[rows], moved[columns], nodes[shown], len(nodes) - limit
    both = (rows >= 0) & (columns >= 0)
    cells, counts = (rows[both] * len(nodes) + columns[both]).unique(return_counts=True)
    return Confusion(taxonomy, depth, nodes, cells // len(nodes), cells % len(nodes), counts, left_out)


def frontier(taxonomy: Taxonomy, depth: int) -> Tensor:
    """Nodes at a depth, and leaves above it, in tree order."""
    shown = (taxonomy.level == depth) | ((taxonomy.level < depth) & (taxonomy.num_children == 0))
    nodes = shown.nonzero()[:, 0]
    return nodes[tree_order(taxonomy)[nodes].argsort()]


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


def _at_depth(paths: Tensor, depth: int) -> Tensor:
    """Deepest node of each path ``[n, L]`` down to a depth ``[n]``; −1 for none."""
    return paths[:, : depth + 1].amax(dim=1)


def _inside(found: Confusion) -> str:
    """How much of the confusion stays within a frame."""
    wrong, levels = found.wrong, found.taxonomy.levels
    if not wrong:
        return "No class of this level is taken for another."
    if found.depth == 0:
        return f"{wrong} images are taken for another {levels[0]}."
    parents = found.taxonomy.parent[found.nodes]
    within = (found.rows != found.columns) & (parents[found.rows] == parents[found.columns])
    share = int(found.counts[within].sum()) / wrong
    return f"Of {wrong} images taken for another {levels[found.depth]}, {share:.0%} stay in the right " + (
        f"{levels[found.depth - 1]}."
    )


def confusion_map(found: Confusion) -> Drawn:
    """Cells that are not zero: blue where right, vermilion where wrong, the stronger the larger the share of the row.

    True classes down, predicted across. Frames mark the classes under one node of the level above; the frames of the
    coarsest level are heavier.
    """
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Patch, Rectangle

    size, names, totals = len(found.nodes), found.names, found.totals
    figure, axes = new_axes(FULL, FULL * 0.9)
    texts: dict[str, list[str]] = {}
    for gid, colour, wrong in (("right", RIGHT, False), ("wrong", WRONG, True)):
        chosen = [cell for cell in found.cells if (cell[0] != cell[1]) == wrong]
        squares = [Rectangle((c, r), 1, 1) for r, c, _ in chosen]
        faces = [to_rgba(colour, _strength(n / totals[r])) for r, _, n in chosen]
        axes.add_collection(PatchCollection(squares, facecolor=faces, linewidth=0, gid=gid, zorder=2))
        if len(chosen) <= _POINTED:
            texts[gid] = [
                f"{names[r]}{' taken for ' + names[c] if wrong else ', right'}: {n} of {totals[r]}"
                for r, c, n in chosen
            ]
    for depth in range(found.depth):
        for start, stop, _ in found.blocks(depth):
            colour, width = (INK, 0.9) if depth == 0 else (MUTED, 0.5)
            side = stop - start
            axes.add_patch(Rectangle((start, start), side, side, fill=False, edgecolor=colour, linewidth=width))
    _label(axes, found)
    axes.set_xlim(0, size)
    axes.set_ylim(size, 0)
    axes.set_aspect("equal")
    furnish(axes, x="predicted, in the same order", y="true", grid=None)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(GRID)
    keys = [
        Patch(facecolor=to_rgba(colour, _strength(share)), label=f"{word}, {share:.0%}")
        for colour, word in ((RIGHT, "right"), (WRONG, "wrong"))
        for share in (0.05, 0.25, 1.0)
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=6, frameon=False, fontsize=SMALL, handlelength=1.2)
    return figure, texts


def _strength(share: float) -> float:
    """Opacity: small shares can still be seen."""
    return float(0.12 + 0.88 * share**0.5)


def _label(axes: Any, found: Confusion) -> None:
    """Names of the classes where there is room, else of the blocks of the finest level that fit."""
    if len(found.nodes) <= _NAMED:
        blocks = [(i, i + 1, int(node)) for i, node in enumerate(found.nodes)]
    else:
        by_depth = [found.blocks(depth) for depth in range(found.depth)]
        blocks = next((b for b in reversed(by_depth) if len(b) <= _BLOCKS_NAMED), [])
    labels = [shortened(found.taxonomy.names[node], 26) for _, _, node in blocks]
    axes.set_yticks([(start + stop) / 2 for start, stop, _ in blocks], labels, fontsize=SMALL - 1)
    axes.set_xticks([])
    axes.tick_params(length=0)
