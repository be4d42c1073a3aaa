"""What the metrics mean, in a sentence each, for a page that explains its columns where they stand."""

from __future__ import annotations

from collections.abc import Iterable

from hierfit.results.table import Column

_METRICS = {
    "leaf_accuracy": "share of images whose leaf is right: the best of all leaves, at whatever depth they end",
    "leaf_accuracy_macro": "leaf accuracy, every class counting alike",
    "fpa": "full-path accuracy: share of images with every labelled level right",
    "tice": "tree inconsistency error: share of answers that are no path of the tree, right or wrong; lower is better, "
    "and an answer that never changes has 0",
    "wap_accuracy": "mean accuracy of the levels, weighted by their numbers of nodes",
    "wap_precision": "mean precision of the nodes, weighted likewise",
    "tree_distance": "edges between the answered and the true node, mean over all images; lower is better",
    "mistake_severity": "levels from the true node up to where the paths part, mean over wrong images only",
    "hierarchical_precision": "share of the answered nodes that lie on the true path",
    "hierarchical_recall": "share of the true path's nodes that are answered",
    "hierarchical_f1": "harmonic mean of hierarchical precision and recall",
    "hca": "share of images whose leaf is right and whose every true node is the best among its siblings",
    "mta": "accuracy over random cuts through the tree, mean of the cuts",
    "ece": "expected calibration error: mean gap between confidence and accuracy; lower is better",
    "haurc": "area below error over information kept; lower is better",
    "base": "leaf accuracy on the classes trained on, among themselves",
    "novel": "leaf accuracy on the classes held back, among themselves",
    "h": "harmonic mean of base and novel",
    "generalised_base": "the same with all classes as candidates",
    "generalised_novel": "the same with all classes as candidates",
    "generalised_h": "the same with all classes as candidates",
    "ausuc": "area under the curve of novel over base accuracy as a bias moves from one to the other",
    "params": "parameters that are trained",
    "share": "trained parameters in % of all",
    "time": "seconds of training",
    "memory": "peak memory of the process",
}
_DECODERS = {
    "decoded": "paths by the decoder that validation chose",
    "belief": "by the most probable node of each level",
    "best_path": "by the best path",
    "rollup": "by the path of the best leaf",
    "top_down": "by the best child at every step",
    "bayes": "by the leaf of least expected distance",
}


def meaning(column: Column) -> str:
    """What a column of a metric holds, by its key; empty of any other."""
    metric, _, decoder = column.key.partition("@")
    if metric.startswith("accuracy/"):
        return f"share of images whose {metric.removeprefix('accuracy/')} is right, of those that have one"
    found = _METRICS.get(metric, "")
    read = _DECODERS.get(decoder, "") if found and metric not in ("leaf_accuracy", "ece", "haurc") else ""
    return f"{found} ({read})" if read else found


def terms(columns: Iterable[Column]) -> dict[str, str]:
    """Meanings by header, of the columns that have one."""
    return {column.header: found for column in columns if (found := meaning(column))}
