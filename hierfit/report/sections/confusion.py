"""Which classes are taken for which, in the order of the tree and as coarse as can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hierfit.errors import UserError
from hierfit.report import style
from hierfit.report.blocks import Block, Drawing, Picture, Sheet, percent, shown_of
from hierfit.report.evidence import Evidence
from hierfit.results.table import Column, Table
from hierfit.taxonomy import Taxonomy

_CELLS_LISTED = 15
_POINTED = 4000  # cells that say what they are when pointed at
_LINES = 42  # names that have room below each other


def confusion_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs that saved their test logits."""
    reading = evidence.focus.reading
    found = confusion(reading.decoded, reading.target, reading.taxonomy)
    if not found.cells:
        raise UserError("no test image is labelled down to a level that can be shown.")
    names, levels, totals = found.names, found.taxonomy.levels, found.totals
    wrong = sorted((cell for cell in found.cells if cell[0] != cell[1]), key=lambda cell: (-cell[2], cell[0], cell[1]))
    mistakes = sum(count for _, _, count in wrong)
    if not mistakes:
        inside = "No class of this level is taken for another."
    elif found.depth == 0:
        inside = f"{mistakes} images are taken for another {levels[0]}."
    else:
        parent = found.taxonomy.parent[found.nodes].tolist()
        near = sum(count for row, column, count in wrong if parent[row] == parent[column])
        stay = f"{percent(near / mistakes)} stay in the right {levels[found.depth - 1]}"
        inside = f"Of {mistakes} images taken for another {levels[found.depth]}, {stay}."
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
        f"The largest cells off the diagonal{shown_of(len(wrong), _CELLS_LISTED)}",
        ("true", "predicted", Column("images", "count"), Column("of", "count")),
        [(names[row], names[column], count, totals[row]) for row, column, count in wrong[:_CELLS_LISTED]],
    )
    lead = f"{inside} Mistakes near the diagonal are near in the tree."
    return lead, (picture, Sheet("confusion", table, folded=True, brief=0))


@dataclass(frozen=True)
class Confusion:
    """Counts between classes of one depth, siblings beside each other."""

    taxonomy: Taxonomy  # the tree
    depth: int  # of the classes; leaves that end above it stand for themselves
    nodes: Tensor  # the classes in tree order ``[k]``
    cells: list[tuple[int, int, int]]  # place of the true and of the predicted class, and samples, where there are any
    left_out: int = 0  # classes of this depth that are not shown: those with the fewest mistakes

    @property
    def names(self) -> list[str]:
        """Of the classes."""
        return [self.taxonomy.names[node] for node in self.nodes.tolist()]

    @property
    def totals(self) -> list[int]:
        """Samples of each class that are shown."""
        found = [0] * len(self.nodes)
        for row, _, count in self.cells:
            found[row] += count
        return found

    def blocks(self, depth: int) -> list[tuple[int, int, int]]:
        """``(start, stop, node)`` of the runs of classes under each node of a coarser depth."""
        above = _at_depth(self.taxonomy.paths(self.nodes), depth).tolist()
        starts = [0, *(i for i in range(1, len(above)) if above[i] != above[i - 1]), len(above)]
        return [(a, b, above[a]) for a, b in pairwise(starts) if b > a]


def confusion(predicted: Tensor, target: Tensor, taxonomy: Taxonomy, limit: int = 120) -> Confusion:
    """Counts at the finest depth that has at most ``limit`` classes. O(n·L + N log N), no C × C matrix.

    Where even the coarsest level has more, the ``limit`` classes with the most mistakes are shown. Predicted and true
    paths are ``[n, L]``; samples that are not labelled down to the depth are left out.
    """
    depth = max((d for d in range(taxonomy.num_levels) if len(frontier(taxonomy, d)) <= limit), default=0)
    every = frontier(taxonomy, depth)

    def places(nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Of the true and of the predicted class among the nodes, of samples that have both."""
        position = torch.full((taxonomy.num_nodes + 1,), -1)  # the last stands for −1
        position[nodes] = torch.arange(len(nodes))
        rows, columns = (position[_at_depth(paths, depth)] for paths in (target, predicted))
        both = (rows >= 0) & (columns >= 0)
        return rows[both], columns[both]

    nodes = every
    if len(every) > limit:
        rows, columns = places(every)
        mistakes = torch.cat([rows[rows != columns], columns[rows != columns]]).bincount(minlength=len(every))
        nodes = every[mistakes.argsort(descending=True, stable=True)[:limit].sort().values]
    cells, counts = torch.stack(places(nodes), dim=1).unique(dim=0, return_counts=True)
    found = [(row, column, n) for (row, column), n in zip(cells.tolist(), counts.tolist(), strict=True)]
    return Confusion(taxonomy, depth, nodes, found, len(every) - len(nodes))


def frontier(taxonomy: Taxonomy, depth: int) -> Tensor:
    """Nodes at a depth, and leaves above it, in tree order."""
    nodes = taxonomy.cut(depth)
    return nodes[tree_order(taxonomy)[nodes].argsort()]


def tree_order(taxonomy: Taxonomy) -> Tensor:
    """``[N]`` number of leaves before each node, walking the tree depth first: a subtree is a range of it."""
    # In the order of their paths, nodes stand behind their parent (−1 comes first) and their elder siblings' subtrees.
    order = torch.from_numpy(np.lexsort(taxonomy.paths(torch.arange(taxonomy.num_nodes)).flip(1).T.numpy()))
    is_leaf = (taxonomy.num_children == 0)[order].long()
    return torch.empty_like(order).index_copy_(0, order, is_leaf.cumsum(0) - is_leaf)


def _at_depth(paths: Tensor, depth: int) -> Tensor:
    """Deepest node of each path ``[n, L]`` down to a depth ``[n]``; −1 for none."""
    return paths[:, : depth + 1].amax(dim=1)


def _map(found: Confusion) -> Drawing:
    """Cells that are not zero: blue where right, vermilion where wrong, the stronger the larger the share of the row.

    True classes down, predicted across. Frames mark the classes under one node of the level above; the frames of the
    coarsest level are heavier.
    """
    from matplotlib.patches import Rectangle

    def shade(colour: str, share: float) -> tuple[str, float]:
        return colour, 0.12 + 0.88 * share**0.5  # small shares can still be seen

    names, totals = found.names, found.totals
    figure, axes = style.new_axes(style.FULL, style.FULL * 0.9)
    texts: dict[str, list[str]] = {}
    colours = {"right": style.RIGHT, "wrong": style.WRONG}
    for kind, colour in colours.items():
        chosen = [cell for cell in found.cells if (cell[0] != cell[1]) == (kind == "wrong")]
        faces = [shade(colour, n / totals[r]) for r, _, n in chosen]
        style.boxes(axes, [(c, r, 1, 1) for r, c, _ in chosen], faces, kind, linewidth=0, zorder=2)
        if len(chosen) <= _POINTED:
            texts[kind] = [
                f"{names[r]}{', right' if r == c else f' taken for {names[c]}'}: {n} of {totals[r]}"
                for r, c, n in chosen
            ]
    for depth in range(found.depth):
        look: dict[str, Any] = {"edgecolor": style.MUTED if depth else style.INK, "linewidth": 0.5 if depth else 0.9}
        for start, stop, _ in found.blocks(depth):
            axes.add_patch(Rectangle((start, start), stop - start, stop - start, fill=False, **look))
    blocks = _named_blocks(found)
    style.furnish(axes, x="predicted, in the same order", y="true", grid=None)
    axes.set_yticks(
        [(start + stop) / 2 for start, stop, _ in blocks],
        [style.shortened(found.taxonomy.names[node], 26) for _, _, node in blocks],
        fontsize=style.SMALL - 1,
    )
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.set_xlim(0, len(names))
    axes.set_ylim(len(names), 0)
    axes.set_aspect("equal")
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(style.GRID)
    keys = [(shade(colours[kind], share), f"{kind}, {share:.0%}") for kind in colours for share in (0.05, 0.25, 1.0)]
    style.colour_legend(figure, keys, 6, "center", handlelength=1.2)
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
