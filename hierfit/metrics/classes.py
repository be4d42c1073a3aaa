"""The metrics as `torchmetrics.Metric` classes: what is read off the sums of a function's counts.

>>> import torch
>>> from hierfit.taxonomy import Taxonomy
>>> tree = Taxonomy.from_paths([("bird", "hawk"), ("bird", "owl"), ("fish", "eel")], levels=("class", "kind"))
>>> predicted = torch.tensor([[0, 2], [0, 2], [1, 4], [1, 4]])  # bird/hawk twice, fish/eel twice
>>> target = torch.tensor([[0, 2], [0, 3], [0, -1], [1, 4]])  # bird/hawk, bird/owl, a bird, fish/eel
>>> FullPathAccuracy(tree)(predicted, target)
tensor(0.5000)
>>> LevelAccuracy(tree)(predicted, target)
tensor([0.7500, 0.6667])
>>> TreeDistance(tree)(predicted, target)  # edges: owl is 2 from hawk, a bird 2 from a fish
tensor(1.)
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from torch import Tensor

from hierfit.errors import UserError
from hierfit.metrics import functional
from hierfit.metrics.base import TreeMetric
from hierfit.metrics.consistency import consistent_leaves, random_cuts, treecut_right
from hierfit.taxonomy import Taxonomy

Average = Literal["micro", "macro"]
Convention = Literal["accuracy", "precision"]


class ShareMetric(TreeMetric):
    """A share of samples."""

    def compute(self) -> Tensor:
        return self.counts.hits / self.counts.samples


class FullPathAccuracy(ShareMetric):
    """Full path accuracy (FPA): share of samples with every labelled level right.

    With partial labels a sample is held only to the levels it has; a label that ends at a leaf has all. Where all
    levels are labelled, FPA is at most the accuracy of the worst level.

    Source: H-CAST (Park et al., ICLR 2025); Li et al., arXiv 2512.21529.
    """

    function = functional.whole_paths


class TreeInconsistency(ShareMetric):
    """Tree inconsistency error (TICE): share of predictions that are no path of the tree, right or wrong.

    Zero for every decoder that walks the tree, and for a constant prediction: read it beside FPA, and on
    per-level argmax. What counts as a path is said in `hierfit.metrics.functional.is_tree_path`.

    Source: H-CAST (Park et al., ICLR 2025); Li et al., arXiv 2512.21529.
    """

    function = functional.broken_paths
    higher_is_better = False


class LevelAccuracy(TreeMetric):
    """Accuracy at each level, over the samples labelled there: a label that ended above takes no part.

    ``compute()`` is [L], or a scalar if ``level`` is given; NaN for a level without labels.

    Args:
        taxonomy: The tree.
        level: Name of the one level wanted; all levels if None. A UserError if the tree has none of this name.
        **kwargs: Of `torchmetrics.Metric`.
    """

    function = functional.cut_tally

    def __init__(self, taxonomy: Taxonomy, level: str | None = None, **kwargs: Any) -> None:
        super().__init__(taxonomy, **kwargs)
        self.level = None if level is None else taxonomy.levels.index(_one_of(level, taxonomy.levels, "level"))

    def compute(self) -> Tensor:
        accuracy = functional.level_accuracy(self.counts, self.taxonomy)
        return accuracy if self.level is None else accuracy[self.level]


class LeafAccuracy(TreeMetric):
    """Accuracy at the leaf, over the samples whose label reaches one.

    The prediction is the leaf it ends at, on whatever level; one that stops above the leaves is wrong. So for a
    decoder that takes the best of all leaves this is the accuracy of the best leaf, and for per-level argmax too: the
    last cut holds all leaves.

    Args:
        taxonomy: The tree.
        average: ``micro`` weighs samples alike; ``macro`` the leaves that occur (mean per-class recall).
        **kwargs: Of `torchmetrics.Metric`.
    """

    function = functional.cut_tally

    def __init__(self, taxonomy: Taxonomy, average: Average = "micro", **kwargs: Any) -> None:
        super().__init__(taxonomy, **kwargs)
        self.average = _one_of(average, get_args(Average), "average")

    def compute(self) -> Tensor:
        return functional.leaf_accuracy(self.counts, self.taxonomy, self.average)


class WeightedAveragePrecision(TreeMetric):
    """wAP: a score of each level, averaged with weights proportional to the number of nodes of the level's cut.

    Each level is one flat classifier over its cut: a sample whose label ended above is judged there by its leaf, and
    that leaf counts among the C_l nodes. On even trees the cut is the level.

    Two conventions go by this name: Σ_l (C_l/ΣC)·accuracy_l (``accuracy``, H-CAST), and the same weights on
    macro precision (``precision``, Intel's OTX), where a node that is true but never predicted counts 0 and a
    node that is neither is left out. Levels without labels are left out, and the weights renormalised.

    Args:
        taxonomy: The tree.
        convention: ``accuracy`` or ``precision``.
        **kwargs: Of `torchmetrics.Metric`.
    """

    function = functional.cut_tally

    def __init__(self, taxonomy: Taxonomy, convention: Convention = "accuracy", **kwargs: Any) -> None:
        super().__init__(taxonomy, **kwargs)
        self.convention = _one_of(convention, get_args(Convention), "convention")

    def compute(self) -> Tensor:
        of_levels = functional.cut_accuracy if self.convention == "accuracy" else functional.cut_macro_precision
        return functional.size_weighted_mean(of_levels(self.counts, self.taxonomy), self.taxonomy)


def _one_of(value: str, choices: tuple[str, ...], key: str) -> str:
    if value not in choices:
        raise UserError(f"there is no {key} {value!r}", hint=f"Choose one of: {', '.join(choices)}.")
    return value


class TreeDistance(TreeMetric):
    """Mean number of tree edges between the predicted and the true node, over all samples.

    The predicted node is the deepest one named, whatever the levels above say. Roots hang on a virtual root, so a wrong
    leaf under a wrong root of an even tree costs 2L.
    """

    function = functional.overlap_tally
    higher_is_better = False

    def compute(self) -> Tensor:
        counts = self.counts
        return (counts.predicted + counts.target - 2 * counts.common) / counts.samples


class MistakeSeverity(TreeMetric):
    """Mean height of the lowest common ancestor (LCA) above the true node, over wrong samples only.

    In levels: 1 when prediction and truth share the parent, up to the length of the true path when they share
    nothing (the virtual root). A mean over mistakes can rise as mistakes get fewer: read it beside accuracy.

    Source: Bertinetto et al., CVPR 2020 ("Making better mistakes"), who measure from the LCA to its deepest
    leaf; on even trees the two heights are equal.
    """

    function = functional.overlap_tally
    higher_is_better = False

    def compute(self) -> Tensor:
        return (self.counts.target - self.counts.common) / self.counts.mistakes


class HierarchicalPrecision(TreeMetric):
    """hP = Σ|P̂ ∩ T̂| / Σ|P̂|: share of the predicted nodes, with their ancestors, that are on the true path.

    Where the levels of a prediction disagree, each branch it names is paid for.

    Source: Kiritchenko et al., Canadian AI 2006.
    """

    function = functional.overlap_tally

    def compute(self) -> Tensor:
        return self.counts.sets_common / self.counts.sets_predicted


class HierarchicalRecall(TreeMetric):
    """hR = Σ|P̂ ∩ T̂| / Σ|T̂|: share of the true nodes, each label with its ancestors, among those predicted."""

    function = functional.overlap_tally

    def compute(self) -> Tensor:
        return self.counts.sets_common / self.counts.target


class HierarchicalF1(TreeMetric):
    """Harmonic mean of hierarchical precision and recall (Kiritchenko et al., Canadian AI 2006)."""

    function = functional.overlap_tally

    def compute(self) -> Tensor:
        return 2 * self.counts.sets_common / (self.counts.sets_predicted + self.counts.target)


class HierarchicalConsistentAccuracy(ShareMetric):
    """HCA: share of samples with the leaf right among all leaves, and every ancestor-or-self right among its siblings.

    Over the samples labelled with a leaf. At most the leaf accuracy, and at most the accuracy of greedy descent.

    Source: ProTeCt (Wu et al., CVPR 2024).
    """

    function = consistent_leaves
    reads = "logits"


class MeanTreecutAccuracy(TreeMetric):
    """MTA: top-1 accuracy among the nodes of a random cut through the tree, mean over cuts that hold labelled nodes.

    Source: ProTeCt (Wu et al., CVPR 2024), which takes 25 cuts.

    Args:
        taxonomy: The tree.
        cuts: How many, see `random_cuts`.
        seed: Of the cuts.
        **kwargs: Of `torchmetrics.Metric`.
    """

    reads = "logits"
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
