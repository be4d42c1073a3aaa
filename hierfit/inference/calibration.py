"""One temperature a level, fitted on validation logits, so that a probability of 0.8 is right four times in five."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hierfit.decoding import level_log_softmax
from hierfit.taxonomy import Taxonomy

_HOTTEST, _STEPS = 20.0, 30


@dataclass(frozen=True)
class Calibration:
    """Temperatures of the levels.

    Attributes:
        temperature: By level name; 1 where nothing was labelled.
        images: Of the validation split that they were fitted on; 0 when there was none.
        error: Expected calibration error of each level on it, before and after.
    """

    temperature: Mapping[str, float]
    images: int = 0
    error: Mapping[str, tuple[float, float]] | None = None

    @classmethod
    def fit(cls, logits: Tensor, paths: Tensor, taxonomy: Taxonomy) -> Calibration:
        """Fits each level on its own.

        Args:
            logits: ``[n, N]`` of validation images.
            paths: Their labels ``[n, L]``, −1 where unknown.
            taxonomy: The tree.
        """
        logits, errors, temperature = logits.float(), {}, {}
        for depth, (name, nodes) in enumerate(zip(taxonomy.levels, taxonomy.level_slices, strict=True)):
            known = paths[:, depth] >= 0
            temperature[name] = 1.0
            if known.any() and nodes.stop - nodes.start > 1:
                scores, labels = logits[known, nodes], paths[known, depth] - nodes.start
                found = temperature[name] = fit_temperature(scores, labels)
                errors[name] = (_error(scores, labels), _error(scores / found, labels))
        return cls(temperature, len(logits), errors)

    def probabilities(self, logits: Tensor, taxonomy: Taxonomy) -> Tensor:
        """Calibrated probability of each node among those of its level ``[B, N]``; a logit of −inf has none."""
        by_level = logits.new_tensor([self.temperature[level] for level in taxonomy.levels])
        scaled = logits / by_level.repeat_interleave(logits.new_tensor(taxonomy.level_sizes).long())
        return level_log_softmax(scaled, taxonomy).exp()

    def plain(self) -> dict[str, Any]:
        """For a JSON file."""
        return {"temperature": dict(self.temperature), "images": self.images, "error": self.error}


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The T that minimises the cross-entropy of ``logits / T`` (Guo et al., ICML 2017), within 1/20 … 20.

    One more image is thought of whose label is drawn at random: without it, a model that makes no mistake on a few
    images would be given T = 0, and no doubt ever after. Convex in 1/T, so bisection of the slope: O(30·n·C).

    Args:
        logits: ``[n, C]``.
        labels: ``[n]``.
    """
    logits = logits.double()
    weight = 1 / (len(logits) + 1)
    label = logits.gather(1, labels[:, None]).mean()
    wanted = (1 - weight) * label + weight * logits.mean()
    low, high = -math.log(_HOTTEST), math.log(_HOTTEST)  # of 1/T
    for _ in range(_STEPS):
        middle = (low + high) / 2
        slope = ((logits * math.exp(middle)).softmax(dim=1) * logits).sum(dim=1).mean() - wanted
        low, high = (low, middle) if slope > 0 else (middle, high)
    return math.exp(-(low + high) / 2)


def expected_calibration_error(confidence: Tensor, right: Tensor, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal bins of confidence (ECE, Naeini et al., AAAI 2015).

    Args:
        confidence: Probability of what is predicted ``[n]``.
        right: Whether it is right ``[n]`` bool.
        bins: Number of bins.
    """
    place = (confidence * bins).long().clamp(max=bins - 1)
    gap = torch.zeros(bins, dtype=torch.float64)
    gap.index_add_(0, place, confidence.double() - right.double())
    return float(gap.abs().sum() / len(confidence))


def _error(logits: Tensor, labels: Tensor) -> float:
    confidence, best = logits.softmax(dim=1).max(dim=1)
    return expected_calibration_error(confidence, best == labels)
