"""What a run decides about each test image; where its paths leave the true ones: at which node, for which child."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from hierfit.decoding import belief, leaf_rollup
from hierfit.decoding.belief import descent
from hierfit.metrics.functional import judged_nodes
from hierfit.results.logits import TestLogits
from hierfit.taxonomy import Taxonomy


@dataclass(frozen=True)
class Decisions:
    """What remains of test logits once they are read: O(n·L) numbers, however many nodes there are."""

    taxonomy: Taxonomy  # the run's tree
    indices: list[int]  # row of each sample in the test split
    target: Tensor  # true node ids ``[n, L]``, −1 where unknown or ended
    best_leaf: Tensor  # path of the leaf with the best logit ``[n, L]``
    decoded: Tensor  # path of the most probable leaf by the belief ``[n, L]``
    sure: Tensor  # probability of each node of ``decoded`` by the belief ``[n, L]``; 0 past the leaf
    truth: Tensor  # the same of the nodes of ``target``
    answer: Tensor  # the belief's descent ``[n, L]``, −1 past the leaf
    confidence: Tensor  # its probabilities ``[n, L]``, never rising; 0 past the leaf

    @classmethod
    def of(cls, logits: TestLogits) -> Decisions:
        """In one pass: O(n·N) time, memory of one batch; raises `UserError` where logits hold NaN or +inf."""
        tree, calibration = logits.taxonomy, logits.calibration
        ids, share = torch.zeros(0, tree.num_levels, dtype=torch.long), torch.zeros(0, tree.num_levels)
        parts = [(ids, ids, ids, share, share, ids, share)]  # there may be no batch
        for batch, target in logits.batches():
            nodes = belief(batch, tree, calibration).nodes
            decoded = leaf_rollup(nodes, tree)
            of_path, of_truth = (nodes.gather(1, p.clamp_min(0)).masked_fill(p < 0, 0) for p in (decoded, target))
            parts.append((target, leaf_rollup(batch, tree), decoded, of_path, of_truth, *descent(nodes, tree)))
        return cls(tree, logits.indices.tolist(), *map(torch.cat, zip(*parts, strict=True)))


@dataclass(frozen=True)
class Breaks:
    """For each sample how far its predicted path follows the true one; counts by node follow from that.

    A mistake has one place: the lowest common ancestor (LCA) of prediction and truth, where the true path goes on to
    one child and the predicted one to its sibling. The roots of a forest are siblings under a virtual root.
    """

    taxonomy: Taxonomy  # the tree, of N nodes and L levels
    true_path: Tensor  # node ids ``[n, L]`` down to the deepest label, −1 below
    common: Tensor  # nodes that both paths share ``[n]``, counted from the root: the depth of the LCA
    wrong: Tensor  # whether the paths part above the label ``[n]`` bool
    true_child: Tensor  # where they part, the node on the true path ``[n]``; −1 for a right prediction
    predicted_child: Tensor  # the node on the predicted path ``[n]``; −1 for a right one, and for one that stops there

    @classmethod
    def of(cls, predicted: Tensor, target: Tensor, taxonomy: Taxonomy) -> Breaks:
        """From predicted and target paths ``[n, L]``; how partial labels are read says `judged_nodes`. O(n·L)."""
        _, predicted_node, true_node = judged_nodes(predicted, target, taxonomy)
        true_path, path = taxonomy.paths(true_node), taxonomy.paths(predicted_node)
        common = ((true_path >= 0) & (true_path == path)).sum(dim=1)
        wrong = common < (true_path >= 0).sum(dim=1)
        at = common.clamp_max(taxonomy.num_levels - 1)[:, None]
        children = (torch.where(wrong, each.gather(1, at)[:, 0], -1) for each in (true_path, path))
        return cls(taxonomy, true_path, common, wrong, *children)

    def on_paths(self, which: Tensor) -> Tensor:
        """``[N]`` how often each node is among some places of the true paths, ``[n, L]`` or ``[n, 1]`` bool."""
        return self.true_path[which & (self.true_path >= 0)].bincount(minlength=self.taxonomy.num_nodes)

    @cached_property
    def samples(self) -> Tensor:
        """``[N]`` samples whose true path holds each node."""
        return self.on_paths(self.true_path >= 0)

    @cached_property
    def right(self) -> Tensor:
        """``[N]`` samples whose true and predicted path both hold each node."""
        return self.on_paths(torch.arange(self.taxonomy.num_levels) < self.common[:, None])

    @cached_property
    def arrived(self) -> Tensor:
        """``[N]`` samples of a node whose predicted path comes to its parent: those it can be told from siblings on."""
        return self.on_paths(torch.arange(self.taxonomy.num_levels) <= self.common[:, None])

    @cached_property
    def whole(self) -> Tensor:
        """``[N]`` samples of each node whose path is right down to their label."""
        return self.on_paths(~self.wrong[:, None])

    @cached_property
    def by_depth(self) -> Tensor:
        """``[N, L]`` mistakes on samples of each node, by the depth of their LCA: 0 for nothing shared."""
        depths = [self.wrong & (self.common == depth) for depth in range(self.taxonomy.num_levels)]
        return torch.stack([self.on_paths(wrong[:, None]) for wrong in depths], dim=1)

    @property
    def depths(self) -> Tensor:
        """``[L]`` mistakes by the depth of their LCA."""
        return self.common[self.wrong].bincount(minlength=self.taxonomy.num_levels)

    @property
    def reached(self) -> Tensor:
        """``[N + 1]`` samples for which both paths come to a node and the true one goes on; last, the virtual root."""
        return self._of_children(self.arrived)

    @property
    def parted(self) -> Tensor:
        """``[N + 1]`` samples whose paths part at each node: it is their LCA. The last entry is the virtual root's."""
        return self._of_children(self.arrived - self.right)

    def _of_children(self, counts: Tensor) -> Tensor:
        """``[N + 1]`` sums of ``[N]`` counts over the children of each node; last, over the roots."""
        last = self.taxonomy.num_nodes
        parent = torch.where(self.taxonomy.parent < 0, last, self.taxonomy.parent)
        return counts.new_zeros(last + 1).index_add_(0, parent, counts)


class SiblingPair(NamedTuple):
    """Two siblings taken for each other: of a more samples are lost to b than of b to a.

    ``arrived`` counts samples of either whose predicted path came to the parent.
    """

    a: int
    b: int
    a_as_b: int
    b_as_a: int
    arrived: int

    @property
    def confused(self) -> int:
        """Samples of the one taken for the other."""
        return self.a_as_b + self.b_as_a


def sibling_pairs(breaks: Breaks) -> list[SiblingPair]:
    """Every pair of siblings with a mistake between them, most mistakes first, then by share and name order."""
    known, arrived = breaks.predicted_child >= 0, breaks.arrived.tolist()
    taken = torch.stack([breaks.true_child, breaks.predicted_child], dim=1)[known]
    cells, counts = taken.unique(dim=0, return_counts=True)
    lost = {(true, answer): n for (true, answer), n in zip(cells.tolist(), counts.tolist(), strict=True)}
    pairs = []
    for one, other in {(min(pair), max(pair)) for pair in lost}:
        forth, back = lost.get((one, other), 0), lost.get((other, one), 0)
        a, b = (one, other) if forth >= back else (other, one)
        pairs.append(SiblingPair(a, b, max(forth, back), min(forth, back), arrived[a] + arrived[b]))
    return sorted(pairs, key=lambda p: (-p.confused, -p.confused / p.arrived, p.a, p.b))
