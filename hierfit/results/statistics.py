"""Intervals and tests for what was measured over seeds, and for two runs on the same test samples.

Nothing here returns a mean alone. Over seeds an interval says what another draw and another start would change; over
test samples it says what other samples would change. Neither stands for the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, stdtr, stdtrit

from hierfit.results.table import Estimate, Interval, Verdict

LEVEL = 0.05
LEAST = 0.002
"""Share of the test samples: nothing below 0.2 points is called a help or harm, however sure it is."""

_CHUNK = 1 << 22  # counts held at once by the bootstrap: 32 MiB


class McNemar(NamedTuple):
    """Samples that one of two classifiers alone gets right, and how surprising their imbalance is.

    ``p`` is the exact two-sided one of Binomial(only_a + only_b, ½); 1 when they never differ.
    """

    only_a: int
    only_b: int
    p: float


def t_interval(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Mean of independent finite values, such as one a seed, with Student's t-interval: x̄ ± t·s/√n."""
    x = _finite(values)
    if len(x) == 1:
        return Estimate(float(x[0]), math.nan, 1)
    # Values that are all equal have no spread; their rounded mean would leave some.
    spread = 0.0 if np.ptp(x) == 0 else float(x.std(ddof=1))
    quantile = float(stdtrit(len(x) - 1, (1 + confidence) / 2))
    return Estimate(float(x.mean()), quantile * spread / math.sqrt(len(x)), len(x))


def paired_difference(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Estimate:
    """t-interval of a − b, where ``a[i]`` and ``b[i]`` share their seed and draw."""
    if len(a) != len(b):
        raise ValueError(f"{len(a)} values cannot be paired with {len(b)}")
    return t_interval((_finite(a) - _finite(b)).tolist(), confidence)


def p_value(difference: Estimate, confidence: float = 0.95) -> float:
    """Two-sided p of Student's t-test that the mean is 0, from its interval; 1 where one value says nothing."""
    if difference.n < 2 or difference.mean == 0 or math.isnan(difference.half_width):
        return 1.0
    if difference.half_width == 0:
        return 0.0
    freedom = difference.n - 1
    t = abs(difference.mean) / difference.half_width * float(stdtrit(freedom, (1 + confidence) / 2))
    return 2 * float(stdtr(freedom, -t))


def holm(ps: Sequence[float]) -> list[float]:
    """p values corrected for their number: calling all below α true is wrong once or more with probability ≤ α.

    The k-th smallest of m is multiplied by m − k + 1, and none is below a smaller one's. Source: Holm, Scandinavian
    Journal of Statistics 1979.
    """
    corrected = [0.0] * len(ps)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = largest
    return corrected


def verdicts(tests: Sequence[tuple[float, float, bool]], least: Sequence[float] | None = None) -> list[Verdict]:
    """What each difference says when all of a table are looked at together: its p is corrected over all (Holm).

    Args:
        tests: Difference, p and whether higher is better.
        least: Smallest difference that is called one; `LEAST` for all if None.
    """
    corrected = holm([p for _, p, _ in tests])
    return [
        "no evidence" if p > LEVEL or round(abs(mean), 9) < fewest else "helps" if (mean > 0) == higher else "hurts"
        for (mean, _, higher), p, fewest in zip(tests, corrected, least or [LEAST] * len(tests), strict=True)
    ]


def mcnemar(right_a: ArrayLike, right_b: ArrayLike) -> McNemar:
    """Exact McNemar test of two classifiers that are right or not, ``[n]`` bool, on the same samples.

    Source: McNemar, Psychometrika 1947, with the binomial distribution in place of χ².
    """
    a, b = np.asarray(right_a), np.asarray(right_b)
    if a.shape != b.shape or a.ndim != 1 or a.dtype != np.bool_ or b.dtype != np.bool_:
        raise ValueError(f"expected two bool vectors of one length, got {a.dtype} {a.shape} and {b.dtype} {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    # At ½ the distribution is symmetric: both tails are the smaller one's. They share the middle when equal.
    tail = float(bdtr(min(only_a, only_b), only_a + only_b, 0.5))
    return McNemar(only_a, only_b, min(1.0, 2 * tail))


def bootstrap(
    parts: Sequence[NDArray[np.float64]],
    statistic: Callable[[Sequence[NDArray[np.float64]]], NDArray[np.float64]],
    draws: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Ends of the percentile interval of a statistic over samples drawn again with replacement, each part by itself.

    How often each distinct row is drawn is multinomial, so a resample costs as much as there are distinct rows (three
    for the difference of right and wrong), not as there are samples. Memory: at most 32 MiB, or one resample.
    Source: Efron, Annals of Statistics 1979.

    Args:
        parts: Rows of samples ``[n, k]``.
        statistic: From the means of each part's columns ``[draws, k]`` to ``[draws]``.
    """
    patterns = [(len(part), *np.unique(part, axis=0, return_counts=True)) for part in parts]
    step, rng, found = max(1, _CHUNK // max(len(rows) for _, rows, _ in patterns)), np.random.default_rng(seed), []
    for done in range(0, draws, step):
        size = min(step, draws - done)
        found.append(statistic([rng.multinomial(n, c / n, size=size) @ rows / n for n, rows, c in patterns]))
    low, high = np.quantile(np.concatenate(found), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def paired_bootstrap(a: ArrayLike, b: ArrayLike, draws: int = 10_000, seed: int = 0) -> Interval:
    """95 % interval of the mean of a − b, ``[n]`` each, over samples drawn again."""
    x, y = _finite(a), _finite(b)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} samples cannot be paired with {len(y)}")
    ends = bootstrap([(x - y)[:, None]], lambda means: means[0][:, 0], draws, seed)
    return Interval(float((x - y).mean()), *ends, len(x))


def verdict(difference: Estimate | Interval, higher_is_better: bool = True) -> Verdict:
    """What one interval says: it excludes zero on the better side, on the worse, or not; one value is no evidence."""
    above, below = difference.low > 0, difference.high < 0
    if not (above or below):
        return "no evidence"
    return "helps" if above == higher_is_better else "hurts"


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x) or not np.isfinite(x).all():
        raise ValueError(f"expected a vector of finite values, got {values!r}")
    return x
