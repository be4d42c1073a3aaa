"""How good predicted paths are: functional core in `functional`, `torchmetrics.Metric` classes around it.

The classes load on first use: torchmetrics takes seconds to import, and reports need the functions alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hierfit.metrics.collection import hierarchy_metrics
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


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # The collection's module imports every class.
    return getattr(import_module("hierfit.metrics.collection"), name)
