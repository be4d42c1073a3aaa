"""Every metric of a hierarchy at once."""

from __future__ import annotations

from typing import Any

from torchmetrics import Metric, MetricCollection

from hierfit.metrics.consistency import HierarchicalConsistentAccuracy, MeanTreecutAccuracy
from hierfit.metrics.nodes import LeafAccuracy, LevelAccuracy, WeightedAveragePrecision
from hierfit.metrics.overlap import (
    HierarchicalF1,
    HierarchicalPrecision,
    HierarchicalRecall,
    MistakeSeverity,
    TreeDistance,
)
from hierfit.metrics.whole_path import FullPathAccuracy, TreeInconsistency
from hierfit.taxonomy import Taxonomy

__all__ = [
    "FullPathAccuracy",
    "HierarchicalConsistentAccuracy",
    "HierarchicalF1",
    "HierarchicalPrecision",
    "HierarchicalRecall",
    "LeafAccuracy",
    "LevelAccuracy",
    "MeanTreecutAccuracy",
    "MistakeSeverity",
    "TreeDistance",
    "TreeInconsistency",
    "WeightedAveragePrecision",
    "hierarchy_metrics",
]


def hierarchy_metrics(taxonomy: Taxonomy, prefix: str = "", **options: Any) -> MetricCollection:
    """All path metrics, each a scalar under its own name, from four counts a batch.

    Call ``update(predicted [B, L], target [B, L])`` for each batch and ``compute()`` at the end of the epoch;
    ``forward`` works too but counts once for every metric.

    Args:
        taxonomy: The tree.
        prefix: Put before every name, for example ``val/``.
        **options: Of every `torchmetrics.Metric`: ``sync_on_compute=False`` counts this process's samples alone.

    Returns:
        Metrics named ``fpa``, ``tice``, ``accuracy/<level>``, ``leaf_accuracy``, ``leaf_accuracy_macro``,
        ``wap_accuracy``, ``wap_precision``, ``tree_distance``, ``mistake_severity``,
        ``hierarchical_precision``, ``hierarchical_recall``, ``hierarchical_f1``.

    Example:
        >>> import torch
        >>> from hierfit.taxonomy import Taxonomy
        >>> rows = [("bird", "hawk"), ("bird", "owl"), ("fish", "eel")]
        >>> tree = Taxonomy.from_paths(rows, levels=("class", "kind"))
        >>> metrics = hierarchy_metrics(tree, prefix="val/")
        >>> metrics.update(torch.tensor([[0, 2], [0, 3]]), torch.tensor([[0, 2], [0, 2]]))
        >>> for name, value in metrics.compute().items():
        ...     print(f"{name:26} {value:.3f}")
        val/accuracy/class         1.000
        val/accuracy/kind          0.500
        val/fpa                    0.500
        val/hierarchical_f1        0.750
        val/hierarchical_precision 0.750
        val/hierarchical_recall    0.750
        val/leaf_accuracy          0.500
        val/leaf_accuracy_macro    0.500
        val/mistake_severity       1.000
        val/tice                   0.000
        val/tree_distance          1.000
        val/wap_accuracy           0.700
        val/wap_precision          0.700
    """
    # Module names cannot hold dots; level names can.
    level_names = {level: level.replace(".", "_") for level in taxonomy.levels}
    nodes: dict[str, Metric] = {
        **{f"accuracy/{name}": LevelAccuracy(taxonomy, level, **options) for level, name in level_names.items()},
        "leaf_accuracy": LeafAccuracy(taxonomy, **options),
        "leaf_accuracy_macro": LeafAccuracy(taxonomy, average="macro", **options),
        "wap_accuracy": WeightedAveragePrecision(taxonomy, convention="accuracy", **options),
        "wap_precision": WeightedAveragePrecision(taxonomy, convention="precision", **options),
    }
    overlap: dict[str, Metric] = {
        "tree_distance": TreeDistance(taxonomy, **options),
        "mistake_severity": MistakeSeverity(taxonomy, **options),
        "hierarchical_precision": HierarchicalPrecision(taxonomy, **options),
        "hierarchical_recall": HierarchicalRecall(taxonomy, **options),
        "hierarchical_f1": HierarchicalF1(taxonomy, **options),
    }
    whole = {"fpa": FullPathAccuracy(taxonomy, **options), "tice": TreeInconsistency(taxonomy, **options)}
    return MetricCollection(
        {**whole, **nodes, **overlap},
        prefix=prefix,
        # Stated, not found by comparing values: no rank and no unlucky first batch can group otherwise.
        compute_groups=[["fpa"], ["tice"], list(nodes), list(overlap)],
    )
