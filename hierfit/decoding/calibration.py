"""How sure a model may be: the belief fitted on the validation split, its reliability, and what answers may promise.

Three things are fitted: what scores the leaves, one temperature, and conformal scores, from which a threshold follows
for every error rate that is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, get_args

import torch
from torch import Tensor

from hierfit.decoding.belief import LeafScores, belief, descent, leaf_scores
from hierfit.taxonomy import Taxonomy

_HOTTEST, _STEPS = 20.0, 16  # log T to a ten-thousandth
_SCORES_AT_ONCE = 1 << 18
_MOST_SCORES = 10_000_000  # scores that are looked at; one temperature is all they have to tell


@dataclass(frozen=True)
class Calibration:
    """How logits become a belief; kept with the model.

    Attributes:
        scores: What scores a leaf: chosen on val by full-path accuracy.
        temperatures: Of the softmax over the leaves, for each way to score them that the model allows: one that trained
            leaves alone has no scores along paths.
        images: Of the validation split that it was fitted on; 0 when there was none, and then nothing is calibrated.
        fpa: Full-path accuracy on val of each way to score the leaves that could be chosen.
        ece: Expected calibration error there of the probabilities along the descent, at temperature 1 and at this one.
        conformal: Sorted conformal scores of the validation images that have a leaf's label; None for none.
    """

    scores: LeafScores = "best_path"
    temperatures: Mapping[str, float] = field(default_factory=lambda: {"best_path": 1.0, "rollup": 1.0})
    images: int = 0
    fpa: Mapping[str, float] = field(default_factory=dict)
    ece: tuple[float, float] | None = None
    conformal: Tensor | None = None

    @property
    def temperature(self) -> float:
        """Of the chosen scores."""
        return self.temperatures[self.scores]

    def threshold(self, max_error: float) -> float:
        """What an answer's belief must exceed so that at most ``max_error`` of all answers are wrong; ∞ with too few
        validation images."""
        return math.inf if self.conformal is None else conformal_threshold(self.conformal, max_error)

    def plain(self) -> dict[str, Any]:
        """For a JSON file: all but the conformal scores."""
        return {name: value for name, value in vars(self).items() if name != "conformal"}

    @classmethod
    def of(cls, plain: Mapping[str, Any], conformal: Tensor | None) -> Calibration:
        """The calibration that `plain` was taken from; a KeyError, TypeError or ValueError where it is none."""
        ece = None if plain["ece"] is None else (float(plain["ece"][0]), float(plain["ece"][1]))
        temperatures = {name: float(value) for name, value in plain["temperatures"].items()}
        if plain["scores"] not in temperatures or not temperatures.keys() <= set(get_args(LeafScores)):
            raise ValueError(f"leaves cannot be scored by {plain['scores']!r}")
        if not all(0 < value < math.inf for value in temperatures.values()):
            raise ValueError(f"{temperatures} are no temperatures")
        return cls(plain["scores"], temperatures, int(plain["images"]), dict(plain["fpa"]), ece, conformal)


def calibrate(
    logits: Tensor, paths: Tensor, taxonomy: Taxonomy, choices: Sequence[LeafScores] = ("best_path", "rollup")
) -> Calibration:
    """Chooses by full-path accuracy what scores the leaves, the first of equally good ``choices``, and fits its
    temperature; on validation images' logits ``[n, N]`` and labels ``[n, L]``, −1 where unknown."""
    labelled = (paths >= 0).any(dim=1)
    logits, paths = logits[labelled].float(), paths[labelled]
    if not len(logits):
        return Calibration(choices[0], dict.fromkeys(choices, 1.0))
    step = max(1, logits.numel() // _MOST_SCORES)  # of very many, every step-th is looked at
    possible = _possible(paths, taxonomy)
    fpa, temperatures = dict[str, float](), dict[str, float]()
    for choice in choices:
        scores = leaf_scores(logits, taxonomy, choice)
        fpa[choice] = float(possible.gather(1, scores.argmax(dim=1, keepdim=True)).float().mean())
        temperatures[choice] = fit_temperature(scores[::step], possible[::step])
    chosen = max(choices, key=lambda choice: fpa[choice])
    plain, fitted = Calibration(chosen, dict.fromkeys(choices, 1.0)), Calibration(chosen, temperatures)
    answers = [descent(belief(logits, taxonomy, each).nodes, taxonomy) for each in (plain, fitted)]
    before, after = (path_reliability(*each, paths, taxonomy).ece for each in answers)
    answer, confidence = answers[1]
    of_leaf = taxonomy.num_children[paths.amax(dim=1)] == 0
    conformal = conformal_scores(answer[of_leaf], confidence[of_leaf], paths[of_leaf]).sort().values
    return Calibration(chosen, temperatures, len(logits), fpa, (before, after), conformal)


def fit_temperature(scores: Tensor, possible: Tensor) -> float:
    """The T that minimises −log of what ``softmax(x / T)`` gives to the possible leaves, within 1/20 … 20.

    For labels that are leaves this is temperature scaling (Guo et al., ICML 2017). log T has a standard normal prior,
    worth one image: without it, a model that makes no mistake on a few images would be given T = 0, and no doubt ever
    after. Bisection of the slope in log T: O(16·n·C).

    Args:
        scores: x ``[n, C]``.
        possible: Leaves that the label allows ``[n, C]`` bool, at least one a row.
    """
    # Nothing is as improbable as that; −inf times 0 would be no number.
    x = scores.clamp_min(-1e4)
    rows = max(1, _SCORES_AT_ONCE // x.shape[1])  # memory that is asked for anew at every step is slow to come
    parts = list(zip(x.split(rows), possible.split(rows), strict=True))
    low, high = -math.log(_HOTTEST), math.log(_HOTTEST)  # of log 1/T
    for _ in range(_STEPS):
        middle = (low + high) / 2
        means = [_means_at(part, told, math.exp(middle)) for part, told in parts]
        expected, of_label = (torch.cat(each).mean() for each in zip(*means, strict=True))
        slope = math.exp(middle) * float(expected - of_label) + middle / len(x)
        low, high = (low, middle) if slope > 0 else (middle, high)
    return math.exp(-(low + high) / 2)


def _means_at(x: Tensor, possible: Tensor, inverse: float) -> tuple[Tensor, Tensor]:
    """Means of x ``[n, C]`` under its softmax at 1/T, over all leaves and over the possible ones ``[n]``."""
    sharp = x * inverse
    expected = (sharp.softmax(dim=1) * x).sum(dim=1)
    return expected, (sharp.masked_fill_(~possible, -torch.inf).softmax(dim=1) * x).sum(dim=1)


def _possible(paths: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Leaves at or below the finest known node of each label ``[n, C]`` bool."""
    node = paths.amax(dim=1, keepdim=True)
    leaf_paths = taxonomy.padded(taxonomy.leaf_paths)
    return node == leaf_paths[:, taxonomy.level[node[:, 0]]].T


@dataclass(frozen=True)
class Reliability:
    """Samples in bins of equal width by confidence, bin b holding (b/bins, (b + 1)/bins]: how many, their mean
    confidence and the share of them that is right, ``[bins]`` each, NaN in an empty bin."""

    count: Tensor
    confidence: Tensor
    accuracy: Tensor

    @property
    def ece(self) -> float:
        """Expected calibration error: ``Σ_b (n_b/n)·|accuracy_b − confidence_b|``; NaN without samples (Naeini et al.,
        AAAI 2015; Guo et al., ICML 2017)."""
        gap = (self.accuracy - self.confidence).abs().nan_to_num(0.0)
        return float((self.count * gap).sum() / self.count.sum())


def reliability(confidence: Tensor, right: Tensor, bins: int = 15) -> Reliability:
    """Bins predictions by their stated probability ``[n]``; ``right [n]`` bool says which came true. A ValueError where
    the two differ in shape, or a confidence is no probability."""
    if confidence.ndim != 1 or confidence.shape != right.shape:
        raise ValueError(f"expected two vectors of one length, got {list(confidence.shape)} and {list(right.shape)}")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError("a confidence lies outside [0, 1]")
    confidence = confidence.double()
    bin_of = (confidence * bins).ceil().long().clamp(1, bins) - 1
    count = bin_of.bincount(minlength=bins)
    means = (
        count.new_zeros(bins, dtype=x.dtype).index_add_(0, bin_of, x) / count for x in (confidence, right.double())
    )
    return Reliability(count, *means)


def path_reliability(
    paths: Tensor, confidence: Tensor, target: Tensor, taxonomy: Taxonomy, level: int | None = None
) -> Reliability:
    """Reliability of the probabilities along predicted paths ``[n, L]``, wherever the label is known: of all levels, or
    of one."""
    columns = slice(None) if level is None else slice(level, level + 1)
    known = ((paths >= 0) & (taxonomy.padded(target) >= 0))[:, columns]
    return reliability(confidence[:, columns][known], (paths == target)[:, columns][known])


def conformal_scores(paths: Tensor, confidence: Tensor, target: Tensor) -> Tensor:
    """Belief of the first node of each path that the label contradicts ``[n]``; 0 where it contradicts none.

    The answer at threshold t is wrong exactly if the score exceeds t. A sample without any label scores 0: leave such
    out of a calibration. With coarse labels among them a promise is one about the levels that they know.

    Args:
        paths: Predicted paths ``[n, L]``, −1 or repeated below the leaf.
        confidence: Belief of their nodes ``[n, L]``.
        target: ``[n, L]``, −1 where unknown or ended.
    """
    wrong = (paths >= 0) & (target >= 0) & (paths != target)
    wrong[:, 1:] &= paths[:, 1:] != paths[:, :-1]
    first = wrong.long().argmax(dim=1, keepdim=True)
    return confidence.gather(1, first)[:, 0].where(wrong.any(dim=1), confidence.new_zeros(()))


def conformal_threshold(scores: Tensor, alpha: float) -> float:
    """The threshold above which belief is answered, so that at most a share α of all answers is wrong.

    Split conformal: the ⌈(n + 1)(1 − α)⌉-th smallest of n calibration scores, ∞ (always silent) if that exceeds n. Then
    P(the answer is right) ≥ 1 − α for a further exchangeable sample and any model, over all samples: silence is right.
    Among the samples that are answered the error can be higher.

    Args:
        scores: ``[n]``, see `conformal_scores`; of samples the model was not trained on.
        alpha: Between 0 and 1, or a ValueError; read as the decimal it prints as.
    """
    rank = math.ceil((len(scores) + 1) * (1 - _as_written(alpha)))
    return float(scores.sort().values[rank - 1]) if rank <= len(scores) else math.inf


def images_needed(alpha: float) -> int:
    """The least number of calibration samples with a finite `conformal_threshold`: ⌈1/α − 1⌉; ValueError as there."""
    return math.ceil(1 / _as_written(alpha) - 1)


def _as_written(alpha: float) -> Fraction:
    # As written: in floats (n + 1)·(1 − 0.05) can pass the whole number that it is, and the rank would be one too high.
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; it must lie between 0 and 1")
    return Fraction(str(float(alpha)))
