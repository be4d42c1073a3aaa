"""How a belief does on labelled images: accuracy by level, Bayes decision, reliability, and what answers cost that go
only as deep as they may."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

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

_OF_BELIEF = {"belief": per_level_argmax, "bayes": least_distance}
_CURVE_POINTS = 100
_ALONE: dict[str, Any] = {"sync_on_compute": False}  # the logits of all processes lie before the one that counts


def rows_at_once(nodes: int) -> int:
    """How many samples' logits are read at once: some 16 MiB of them."""
    return max(1, (1 << 22) // nodes)


def batches_of(logits: Tensor, paths: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits ``[n, N]`` and labels ``[n, L]`` in batches."""
    rows = rows_at_once(logits.shape[1])
    return zip(logits.split(rows), paths.split(rows), strict=True)


def score(
    batches: Iterable[tuple[Tensor, Tensor]],
    taxonomy: Taxonomy,
    calibration: Calibration,
    decoders: Mapping[str, Decoder] = DECODERS,
    own: Own = (),
) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """Everything a result card says of logits, from reading them once; memory O(B·N + n·L).

    Args:
        batches: Logits ``[B, N]`` and labels ``[B, L]``.
        taxonomy: The tree.
        calibration: Makes logits a belief.
        decoders: Of the logits, whose figures mean something; the chosen one among them.
        own: Metrics of one's own.

    Returns:
        Figures by decoder and metric. Beside ``decoders``: ``belief``, the most probable node of each cut, with what is
        said of node probabilities (``hca``, ``mta``, ``ece``, ``haurc``); ``bayes``; and ``decoded``, the decoder that
        val chose. What is said of the scores as they are stands under ``per_level``.
        And facts of the belief; shares are fractions. ``scores``, ``temperature``, ``val_images``, ``val_fpa``,
        ``val_ece``: how it was fitted. On the images: ``reliability`` of the served probabilities in bins; ``curve``,
        see `Curve.figures`; ``max_error``: for each of `MAX_ERRORS` its threshold (None with too few validation images)
        and what came out.
    """
    # torchmetrics takes seconds to import.
    from hierfit.metrics.collection import hierarchy_metrics, score_metrics

    of_paths = {name: hierarchy_metrics(taxonomy, own=own, **_ALONE) for name in (*decoders, *_OF_BELIEF)}
    of_nodes, of_logits = (score_metrics(taxonomy, own, **_ALONE) for _ in range(2))
    none = torch.zeros(0, taxonomy.num_levels, dtype=torch.long)
    kept = [(none, none.float(), none)]
    for logits, paths in batches:
        nodes = belief(logits, taxonomy, calibration).nodes
        for scores, readers in ((logits, decoders), (nodes, _OF_BELIEF)):
            for name, decode in readers.items():
                of_paths[name].update(decode(scores, taxonomy), paths)
        of_nodes.update(nodes, paths)
        of_logits.update(logits, paths)
        kept.append((*descent(nodes, taxonomy), paths))
    answer, confidence, target = (torch.cat(parts) for parts in zip(*kept, strict=True))
    facts, of_answers = _of_answers(answer, confidence, target, taxonomy, calibration)
    figures = {name: _computed(metrics) for name, metrics in of_paths.items()}
    figures["belief"] |= _computed(of_nodes) | of_answers
    if "per_level" in figures:
        figures["per_level"] |= _computed(of_logits)
    return {**figures, "decoded": figures[calibration.scores]}, facts


def _computed(metrics: MetricCollection) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.compute().items()}


def _of_answers(
    answer: Tensor, confidence: Tensor, target: Tensor, taxonomy: Taxonomy, calibration: Calibration
) -> tuple[dict[str, Any], dict[str, float]]:
    """Facts, and figures, of the belief's descent, its probabilities and the labels, ``[n, L]`` each."""
    facts: dict[str, Any] = {
        "scores": calibration.scores,
        "temperature": calibration.temperature,
        "val_images": calibration.images,
        "val_fpa": dict(calibration.fpa),
        "val_ece": None if calibration.ece is None else list(calibration.ece),
    }
    if not (target >= 0).any():
        return facts, {}
    bins = path_reliability(answer, confidence, target, taxonomy)
    filled = bins.count > 0
    curve = operating_curve(answer, confidence, target, taxonomy)
    facts["reliability"] = {
        "count": bins.count[filled].tolist(),
        "confidence": _rounded(bins.confidence[filled]),
        "accuracy": _rounded(bins.accuracy[filled]),
    }
    facts["curve"] = {name: _rounded(values) for name, values in curve.sampled(_CURVE_POINTS).figures().items()}
    facts["max_error"] = {f"{alpha:g}": _at(curve, calibration.threshold(alpha)) for alpha in MAX_ERRORS}
    return facts, {"ece": bins.ece, "haurc": curve.haurc}


def _at(curve: Curve, threshold: float) -> dict[str, float | None]:
    """What answers at a threshold cost and keep: what they do at the last one of the curve that is no greater."""
    if not math.isfinite(threshold):
        return {"threshold": None}
    place = int(torch.searchsorted(curve.threshold, threshold, right=True)) - 1
    found = {name: _rounded(values[place : place + 1])[0] for name, values in curve.figures().items()}
    return {**found, "threshold": threshold}


def _rounded(values: Tensor) -> list[float | None]:
    return [None if math.isnan(value) else round(value, 5) for value in values.tolist()]
