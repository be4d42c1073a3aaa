"""How a belief does on labelled images: accuracy by level, Bayes decision, reliability, and what answers cost that go
only as deep as they may."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from hierfit.decoding.belief import belief, descent, least_distance
from hierfit.decoding.calibration import Calibration, path_reliability
from hierfit.decoding.logits import DECODERS, Decoder, per_level_argmax
from hierfit.metrics.selective import Curve, operating_curve
from hierfit.taxonomy import Taxonomy

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

    from hierfit.metrics.collection import Own

MAX_ERRORS = (0.2, 0.1, 0.05)
"""Wanted error rates whose conformal answers every result card holds."""

_POINTS = 100
_ALONE: dict[str, Any] = {"sync_on_compute": False}  # the logits of all processes lie before the one that counts


class Served(NamedTuple):
    """What is left of a belief about n images: O(n·L) numbers.

    Attributes:
        metrics: By decoder (of the logits; ``belief``: the most probable node of each cut; ``bayes``) and metric. Under
            ``belief`` also those of the node probabilities (``hca``, ``mta``).
        raw: The same of the scores as they are.
        answer: The belief's descent ``[n, L]``, −1 past the leaf.
        confidence: Its probabilities ``[n, L]``, never rising; 0 past the leaf.
        target: Labels ``[n, L]``, −1 where unknown or ended.
    """

    metrics: dict[str, dict[str, float]]
    raw: dict[str, float]
    answer: Tensor
    confidence: Tensor
    target: Tensor


def rows_at_once(nodes: int) -> int:
    """How many samples' logits are read at once: some 16 MiB of them."""
    return max(1, (1 << 22) // nodes)


def batches_of(logits: Tensor, paths: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits ``[n, N]`` and labels ``[n, L]`` in batches."""
    rows = rows_at_once(logits.shape[1])
    return zip(logits.split(rows), paths.split(rows), strict=True)


def serve(
    batches: Iterable[tuple[Tensor, Tensor]],
    taxonomy: Taxonomy,
    calibration: Calibration,
    decoders: Mapping[str, Decoder] = MappingProxyType({}),
    own: Own = (),
) -> Served:
    """Reads batches of logits ``[B, N]`` and labels ``[B, L]`` once; memory O(B·N + n·L)."""
    # torchmetrics takes seconds to import.
    from hierfit.metrics.collection import hierarchy_metrics, score_metrics

    of_belief = {"belief": per_level_argmax, "bayes": least_distance}
    of_paths = {name: hierarchy_metrics(taxonomy, own=own, **_ALONE) for name in (*decoders, *of_belief)}
    of_nodes, of_logits = (score_metrics(taxonomy, own, **_ALONE) for _ in range(2))
    none = torch.zeros(0, taxonomy.num_levels, dtype=torch.long)
    answers, confidences, targets = [none], [none.float()], [none]
    for logits, paths in batches:
        nodes = belief(logits, taxonomy, calibration).nodes
        for scores, readers in ((logits, decoders), (nodes, of_belief)):
            for name, decode in readers.items():
                of_paths[name].update(decode(scores, taxonomy), paths)
        of_nodes.update(nodes, paths)
        of_logits.update(logits, paths)
        for found, values in zip((answers, confidences, targets), (*descent(nodes, taxonomy), paths), strict=True):
            found.append(values)
    figures = {name: _computed(metrics) for name, metrics in of_paths.items()}
    figures["belief"] |= _computed(of_nodes)
    return Served(figures, _computed(of_logits), torch.cat(answers), torch.cat(confidences), torch.cat(targets))


def score(
    batches: Iterable[tuple[Tensor, Tensor]],
    taxonomy: Taxonomy,
    calibration: Calibration,
    decoders: Mapping[str, Decoder] = DECODERS,
    own: Own = (),
) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """Everything a result card says of logits: see `hierarchy_metrics`, `serve` and `served_facts`.

    Args:
        batches: Logits ``[B, N]`` and labels ``[B, L]``.
        taxonomy: The tree.
        calibration: Makes logits a belief.
        decoders: Of the logits, whose figures mean something; the chosen one among them.
        own: Metrics of one's own.

    Returns:
        Figures by decoder and metric, ``decoded`` being the decoder that val chose; and what is said of the belief.
    """
    served = serve(batches, taxonomy, calibration, decoders, own)
    facts, figures = served_facts(served, taxonomy, calibration), served.metrics
    if "per_level" in figures:
        figures["per_level"] |= served.raw
    return {**figures, "decoded": figures[calibration.scores]}, facts


def _computed(metrics: MetricCollection) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.compute().items()}


def served_facts(served: Served, taxonomy: Taxonomy, calibration: Calibration) -> dict[str, Any]:
    """What a result card holds of a belief; its ``ece`` and ``haurc`` join its metrics.

    Returns:
        ``scores``, ``temperature``, ``val_images``, ``val_fpa``, ``val_ece``: how it was fitted. On the images:
        ``reliability`` of the served probabilities in bins; ``curve``: error, share answered (``coverage``), error
        among answered, depth and information kept by threshold; ``max_error``: for each of `MAX_ERRORS` its threshold
        (None with too few validation images) and what came out.
        Shares are fractions.
    """
    facts: dict[str, Any] = {
        "scores": calibration.scores,
        "temperature": calibration.temperature,
        "val_images": calibration.images,
        "val_fpa": dict(calibration.fpa),
        "val_ece": None if calibration.ece is None else list(calibration.ece),
    }
    if not (served.target >= 0).any():
        return facts
    bins = path_reliability(served.answer, served.confidence, served.target, taxonomy)
    filled = bins.count > 0
    curve = operating_curve(served.answer, served.confidence, served.target, taxonomy)
    served.metrics["belief"] |= {"ece": bins.ece, "haurc": curve.haurc}
    facts |= {
        "reliability": {
            "count": bins.count[filled].tolist(),
            "confidence": _rounded(bins.confidence[filled]),
            "accuracy": _rounded(bins.accuracy[filled]),
        },
        "curve": {name: _rounded(values) for name, values in curve.sampled(_POINTS).figures().items()},
        "max_error": {f"{alpha:g}": _at(curve, calibration.threshold(alpha)) for alpha in MAX_ERRORS},
    }
    return facts


def _at(curve: Curve, threshold: float) -> dict[str, float | None]:
    """What answers at a threshold cost and keep: what they do at the last one of the curve that is no greater."""
    if not math.isfinite(threshold):
        return {"threshold": None}
    place = int(torch.searchsorted(curve.threshold, threshold, right=True)) - 1
    return {**{name: _or_none(values[place]) for name, values in curve.figures().items()}, "threshold": threshold}


def _or_none(value: Tensor) -> float | None:
    return None if value.isnan() else round(float(value), 5)


def _rounded(values: Tensor) -> list[float | None]:
    return [_or_none(value) for value in values]
