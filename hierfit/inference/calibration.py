"""One temperature a level, fitted on validation logits, so that a probability of 0.8 is right four times in five."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hierfit.decoding import DECODERS, level_log_softmax
from hierfit.inference.belief import BELIEFS
from hierfit.taxonomy import Taxonomy

_HOTTEST, _STEPS = 20.0, 16  # log T to a ten-thousandth
_MOST = 10_000_000  # logits that are looked at; one number a level is all they have to tell


@dataclass(frozen=True)
class Calibration:
    """Temperatures of what each decoder believes of the nodes of each level.

    Attributes:
        temperature: By decoder and level; a level that is not named has 1.
        images: Of the validation split that they were fitted on; 0 when there was none.
        error: Expected calibration error of the decoder's answers there, before and after; see
            `expected_calibration_error`.
    """

    temperature: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    images: int = 0
    error: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)

    @classmethod
    def fit(cls, logits: Tensor, paths: Tensor, taxonomy: Taxonomy) -> Calibration:
        """Fits each decoder's levels, each on its own.

        Args:
            logits: ``[n, N]`` of validation images; of very many, every k-th is looked at.
            paths: Their labels ``[n, L]``, −1 where unknown.
            taxonomy: The tree.
        """
        count, step = len(logits), max(1, logits.numel() // _MOST)
        logits, paths = logits[::step].float(), paths[::step]
        temperature: dict[str, dict[str, float]] = {}
        error: dict[str, dict[str, tuple[float, float]]] = {}
        for decoder, belief in BELIEFS.items():
            before = belief(logits, taxonomy)
            temperature[decoder] = {
                level: fit_temperature(before[known][:, nodes], paths[known, depth] - nodes.start)
                for depth, (level, nodes) in enumerate(zip(taxonomy.levels, taxonomy.level_slices, strict=True))
                if (known := paths[:, depth] >= 0).any() and nodes.stop - nodes.start > 1
            }
            after = cls(temperature).probabilities(logits, taxonomy, decoder)
            predicted = DECODERS[decoder](logits, taxonomy)
            errors = [calibration_errors(chances, predicted, paths) for chances in (before.exp(), after)]
            error[decoder] = {
                level: (errors[0][depth], errors[1][depth])
                for depth, level in enumerate(taxonomy.levels)
                if level in temperature[decoder]
            }
        return cls(temperature, count, error)

    def probabilities(self, logits: Tensor, taxonomy: Taxonomy, decoder: str) -> Tensor:
        """Calibrated probability of each node among those of its level ``[B, N]``; a logit of −inf has none."""
        of_level = self.temperature.get(decoder, {})
        sizes = zip(taxonomy.levels, taxonomy.level_sizes, strict=True)
        by_node = [of_level.get(level, 1.0) for level, size in sizes for _ in range(size)]
        return level_log_softmax(BELIEFS[decoder](logits, taxonomy) / logits.new_tensor(by_node), taxonomy).exp()

    def plain(self) -> dict[str, Any]:
        """For a JSON file."""
        return {"temperature": self.temperature, "images": self.images, "error": self.error}


def fit_temperature(log_probabilities: Tensor, labels: Tensor) -> float:
    """The T that minimises the cross-entropy of ``softmax(x / T)`` (Guo et al., ICML 2017), within 1/20 … 20.

    log T has a standard normal prior, worth one image: without it, a model that makes no mistake on a few images would
    be given T = 0, and no doubt ever after. Bisection of the slope in log T: O(16·n·C).

    Args:
        log_probabilities: x ``[n, C]``, or any logits.
        labels: ``[n]``.
    """
    # Nothing is as improbable as that; −inf times 0 would be no number.
    x = log_probabilities.clamp_min(-1e4)
    label = x.gather(1, labels[:, None]).mean()
    low, high = -math.log(_HOTTEST), math.log(_HOTTEST)  # of log 1/T
    for _ in range(_STEPS):
        middle = (low + high) / 2
        expected = ((x * math.exp(middle)).softmax(dim=1) * x).sum(dim=1).mean()
        slope = math.exp(middle) * float(expected - label) + middle / len(x)
        low, high = (low, middle) if slope > 0 else (middle, high)
    return math.exp(-(low + high) / 2)


def calibration_errors(probabilities: Tensor, predicted: Tensor, target: Tensor) -> list[float]:
    """Expected calibration error of the predicted nodes of each level, over samples labelled and predicted there.

    Args:
        probabilities: ``[n, N]``.
        predicted: Node ids ``[n, L]``, −1 where the prediction has ended.
        target: Node ids ``[n, L]``, −1 where unknown.

    Returns:
        L figures, NaN for a level without such samples.
    """
    chance = probabilities.gather(1, predicted.clamp_min(0))
    counted = (predicted >= 0) & (target >= 0)
    right = predicted == target
    columns = zip(chance.T, right.T, counted.T, strict=True)
    return [expected_calibration_error(p[known], hit[known]) for p, hit, known in columns]


def expected_calibration_error(confidence: Tensor, right: Tensor, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal bins of confidence (ECE, Naeini et al., AAAI 2015).

    Args:
        confidence: Probability of what is predicted ``[n]``.
        right: Whether it is right ``[n]`` bool.
        bins: Number of bins.

    Returns:
        A share; NaN without samples.
    """
    if not len(confidence):
        return math.nan
    place = (confidence * bins).long().clamp(max=bins - 1)
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, confidence.double() - right.double())
    return float(gap.abs().sum() / len(confidence))
