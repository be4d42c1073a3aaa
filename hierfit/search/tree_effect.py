"""What the true tree changes against another: paired over seeds, and over test samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hierfit.results.logits import LeafLogits
from hierfit.results.statistics import paired_difference, verdict
from hierfit.results.table import Estimate, Interval

Effect = Literal["helps", "no evidence", "hurts", "no difference"]
Fractions = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """The leaf of the true tree that one run names for each test sample ``[n]``, and the right one.

    With classes held back it is named among those of the sample's own kind, and ``base`` says of which kind that is.
    """

    predicted: NDArray[np.int64]
    labels: NDArray[np.int64]
    base: NDArray[np.bool_] | None

    @classmethod
    def read(cls, folder: Path) -> Answers:
        """From a run's folder; raises `UserError` when it keeps no logits."""
        scores = LeafLogits.read(folder)
        labels = scores.labels.numpy()
        if scores.seen.all():
            return cls(scores.predicted().numpy(), labels, None)
        base = scores.seen[scores.labels]
        predicted = scores.predicted(scores.seen).where(base, scores.predicted(~scores.seen))
        return cls(predicted.numpy(), labels, base.numpy())


@dataclass(frozen=True)
class Comparison:
    """True − other by one share of right answers (leaf accuracy, or H with classes held back): with its t-interval over
    seeds, with its bootstrap interval over test samples (the seeds taken as they are), and whether every sample was
    given the same leaf on both trees, with every seed."""

    over_seeds: Estimate
    over_samples: Interval
    same: bool

    @property
    def effect(self) -> Effect:
        """Helps or hurts where both intervals say so: neither other seeds nor other samples would turn it round."""
        if self.same:
            return "no difference"
        found = verdict(self.over_seeds)
        return found if found == verdict(self.over_samples) else "no evidence"


def compare_trees(true: Mapping[int, Answers], other: Mapping[int, Answers]) -> Comparison:
    """Pairs the runs of both trees, given by seed.

    Raises:
        ValueError: They share no seed, or not their test samples.
    """
    seeds = [seed for seed in true if seed in other]
    pairs = [(true[seed], other[seed]) for seed in seeds]
    first = pairs[0][0] if pairs else None
    if first is None or any(not np.array_equal(first.labels, run.labels) for pair in pairs for run in pair):
        raise ValueError("trees are compared on the same seeds and test samples")
    right = np.stack([run.predicted == run.labels for side in zip(*pairs, strict=True) for run in side])  # [2S, n]
    kinds = [first.base, ~first.base] if first.base is not None else [np.ones(len(first.labels), dtype=bool)]
    parts = [right[:, kind].T for kind in kinds]
    shares = _score([part.mean(axis=0) for part in parts])
    over_seeds = paired_difference(shares[: len(seeds)].tolist(), shares[len(seeds) :].tolist())
    return Comparison(
        over_seeds,
        Interval(over_seeds.mean, *_over_samples(parts), len(first.labels)),
        all(np.array_equal(a.predicted, b.predicted) for a, b in pairs),
    )


def _score(shares: Sequence[Fractions]) -> Fractions:
    """Of the share of right answers on all classes, that share; on base and on novel ones, their harmonic mean."""
    product, total = np.prod(shares, axis=0), np.sum(shares, axis=0)
    return shares[0] if len(shares) == 1 else 2 * product / np.maximum(total, np.finfo(np.float64).tiny)


def _over_samples(parts: Sequence[NDArray[np.bool_]]) -> tuple[float, float]:
    """Ends of the 95 % percentile interval of the mean difference, over samples drawn again 10 000 times (Efron 1979).

    The seeds share their test samples, so a sample is drawn with all its answers: pooling them as if they were new
    samples would make the interval √S too narrow.

    Args:
        parts: Right answers ``[n, 2S]`` of each kind of sample: S runs on the true tree, then S on the other. Kinds are
            drawn apart.
    """
    rng = np.random.default_rng(0)
    # Samples answered alike are drawn together: how often each pattern comes is multinomial.
    patterns = [(len(part), *np.unique(part.astype(float), axis=0, return_counts=True)) for part in parts]
    differences = []
    for size in [1000] * 10:
        counts = [(rng.multinomial(n, count / n, size=size), pattern) for n, pattern, count in patterns]
        shares = _score([drawn @ pattern / drawn.sum(axis=1, keepdims=True) for drawn, pattern in counts])
        half = shares.shape[1] // 2
        differences.append((shares[:, :half] - shares[:, half:]).mean(axis=1))
    low, high = np.quantile(np.concatenate(differences), [0.025, 0.975])
    return float(low), float(high)
