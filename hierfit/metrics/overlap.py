"""Metrics that follow from what the predicted nodes and the true path have in common.

Distance and severity take the deepest predicted node for the prediction: with P and T the lengths of the two paths and
C that of their common part, it lies P + T − 2C edges from the truth, and their lowest common ancestor T − C levels
above it. Precision and recall take all predicted nodes, with their ancestors. Sums over samples are all that is kept.
`compared_nodes` says how partial labels are read.
"""

from __future__ import annotations

from torch import Tensor

from hierfit.metrics.base import PathMetric
from hierfit.metrics.functional import labelled, path_overlap, set_overlap


class OverlapMetric(PathMetric):
    """Sums over samples of path lengths, sizes of sets and what is common to both sides; int64 scalars."""

    overlap_samples: Tensor
    overlap_mistakes: Tensor
    overlap_common: Tensor
    overlap_predicted: Tensor
    overlap_target: Tensor
    overlap_sets_common: Tensor
    overlap_sets_predicted: Tensor

    def tally(self, predicted: Tensor, target: Tensor) -> dict[str, Tensor]:
        paths = path_overlap(predicted, target, self.taxonomy)
        sets = set_overlap(predicted, target, self.taxonomy)
        return {
            "overlap_samples": labelled(target).sum(),
            "overlap_mistakes": (paths.common < paths.target).sum(),
            "overlap_common": paths.common.sum(),
            "overlap_predicted": paths.predicted.sum(),
            "overlap_target": paths.target.sum(),
            "overlap_sets_common": sets.common.sum(),
            "overlap_sets_predicted": sets.predicted.sum(),
        }


class TreeDistance(OverlapMetric):
    """Mean number of tree edges between the predicted and the true node, over all samples.

    The predicted node is the deepest one named, whatever the levels above say. Roots hang on a virtual root, so a wrong
    leaf under a wrong root of an even tree costs 2L.

    Shapes: ``update([B, L], [B, L])``; ``compute()`` is a scalar in edges, NaN without samples.

    Example:
        >>> import torch
        >>> from hierfit.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_paths([("bird", "hawk"), ("bird", "owl"), ("fish", "eel")])
        >>> target = torch.tensor([[0, 2], [0, 2], [0, 2]])
        >>> predicted = torch.tensor([[0, 2], [0, 3], [1, 4]])  # itself, its sibling, across the root
        >>> TreeDistance(tree)(predicted, target)  # (0 + 2 + 4) / 3
        tensor(2.)
    """

    higher_is_better = False

    def compute(self) -> Tensor:
        return (self.overlap_predicted + self.overlap_target - 2 * self.overlap_common) / self.overlap_samples


class MistakeSeverity(OverlapMetric):
    """Mean height of the lowest common ancestor (LCA) above the true node, over wrong samples only.

    In levels: 1 when prediction and truth share the parent, up to the length of the true path when they share
    nothing (the virtual root). A mean over mistakes can rise as mistakes get fewer: read it beside accuracy.

    Source: Bertinetto et al., CVPR 2020 ("Making better mistakes"), who measure from the LCA to its deepest
    leaf; on even trees the two heights are equal.

    Shapes: ``update([B, L], [B, L])``; ``compute()`` is a scalar in levels, NaN if none is wrong.

    Example:
        >>> import torch
        >>> from hierfit.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_paths([("bird", "hawk"), ("bird", "owl"), ("fish", "eel")])
        >>> target = torch.tensor([[0, 2], [0, 2], [0, 2]])
        >>> predicted = torch.tensor([[0, 2], [0, 3], [1, 4]])
        >>> MistakeSeverity(tree)(predicted, target)  # (1 + 2) / 2
        tensor(1.5000)
    """

    higher_is_better = False

    def compute(self) -> Tensor:
        return (self.overlap_target - self.overlap_common) / self.overlap_mistakes


class HierarchicalPrecision(OverlapMetric):
    """Share of the predicted nodes that are on the true path; the set holds every node named, with its ancestors.

    Where the levels of a prediction disagree, each branch it names is paid for.

    Source: Kiritchenko et al., Canadian AI 2006 (hP = Σ|P̂ ∩ T̂| / Σ|P̂|).

    Shapes: ``update([B, L], [B, L])``; ``compute()`` is a scalar in [0, 1], NaN if nothing was
    predicted.

    Example:
        >>> import torch
        >>> from hierfit.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_paths([("bird", "hawk"), ("bird", "owl"), ("fish", "eel")])
        >>> predicted = torch.tensor([[0, -1], [0, 3]])  # bird; bird/owl
        >>> target = torch.tensor([[0, 2], [0, 2]])
        >>> HierarchicalPrecision(tree)(predicted, target)  # (1 + 1) / (1 + 2)
        tensor(0.6667)
    """

    higher_is_better = True

    def compute(self) -> Tensor:
        return self.overlap_sets_common / self.overlap_sets_predicted


class HierarchicalRecall(OverlapMetric):
    """Share of the true nodes, each label with its ancestors, that are among the predicted nodes and their ancestors.

    Source: Kiritchenko et al., Canadian AI 2006 (hR = Σ|P̂ ∩ T̂| / Σ|T̂|).

    Shapes: ``update([B, L], [B, L])``; ``compute()`` is a scalar in [0, 1], NaN without samples.

    Example:
        >>> import torch
        >>> from hierfit.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_paths([("bird", "hawk"), ("bird", "owl"), ("fish", "eel")])
        >>> predicted = torch.tensor([[0, -1], [0, 3]])  # bird; bird/owl
        >>> target = torch.tensor([[0, 2], [0, 2]])
        >>> HierarchicalRecall(tree)(predicted, target)  # (1 + 1) / (2 + 2)
        tensor(0.5000)
    """

    higher_is_better = True

    def compute(self) -> Tensor:
        return self.overlap_sets_common / self.overlap_target


class HierarchicalF1(OverlapMetric):
    """Harmonic mean of hierarchical precision and recall.

    Source: Kiritchenko et al., Canadian AI 2006.

    Shapes: ``update([B, L], [B, L])``; ``compute()`` is a scalar in [0, 1], NaN without samples.

    Example:
        >>> import torch
        >>> from hierfit.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_paths([("bird", "hawk"), ("bird", "owl"), ("fish", "eel")])
        >>> predicted = torch.tensor([[0, -1], [0, 3]])  # bird; bird/owl
        >>> target = torch.tensor([[0, 2], [0, 2]])
        >>> HierarchicalF1(tree)(predicted, target)  # 2 · (1 + 1) / (3 + 4)
        tensor(0.5714)
    """

    higher_is_better = True

    def compute(self) -> Tensor:
        return 2 * self.overlap_sets_common / (self.overlap_sets_predicted + self.overlap_target)
