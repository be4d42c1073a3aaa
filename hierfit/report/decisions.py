"""What a run decides about each test image; where its paths leave the true ones: at which node, for which child."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from hierfit.decoding import belief, leaf_rollup
from hierfit.metrics.functional import judged_nodes
from hierfit.metrics.served import Served, serve
from hierfit.results.logits import TestLogits
from hierfit.taxonomy import Taxonomy


@dataclass(frozen=True)
class Decisions:
    """What remains of test logits once they are read: O(n·L) numbers, however many nodes there are."""

    taxonomy: Taxonomy  # the run's tree
    target: Tensor  # true node ids ``[n, L]``, −1 where unknown or ended
    best_leaf: Tensor  # path of the leaf with the best logit ``[n, L]``
    decoded: Tensor  # path of the most probable leaf by the belief ``[n, L]``
    sure: Tensor  # probability of each node of ``decoded`` by the belief ``[n, L]``; 0 past the leaf
    truth: Tensor  # the same of the nodes of ``target``
    served: Served  # the belief's descent and its probabilities
    indices: list[int]  # row of each sample in the test split

    @classmethod
    def of(cls, logits: TestLogits) -> Decisions:
        """In one pass: O(n·N) time, memory of one batch; raises `UserError` where logits hold NaN or +inf."""
        tree, calibration = logits.taxonomy, logits.calibration
        none = torch.zeros(0, tree.num_levels, dtype=torch.long)
        best, decoded, sure, truth = [none], [none], [none.float()], [none.float()]

        def batches() -> Iterable[tuple[Tensor, Tensor]]:
            for batch, target in logits.batches():
                nodes = belief(batch, tree, calibration).nodes
                best.append(leaf_rollup(batch, tree))
                decoded.append(leaf_rollup(nodes, tree))
                for found, path in ((sure, decoded[-1]), (truth, target)):
                    found.append(nodes.gather(1, path.clamp_min(0)).masked_fill(path < 0, 0))
                yield batch, target

        served = serve(batches(), tree, calibration)
        of_best, path, of_path, of_truth = (torch.cat(each) for each in (best, decoded, sure, truth))
        return cls(tree, served.target, of_best, path, of_path, of_truth, served, logits.indices.tolist())


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
        """From predicted and target paths ``[n, L]``; how partial labels are read says `path_overlap`. O(n·L)."""
        _, predicted_node, true_node = judged_nodes(predicted, target, taxonomy)
        true_path, path = taxonomy.paths(true_node), taxonomy.paths(predicted_node)
        common = ((true_path >= 0) & (true_path == path)).sum(dim=1)
        wrong = common < (true_path >= 0).sum(dim=1)
        at = common.clamp_max(taxonomy.num_levels - 1)[:, None]
        return cls(
            taxonomy,
            true_path,
            common,
            wrong,
            torch.where(wrong, true_path.gather(1, at)[:, 0], -1),
            torch.where(wrong, path.gather(1, at)[:, 0], -1),
        )

    @cached_property
    def parted(self) -> Tensor:
        """``[N + 1]`` samples whose paths part at each node: it is their LCA. The last entry is the virtual root's."""
        return _count(self.taxonomy.parent[self.true_child[self.wrong]], self.taxonomy.num_nodes + 1)

    @cached_property
    def reached(self) -> Tensor:
        """``[N + 1]`` samples for which both paths come to a node and the true one goes on; last, the virtual root."""
        arrived = self.arrived
        counts = torch.zeros(self.taxonomy.num_nodes + 1, dtype=torch.int64)
        return counts.index_add_(0, _wrapped(self.taxonomy.parent, len(counts)), arrived)

    @cached_property
    def arrived(self) -> Tensor:
        """``[N]`` samples of a node whose predicted path comes to its parent: those it can be told from siblings on."""
        column = torch.arange(self.taxonomy.num_levels)
        nodes = self.true_path[(self.true_path >= 0) & (column <= self.common[:, None])]
        return _count(nodes, self.taxonomy.num_nodes)

    @cached_property
    def samples(self) -> Tensor:
        """``[N]`` samples whose true path holds each node."""
        return _count(self.true_path[self.true_path >= 0], self.taxonomy.num_nodes)

    @cached_property
    def right(self) -> Tensor:
        """``[N]`` samples whose true and predicted path both hold each node."""
        column = torch.arange(self.taxonomy.num_levels)
        return _count(self.true_path[(self.true_path >= 0) & (column < self.common[:, None])], self.taxonomy.num_nodes)

    @cached_property
    def whole(self) -> Tensor:
        """``[N]`` samples of each node whose path is right down to their label."""
        path = self.true_path[~self.wrong]
        return _count(path[path >= 0], self.taxonomy.num_nodes)

    @cached_property
    def by_depth(self) -> Tensor:
        """``[N, L]`` mistakes on samples of each node, by the depth of their LCA: 0 for nothing shared."""
        levels = self.taxonomy.num_levels
        path = self.true_path[self.wrong]
        cell = path * levels + self.common[self.wrong][:, None]
        return _count(cell[path >= 0], self.taxonomy.num_nodes * levels).view(-1, levels)

    @cached_property
    def depths(self) -> Tensor:
        """``[L]`` mistakes by the depth of their LCA."""
        return self.common[self.wrong].bincount(minlength=self.taxonomy.num_levels)


@dataclass(frozen=True)
class Pair:
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


def sibling_pairs(breaks: Breaks) -> list[Pair]:
    """Every pair of siblings with a mistake between them, most mistakes first, then by share and name order."""
    nodes = breaks.taxonomy.num_nodes
    known = breaks.predicted_child >= 0
    cells, counts = (breaks.true_child[known] * nodes + breaks.predicted_child[known]).unique(return_counts=True)
    lost = {(cell // nodes, cell % nodes): count for cell, count in zip(cells.tolist(), counts.tolist(), strict=True)}
    pairs = []
    for one, other in {(min(pair), max(pair)) for pair in lost}:
        forth, back = lost.get((one, other), 0), lost.get((other, one), 0)
        a, b = (one, other) if forth >= back else (other, one)
        arrived = int(breaks.arrived[a] + breaks.arrived[b])
        pairs.append(Pair(a, b, max(forth, back), min(forth, back), arrived))
    return sorted(pairs, key=lambda p: (-p.confused, -p.confused / p.arrived, p.a, p.b))


def _count(nodes: Tensor, length: int) -> Tensor:
    """How often each id occurs; −1 counts for the last."""
    return _wrapped(nodes, length).bincount(minlength=length)


def _wrapped(nodes: Tensor, length: int) -> Tensor:
    return torch.where(nodes < 0, length - 1, nodes)
