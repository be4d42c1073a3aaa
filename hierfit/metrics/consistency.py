"""Do a model's scores hold together over the tree: HCA and MTA (ProTeCt, Wu et al., CVPR 2024), from logits.

Both ask more than the best leaf: HCA for every choice among siblings on the way to it, MTA for label sets that mix
levels. They read the scores of inner nodes as they are, so they mean something only where an objective trained those.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hierfit.metrics.base import TreeMetric, check_paths
from hierfit.taxonomy import Taxonomy

_CLOSED = (0.1, 0.3, 0.5, 0.7, 0.9)


def consistent_right(logits: Tensor, target: Tensor, taxonomy: Taxonomy) -> Tensor:
    """[B] bool: the leaf is right among all leaves, and each node of its path best among its siblings.

    Roots are siblings of each other. False where the label is no leaf; of equal scores the first node counts. O(B·N).
    """
    leaf = taxonomy.padded(target)[:, -1]
    family = (taxonomy.parent + 1).expand_as(logits)
    best = logits.new_full(logits.shape, -torch.inf).scatter_reduce_(1, family, logits, "amax")
    nodes = torch.arange(taxonomy.num_nodes, device=logits.device)
    rivals = torch.where(logits == best.gather(1, family), nodes, taxonomy.num_nodes)
    first = torch.full_like(rivals, taxonomy.num_nodes).scatter_reduce_(1, family, rivals, "amin")
    path = taxonomy.paths(leaf)
    chosen = first.gather(1, taxonomy.parent[path] + 1)
    best_leaf = taxonomy.leaves[logits.index_select(1, taxonomy.leaves).argmax(dim=1)]
    return ((chosen == path) | (path < 0)).all(dim=1) & (best_leaf == leaf)


def random_cuts(taxonomy: Taxonomy, count: int = 25, seed: int = 0) -> Tensor:
    """[count, N] bool: random cuts through the tree; every leaf lies at or below exactly one node of each.

    Top down: the virtual root is open; a node whose parent is open is, unless it is a leaf, opened with probability
    1 − p, and otherwise stands in the cut for all below it. p is 0.1, 0.3, 0.5, 0.7 and 0.9 in turn, as in ProTeCt's
    code; unlike there, cuts may repeat, which on small trees they must. The same on every device.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    inner, parent = taxonomy.num_children.cpu() > 0, taxonomy.parent.cpu()
    p = torch.tensor(_CLOSED, device="cpu").repeat(-(-count // len(_CLOSED)))[:count, None]
    opened = (torch.rand(count, taxonomy.num_nodes, generator=generator, device="cpu") >= p) & inner
    reached = torch.ones_like(opened)
    for level in taxonomy.level_slices[1:]:
        reached[:, level] = opened[:, parent[level]]
        opened[:, level] &= reached[:, level]
    return (reached & ~opened).to(taxonomy.parent.device)


def treecut_right(logits: Tensor, target: Tensor, taxonomy: Taxonomy, cuts: Tensor) -> tuple[Tensor, Tensor]:
    """How often the best node of each cut is the true one.

    Args:
        logits: ``[B, N]``.
        target: ``[B, L]``, −1 where unknown or ended. Counted at a cut are the samples of which a labelled node stands
            in it: a coarse label has none in cuts that run below it.
        taxonomy: The tree.
        cuts: ``[K, N]`` bool, see `random_cuts`.

    Returns:
        ``[K]`` right and ``[K]`` counted samples, int64. O(B·K·N).
    """
    right, counted = [], []
    for cut in cuts:
        nodes = cut.nonzero()[:, 0]
        best = nodes[logits.index_select(1, nodes).argmax(dim=1)]
        labels = (target >= 0) & cut[target]
        right.append((labels & (target == best[:, None])).any(dim=1).sum())
        counted.append(labels.any(dim=1).sum())
    return torch.stack(right), torch.stack(counted)


class LogitMetric(TreeMetric):
    """A metric of logits [B, N] against target paths [B, L]."""

    higher_is_better = True

    def no_predictions(self) -> Tensor:
        """[0, N]."""
        return torch.empty(0, self.taxonomy.num_nodes, device=self.taxonomy.parent.device)

    def check(self, predicted: Tensor, target: Tensor) -> None:
        """Refuse logits that are not ``[B, N]`` numbers, and targets that are no paths."""
        check_paths(target, target, self.taxonomy)
        if predicted.shape != (len(target), self.taxonomy.num_nodes):
            expected = [len(target), self.taxonomy.num_nodes]
            raise ValueError(f"logits are {list(predicted.shape)}; expected {expected}, one for each node")
        if predicted.isnan().any():
            raise ValueError("logits hold NaN")


class HierarchicalConsistentAccuracy(LogitMetric):
    """HCA: share of samples with the leaf right among all leaves, and every ancestor-or-self right among its siblings.

    At most the leaf accuracy, and at most the accuracy of greedy descent.

    Source: ProTeCt (Wu et al., CVPR 2024).

    Shapes: ``update([B, N], [B, L])``; ``compute()`` is a scalar in [0, 1] over the samples labelled with a leaf, NaN
    without any.

    Example:
        >>> import torch
        >>> from hierfit.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_paths([("bird", "hawk"), ("bird", "owl"), ("fish", "eel")])
        >>> logits = torch.tensor([[2.0, 1.0, 9.0, 0.0, 0.0], [1.0, 2.0, 9.0, 0.0, 0.0]])  # the second says fish
        >>> HierarchicalConsistentAccuracy(tree)(logits, torch.tensor([[0, 2], [0, 2]]))
        tensor(0.5000)
    """

    hca_right: Tensor
    hca_samples: Tensor

    def tally(self, predicted: Tensor, target: Tensor) -> dict[str, Tensor]:
        right = consistent_right(predicted, target, self.taxonomy)
        return {"hca_right": right.sum(), "hca_samples": (self.taxonomy.padded(target)[:, -1] >= 0).sum()}

    def compute(self) -> Tensor:
        return self.hca_right / self.hca_samples


class MeanTreecutAccuracy(LogitMetric):
    """MTA: top-1 accuracy among the nodes of a random cut through the tree, mean over cuts.

    Source: ProTeCt (Wu et al., CVPR 2024), which takes 25 cuts.

    Shapes: ``update([B, N], [B, L])``; ``compute()`` is a scalar in [0, 1], over the cuts that hold labelled nodes,
    NaN without any.

    Args:
        taxonomy: The tree.
        cuts: How many, see `random_cuts`.
        seed: Of the cuts.
        **kwargs: Of `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> from hierfit.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_paths([("bird", "hawk"), ("bird", "owl"), ("fish", "eel")])
        >>> logits = torch.tensor([[5.0, 1.0, 4.0, 0.0, 2.0], [1.0, 2.0, 0.0, 3.0, 0.0]])
        >>> accuracy = MeanTreecutAccuracy(tree)(logits, torch.tensor([[0, 2], [0, 3]]))  # the second: owl, but fish
        >>> bool(0.5 < accuracy < 1)
        True
    """

    mta_right: Tensor
    mta_samples: Tensor

    def __init__(self, taxonomy: Taxonomy, cuts: int = 25, seed: int = 0, **kwargs: Any) -> None:
        self._drawn = random_cuts(taxonomy, cuts, seed)
        super().__init__(taxonomy, **kwargs)

    def tally(self, predicted: Tensor, target: Tensor) -> dict[str, Tensor]:
        self._drawn = self._drawn.to(target.device)
        right, samples = treecut_right(predicted, target, self.taxonomy, self._drawn)
        return {"mta_right": right, "mta_samples": samples}

    def compute(self) -> Tensor:
        return (self.mta_right / self.mta_samples).nanmean()
