"""All metrics at once: of decoded paths, and of the scores themselves; one's own among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from torchmetrics import MetricCollection

from hierfit.config.named import imported
from hierfit.errors import UserError
from hierfit.metrics import classes
from hierfit.metrics.base import TreeMetric
from hierfit.taxonomy import Taxonomy

Make: TypeAlias = Callable[..., TreeMetric]
Own: TypeAlias = Sequence[type[TreeMetric]]

_OF_PATHS: dict[str, Make] = {
    "fpa": classes.FullPathAccuracy,
    "tice": classes.TreeInconsistency,
    "leaf_accuracy": classes.LeafAccuracy,
    "leaf_accuracy_macro": partial(classes.LeafAccuracy, average="macro"),
    "wap_accuracy": classes.WeightedAveragePrecision,
    "wap_precision": partial(classes.WeightedAveragePrecision, convention="precision"),
    "tree_distance": classes.TreeDistance,
    "mistake_severity": classes.MistakeSeverity,
    "hierarchical_precision": classes.HierarchicalPrecision,
    "hierarchical_recall": classes.HierarchicalRecall,
    "hierarchical_f1": classes.HierarchicalF1,
}
_OF_SCORES: dict[str, Make] = {
    "hca": classes.HierarchicalConsistentAccuracy,
    "mta": classes.MeanTreecutAccuracy,
}


def own_metrics(paths: Sequence[str]) -> Own:
    """Metrics of one's own, by the import paths of their classes.

    Raises:
        UserError: Names every path that cannot be imported, is no `TreeMetric`, has no name, or has that of another.
    """
    found: list[type[TreeMetric]] = []
    problems: list[str] = []
    taken = {*_OF_PATHS, *_OF_SCORES}
    for path in paths:
        try:
            metric = imported(path, "metric")
        except UserError as error:
            problems.append(error.summary)
            continue
        if not (isinstance(metric, type) and issubclass(metric, TreeMetric) and metric.name):
            problems.append(f"metric {path!r} is no class with a name that derives from hierfit.metrics.TreeMetric")
        elif metric.name in taken:
            problems.append(f"metric {path!r}: there is one called {metric.name!r} already")
        else:
            taken.add(metric.name)
            found.append(metric)
    if problems:
        raise UserError("These metrics cannot be used.", problems)
    return found


def hierarchy_metrics(taxonomy: Taxonomy, prefix: str = "", own: Own = (), **options: Any) -> MetricCollection:
    """All metrics of paths, each a scalar under its own name, from four counts a batch.

    Call ``update(predicted [B, L], target [B, L])`` for each batch and ``compute()`` at the end of the epoch;
    ``forward`` works too but counts once for every metric.

    Args:
        taxonomy: The tree.
        prefix: Put before every name, for example ``val/``.
        own: Of one's own; those that read paths.
        **options: Of every `torchmetrics.Metric`: ``sync_on_compute=False`` counts this process's samples alone.

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
    of_levels = {
        f"accuracy/{level.replace('.', '_')}": partial(classes.LevelAccuracy, level=level) for level in taxonomy.levels
    }
    return _collected(_OF_PATHS | of_levels, own, "paths", taxonomy, prefix, options)


def score_metrics(taxonomy: Taxonomy, own: Own = (), **options: Any) -> MetricCollection:
    """``hca`` and ``mta``, and those of one's own that read logits: ``update(logits [B, N], target [B, L])``."""
    return _collected(_OF_SCORES, own, "logits", taxonomy, "", options)


def _collected(
    makers: Mapping[str, Make], own: Own, reads: str, taxonomy: Taxonomy, prefix: str, options: dict[str, Any]
) -> MetricCollection:
    every: dict[str, Make] = {**makers, **{metric.name: metric for metric in own if metric.reads == reads}}
    metrics = {name: make(taxonomy, **options) for name, make in every.items()}
    groups: dict[object, list[str]] = {}
    for name, metric in metrics.items():
        groups.setdefault(type(metric).function or type(metric).tally, []).append(name)
    # Stated, not found by comparing values: no rank and no unlucky first batch can group otherwise.
    return MetricCollection(dict(metrics), prefix=prefix, compute_groups=list(groups.values()))
