"""How good predicted paths are: functional core in `functional`, `torchmetrics.Metric` classes around it.

The classes load on first use: torchmetrics takes seconds to import, and reports need the functions alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

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


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "collection" if name.endswith("_metrics") else "classes"
    return getattr(import_module(f"{__name__}.{home}"), name)
