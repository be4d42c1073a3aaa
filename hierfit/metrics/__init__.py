"""How good predicted paths are: functional core in `functional`, `torchmetrics.Metric` classes around it.

The classes load on first use: torchmetrics takes seconds to import, and reports need the functions alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hierfit.lazy import on_first_use

if TYPE_CHECKING:
    from hierfit.metrics.base import TreeMetric
    from hierfit.metrics.classes import (
        FullPathAccuracy,
        HierarchicalConsistentAccuracy,
        HierarchicalF1,
        HierarchicalPrecision,
        HierarchicalRecall,
        LeafAccuracy,
        LevelAccuracy,
        MeanTreecutAccuracy,
        MistakeSeverity,
        TreeDistance,
        TreeInconsistency,
        WeightedAveragePrecision,
    )
    from hierfit.metrics.collection import hierarchy_metrics, own_metrics, score_metrics

__all__ = [
    "FullPathAccuracy", "HierarchicalConsistentAccuracy", "HierarchicalF1", "HierarchicalPrecision",
    "HierarchicalRecall", "LeafAccuracy", "LevelAccuracy", "MeanTreecutAccuracy", "MistakeSeverity", "TreeDistance",
    "TreeInconsistency", "TreeMetric", "WeightedAveragePrecision", "hierarchy_metrics", "own_metrics",
    "score_metrics",
]  # fmt: skip

__getattr__ = on_first_use(
    __name__,
    {
        "base": "TreeMetric",
        "classes": " ".join(name for name in __all__ if name[0].isupper()),
        "collection": "hierarchy_metrics own_metrics score_metrics",
    },
)
