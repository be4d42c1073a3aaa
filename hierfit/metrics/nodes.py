"""Metrics that follow from how often each node of each level's cut was right, predicted and true."""

from __future__ import annotations

from typing import Any, Literal, get_args

from torch import Tensor

from hierfit.errors import UserError
from hierfit.metrics.base import PathMetric
from hierfit.metrics.cuts import (
    CutTally,
    cut_accuracy,
    cut_macro_precision,
    cut_tally,
    leaf_accuracy,
    level_accuracy,
    size_weighted_mean,
)
from hierfit.taxonomy import Taxonomy

Average = Literal["micro", "macro"]
Convention = Literal["accuracy", "precision"]


class NodeMetric(PathMetric):
    """Counts for each node of each cut over the samples known there: three int64 vectors [M], see `cut_tally`."""

    higher_is_better = True
    node_right: Tensor
    node_predicted: Tensor
    node_labelled: Tensor

    def tally(self, predicted: Tensor, target: Tensor) -> dict[str, Tensor]:
        counts = cut_tally(predicted, target, self.taxonomy)
        return {f"node_{name}": count for name, count in counts._asdict().items()}

    @property
    def nodes(self) -> CutTally:
        """The counts so far."""
        return CutTally(self.node_right, self.node_predicted, self.node_labelled)


class LevelAccuracy(NodeMetric):
    """Accuracy at each level, over the samples labelled there: a label that ended above takes no part.

    Shapes: ``update([B, L], [B, L])``; ``compute()`` is [L], or a scalar if ``level`` is given;
    in [0, 1], NaN for a level without labels.

    Args:
        taxonomy: The tree.
        level: Name of the one level wanted; all levels if None.
        **kwargs: Of `torchmetrics.Metric`.

    Raises:
        UserError: ``level`` is not a level of the tree.

    Example:
        >>> import torch
        >>> from hierfit.taxonomy import Taxonomy
        >>> rows = [("bird", "hawk"), ("bird", "owl"), ("fish", "eel")]
        >>> tree = Taxonomy.from_paths(rows, levels=("class", "kind"))
        >>> predicted = torch.tensor([[0, 2], [0, 2], [1, 4], [1, 4]])
        >>> target = torch.tensor([[0, 2], [0, 3], [0, -1], [1, 4]])
        >>> LevelAccuracy(tree)(predicted, target)
        tensor([0.7500, 0.6667])
        >>> LevelAccuracy(tree, level="class")(predicted, target)
        tensor(0.7500)
    """

    def __init__(self, taxonomy: Taxonomy, level: str | None = None, **kwargs: Any) -> None:
        super().__init__(taxonomy, **kwargs)
        if level is not None and level not in taxonomy.levels:
            raise UserError(f"no level {level!r}", hint=f"Choose one of: {', '.join(taxonomy.levels)}.")
        self.level = level

    def compute(self) -> Tensor:
        accuracy = level_accuracy(self.nodes, self.taxonomy)
        return accuracy if self.level is None else accuracy[self.taxonomy.levels.index(self.level)]


class LeafAccuracy(NodeMetric):
    """Accuracy at the leaf, over the samples whose label reaches one.

    The prediction is the leaf it ends at, on whatever level; one that stops above the leaves is wrong. So for a
    decoder that takes the best of all leaves this is the accuracy of the best leaf, and for per-level argmax too: the
    last cut holds all leaves. ``micro`` weighs samples alike; ``macro`` weighs the leaves that occur alike (mean
    per-class recall).

    Shapes: ``update([B, L], [B, L])``; ``compute()`` is a scalar in [0, 1], NaN without samples.

    Args:
        taxonomy: The tree.
        average: ``micro`` or ``macro``.
        **kwargs: Of `torchmetrics.Metric`.

    Raises:
        UserError: Unknown ``average``.

    Example:
        >>> import torch
        >>> from hierfit.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_paths([("bird", "hawk"), ("bird", "owl"), ("fish", "eel")])
        >>> predicted = torch.tensor([[0, 2], [0, 2], [0, 2], [1, 4]])
        >>> target = torch.tensor([[0, 2], [0, 2], [0, 3], [0, -1]])
        >>> LeafAccuracy(tree)(predicted, target)
        tensor(0.6667)
        >>> LeafAccuracy(tree, average="macro")(predicted, target)
        tensor(0.5000)
    """

    def __init__(self, taxonomy: Taxonomy, average: Average = "micro", **kwargs: Any) -> None:
        super().__init__(taxonomy, **kwargs)
        self.average = _one_of(average, Average, "average")

    def compute(self) -> Tensor:
        return leaf_accuracy(self.nodes, self.taxonomy, self.average)


class WeightedAveragePrecision(NodeMetric):
    """wAP: a score of each level, averaged with weights proportional to the number of nodes of the level's cut.

    Each level is one flat classifier over its cut: a sample whose label ended above is judged there by its leaf, and
    that leaf counts among the C_l nodes. On even trees the cut is the level.

    Two conventions go by this name: Σ_l (C_l/ΣC)·accuracy_l (``accuracy``, H-CAST), and the same weights on
    macro precision (``precision``, Intel's OTX), where a node that is true but never predicted counts 0 and a
    node that is neither is left out. Levels without labels are left out, and the weights renormalised.

    Shapes: ``update([B, L], [B, L])``; ``compute()`` is a scalar in [0, 1], NaN without samples.

    Args:
        taxonomy: The tree.
        convention: ``accuracy`` or ``precision``.
        **kwargs: Of `torchmetrics.Metric`.

    Raises:
        UserError: Unknown ``convention``.

    Example:
        >>> import torch
        >>> from hierfit.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_paths([("bird", "hawk"), ("bird", "owl"), ("fish", "eel")])
        >>> predicted = torch.tensor([[0, 2], [0, 2], [1, 4], [1, 4]])
        >>> target = torch.tensor([[0, 2], [0, 3], [0, 3], [1, 4]])
        >>> WeightedAveragePrecision(tree)(predicted, target)  # 2/5 · 3/4 + 3/5 · 2/4
        tensor(0.6000)
        >>> WeightedAveragePrecision(tree, "precision")(predicted, target)  # 2/5 · 3/4 + 3/5 · 1/3
        tensor(0.5000)
    """

    def __init__(self, taxonomy: Taxonomy, convention: Convention = "accuracy", **kwargs: Any) -> None:
        super().__init__(taxonomy, **kwargs)
        self.convention = _one_of(convention, Convention, "convention")

    def compute(self) -> Tensor:
        per_level = cut_accuracy if self.convention == "accuracy" else cut_macro_precision
        return size_weighted_mean(per_level(self.nodes, self.taxonomy), self.taxonomy)


def _one_of(value: Any, choices: Any, key: str) -> Any:
    if value not in get_args(choices):
        raise UserError(f"{key} is {value!r}", hint=f"Choose one of: {', '.join(get_args(choices))}.")
    return value
