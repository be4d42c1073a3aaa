"""Which classes are taken for which, in the order of the tree and as coarse as can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise

import torch
from torch import Tensor

from hierfit.errors import UserError
from hierfit.report.blocks import Block, Drawing, Picture, Sheet, percent, shown_of
from hierfit.report.evidence import Evidence
from hierfit.report.style import FULL, GRID, INK, MUTED, RIGHT, SMALL, WRONG, furnish, legend_below, new_axes, shortened
from hierfit.results.table import Column, Table
from hierfit.taxonomy import Taxonomy

_LISTED = 15
_POINTED = 4000  # cells that say what they are when pointed at
_LINES = 42  # names that have room below each other


def confusion_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs that saved their test logits."""
    reading, levels = evidence.focus.reading, evidence.focus.reading.taxonomy.levels
    found = confusion(reading.decoded, reading.target, reading.taxonomy)
    if not len(found.counts):
        raise UserError("no test image is labelled down to a level that can be shown.")
    names, totals = found.names, found.totals
    wrong = sorted((cell for cell in found.cells if cell[0] != cell[1]), key=lambda cell: (-cell[2], cell[0], cell[1]))
    mistakes = sum(count for _, _, count in wrong)
    if not mistakes:
        inside = "No class of this level is taken for another."
    elif found.depth == 0:
        inside = f"{mistakes} images are taken for another {levels[0]}."
    else:
        parent = found.taxonomy.parent[found.nodes].tolist()
        near = sum(count for row, column, count in wrong if parent[row] == parent[column])
        inside = (
            f"Of {mistakes} images taken for another {levels[found.depth]}, {percent(near / mistakes)} stay in the "
        )
        inside += f"right {levels[found.depth - 1]}."
    coarser = " Finer levels have too many classes for a map." if found.depth < len(levels) - 1 else ""
    coarser += f" {found.left_out} classes with fewer mistakes are left out." if found.left_out else ""
    picture = Picture(
        "confusion",
        f"{len(names)} classes at the level {levels[found.depth]}, siblings beside each other; frames hold the "
        f"children of one node. The shade is the share of the true class's images.{coarser}",
        f"Map of confusion. {mistakes} images lie off the diagonal; {inside} The largest cells are in the table below.",
        partial(_map, found),
        wide=True,
    )
    table = Table.of(
        f"The largest cells off the diagonal{shown_of(len(wrong), _LISTED)}",
        ("true", "predicted", Column("images", "count"), Column("of", "count")),
        [(names[row], names[column], count, totals[row]) for row, column, count in wrong[:_LISTED]],
    )
    lead = f"{inside} Mistakes near the diagonal are near in the tree."
    return lead, (picture, Sheet("confusion", table, folded=True, brief=0))


@dataclass(frozen=True)
class Confusion:
    """Counts between classes of one depth, siblings beside each other."""

    taxonomy: Taxonomy  # the tree
    depth: int  # of the classes; leaves that end above it stand for themselves
    nodes: Tensor  # the classes in tree order ``[k]``
    rows: Tensor  # true class of each cell that is not zero, by its place in ``nodes`` ``[z]``
    columns: Tensor  # predicted class of each cell ``[z]``
    counts: Tensor  # samples in each cell ``[z]``
    left_out: int = 0  # classes of this depth that are not shown: those with the fewest mistakes

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

    def blocks(self, depth: int) -> list[tuple[int, int, int]]:
        """``(start, stop, node)`` of the runs of classes under each node of a coarser depth."""
        above = _at_depth(self.taxonomy.paths(self.nodes), depth).tolist()
        starts = [0, *(i for i in range(1, len(above)) if above[i] != above[i - 1]), len(above)]
        return [(a, b, above[a]) for a, b in pairwise(starts) if b > a]


def confusion(predicted: Tensor, target: Tensor, taxonomy: Taxonomy, limit: int = 120) -> Confusion:
    """Counts at the finest depth that has at most ``limit`` classes. O(n·L + N), no C × C matrix.

    Where even the coarsest level has more, the ``limit`` classes with the most mistakes are shown. Predicted and true
    paths are ``[n, L]``; samples that are not labelled down to the depth are left out.
    """
    depth = max((d for d in range(taxonomy.num_levels) if len(frontier(taxonomy, d)) <= limit), default=0)
    every = nodes = frontier(taxonomy, depth)
    truth, answer = _at_depth(target, depth), _at_depth(predicted, depth)

    def places() -> tuple[Tensor, Tensor]:
        """Of the true and of the predicted class among the nodes, of samples that have both."""
        position = torch.full((taxonomy.num_nodes + 1,), -1)  # the last stands for −1
        position[nodes] = torch.arange(len(nodes))
        rows, columns = position[truth], position[answer]
        both = (rows >= 0) & (columns >= 0)
        return rows[both], columns[both]

    rows, columns = places()
    if len(nodes) > limit:
        mistakes = torch.cat([rows[rows != columns], columns[rows != columns]]).bincount(minlength=len(nodes))
        nodes = nodes[mistakes.argsort(descending=True, stable=True)[:limit].sort().values]
        rows, columns = places()
    cells, counts = (rows * len(nodes) + columns).unique(return_counts=True)
    left_out = len(every) - len(nodes)
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
        size, parent = taxonomy.num_leaves_below[nodes], taxonomy.parent[nodes]
        running = size.cumsum(0) - size
        # Siblings are neighbours: a node stands behind its elder siblings, counted from the first of them.
        first = torch.where(parent >= 0, taxonomy.first_child[parent], nodes.start)
        start = torch.where(parent >= 0, before[parent], 0)
        before[nodes] = start + running - running[first - nodes.start]
    return before


def _at_depth(paths: Tensor, depth: int) -> Tensor:
    """Deepest node of each path ``[n, L]`` down to a depth ``[n]``; −1 for none."""
    return paths[:, : depth + 1].amax(dim=1)


def _map(found: Confusion) -> Drawing:
    """Cells that are not zero: blue where right, vermilion where wrong, the stronger the larger the share of the row.

    True classes down, predicted across. Frames mark the classes under one node of the level above; the frames of the
    coarsest level are heavier.
    """
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Patch, Rectangle

    def shade(colour: str, share: float) -> tuple[float, float, float, float]:
        return to_rgba(colour, 0.12 + 0.88 * share**0.5)  # small shares can still be seen

    size, names, totals = len(found.nodes), found.names, found.totals
    figure, axes = new_axes(FULL, FULL * 0.9)
    texts: dict[str, list[str]] = {}
    for kind, colour in (("right", RIGHT), ("wrong", WRONG)):
        chosen = [cell for cell in found.cells if (cell[0] != cell[1]) == (kind == "wrong")]
        squares = [Rectangle((c, r), 1, 1) for r, c, _ in chosen]
        faces = [shade(colour, n / totals[r]) for r, _, n in chosen]
        axes.add_collection(PatchCollection(squares, facecolor=faces, linewidth=0, gid=kind, zorder=2))
        if len(chosen) <= _POINTED:
            texts[kind] = [
                f"{names[r]}{', right' if r == c else f' taken for {names[c]}'}: {n} of {totals[r]}"
                for r, c, n in chosen
            ]
    for depth in range(found.depth):
        for start, stop, _ in found.blocks(depth):
            colour, width = (INK, 0.9) if depth == 0 else (MUTED, 0.5)
            corner, side = (start, start), stop - start
            axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=colour, linewidth=width))
    blocks = _named_blocks(found)
    furnish(axes, x="predicted, in the same order", y="true", grid=None)
    axes.set_yticks(
        [(start + stop) / 2 for start, stop, _ in blocks],
        [shortened(found.taxonomy.names[node], 26) for _, _, node in blocks],
        fontsize=SMALL - 1,
    )
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.set_xlim(0, size)
    axes.set_ylim(size, 0)
    axes.set_aspect("equal")
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(GRID)
    keys = [
        Patch(facecolor=shade(colour, share), label=f"{word}, {share:.0%}")
        for colour, word in ((RIGHT, "right"), (WRONG, "wrong"))
        for share in (0.05, 0.25, 1.0)
    ]
    legend_below(figure, 6, handles=keys, handlelength=1.2)
    return figure, texts


def _named_blocks(found: Confusion) -> list[tuple[int, int, int]]:
    """The classes, or the blocks of the finest level, of which every name has room; else those coarsest that have."""
    line = len(found.nodes) / _LINES
    by_depth = [[(i, i + 1, node) for i, node in enumerate(found.nodes.tolist())]]
    by_depth += [found.blocks(depth) for depth in reversed(range(found.depth))]
    for blocks in by_depth:
        middles = [(start + stop) / 2 for start, stop, _ in blocks]
        if all(b - a >= line for a, b in pairwise(middles)):
            return blocks
    return [block for block in by_depth[-1] if block[1] - block[0] >= line]
