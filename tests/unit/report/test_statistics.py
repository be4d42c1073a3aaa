"""Intervals and tests against tables, scipy and slow obvious oracles."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hierfit.results.statistics import (
    Estimate,
    Interval,
    holm,
    mcnemar,
    p_value,
    paired_bootstrap,
    paired_difference,
    t_interval,
    verdict,
    verdicts,
)


def test_seeds_by_hand() -> None:
    # s = 1 and t(0.975, 2) = 4.302653 from the table.
    estimate = t_interval([1.0, 2.0, 3.0])
    assert (estimate.mean, estimate.half_width, estimate.n) == (2.0, pytest.approx(4.302653 / math.sqrt(3)), 3)
    assert (estimate.low, estimate.high) == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-5)
    # Differences 0.1, 0.2, 0.3: a pairing takes out what the seeds share.
    difference = paired_difference([0.2, 0.9, 0.5], [0.1, 0.7, 0.2])
    assert difference == Estimate(pytest.approx(0.2), pytest.approx(0.2484138, abs=1e-6), 3)
    assert t_interval([0.1] * 3) == Estimate(pytest.approx(0.1), 0.0, 3)  # equal values have no spread
    one = t_interval([0.7])
    assert (one.mean, one.n, verdict(one), p_value(one)) == (0.7, 1, "no evidence", 1.0)
    assert math.isnan(one.half_width)


@given(st.lists(st.integers(-100, 100), min_size=2, max_size=10), st.sampled_from([0.9, 0.95, 0.99]))
def test_an_interval_is_scipys(percents: list[int], confidence: float) -> None:
    values = [percent / 100 for percent in percents]
    estimate = t_interval(values, confidence)
    if len(set(values)) == 1:
        assert estimate.half_width == 0
        return
    low, high = stats.t.interval(confidence, len(values) - 1, np.mean(values), stats.sem(values))
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        *((lambda bad=bad: t_interval(bad), "finite") for bad in ([], [math.nan], [1.0, math.inf], [[1.0]])),
        (lambda: paired_difference([1, 2], [1]), "2 values cannot be paired with 1"),
        (lambda: paired_bootstrap([1, 2], [1]), "2 samples cannot be paired with 1"),
        *((lambda a=a: mcnemar(a, [True, False]), "two bool vectors") for a in ([True], [1, 0], [[True, True]])),
    ],
)
def test_values_that_are_none_or_do_not_match(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 5))
def test_mcnemar_is_the_binomial_test(only_a: int, only_b: int, same: int) -> None:
    a = np.array([True] * only_a + [False] * only_b + [True] * same, dtype=bool)
    b = np.array([False] * only_a + [True] * only_b + [True] * same, dtype=bool)
    found = mcnemar(a, b)
    assert (found.only_a, found.only_b) == (only_a, only_b)
    expected = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert found.p == pytest.approx(expected, rel=1e-9)


def test_a_bootstrap_agrees_with_drawing_samples_and_is_drawn_by_its_seed() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random(80) < 0.7, rng.random(80) < 0.5
    found = paired_bootstrap(a, b, draws=20_000)
    d = a.astype(float) - b
    means = d[rng.integers(80, size=(20_000, 80))].mean(axis=1)
    assert (found.mean, found.n) == (pytest.approx(d.mean()), 80)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.013)
    x, y = rng.normal(size=(2, 5000))  # any values will do
    found = paired_bootstrap(x, y, draws=1000, seed=5)
    assert found == paired_bootstrap(x, y, draws=1000, seed=5) != paired_bootstrap(x, y, draws=1000, seed=6)
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(2 / 5000), rel=0.1)


def test_a_bootstrap_covers_the_true_difference() -> None:
    # 200 data sets with true difference 0.2: 95 % of the intervals should hold it; 3 σ of Binomial(200, .95) is 9.
    rng = np.random.default_rng(0)
    drawn = [paired_bootstrap(rng.random(150) < 0.7, rng.random(150) < 0.5, draws=500) for _ in range(200)]
    assert 181 <= sum(found.low <= 0.2 <= found.high for found in drawn) <= 199


def test_a_verdict() -> None:
    for low, high, if_higher, if_lower in (
        (0.1, 0.3, "helps", "hurts"),
        (-0.3, -0.1, "hurts", "helps"),
        *((low, high, "no evidence", "no evidence") for low, high in ((-0.1, 0.3), (0.0, 0.3), (0.0, 0.0))),
    ):
        interval = Interval((low + high) / 2, low, high, 10)
        assert (verdict(interval, True), verdict(interval, False)) == (if_higher, if_lower)


@given(st.lists(st.integers(-50, 100), min_size=2, max_size=10), st.sampled_from([0.9, 0.95]))
def test_p_is_the_t_tests(percents: list[int], confidence: float) -> None:
    values = [percent / 100 for percent in percents]
    found = p_value(t_interval(values, confidence), confidence)
    if len(set(values)) == 1:
        assert found == (1.0 if values[0] == 0 else 0.0)
        return
    assert found == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue, abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_the_step_down_test(ps: list[float]) -> None:
    """Rejects in order while p_(k) ≤ α/(m − k + 1), and then stops."""
    alpha = 0.05
    rejected = set()
    for k, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        if ps[index] > alpha / (len(ps) - k):
            break
        rejected.add(index)
    corrected = holm(ps)
    near = [abs(p - alpha) < 1e-12 for p in corrected]
    assert all((p <= alpha) == (i in rejected) or near[i] for i, p in enumerate(corrected))


def test_marks_are_corrected_and_not_small() -> None:
    assert verdicts([(0.05, 0.03, True)]) == ["helps"]
    assert verdicts([(0.05, 0.03, True), (0.05, 0.04, True)]) == ["no evidence"] * 2
    assert verdicts([(0.05, 0.01, True), (0.05, 0.04, False)]) == ["helps", "hurts"]
    assert verdicts([(0.002, 0.0, True), (-0.0019, 0.0, True), (-0.002, 0.0, False)]) == [
        *("helps", "no evidence", "helps")
    ]
    assert verdicts([(0.001, 0.0, False)], least=[0.0]) == ["hurts"]
