"""The true tree against another: hand-made answers, exact verdicts."""

from __future__ import annotations

import numpy as np
import pytest

from hierfit.results.statistics import paired_bootstrap, paired_difference
from hierfit.search.verdict import Answers, compare_trees

LABELS = np.arange(400) % 7


def answers(right: np.ndarray, base: np.ndarray | None = None) -> Answers:
    return Answers(np.where(right, LABELS, LABELS + 1), LABELS, base)


def some(share: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(400) < share


def test_shares_are_paired_over_seeds() -> None:
    true = {seed: some(0.9, seed) for seed in (1, 2, 3)}
    other = {seed: some(0.5, 10 + seed) for seed in (3, 2, 1, 4)}
    found = compare_trees(
        {s: answers(r) for s, r in true.items()},
        {s: answers(r) for s, r in other.items()},
    )
    expected = paired_difference([true[s].mean() for s in (1, 2, 3)], [other[s].mean() for s in (1, 2, 3)])
    assert found.over_seeds == pytest.approx(expected)
    pooled = paired_bootstrap(*(np.mean([side[s] for s in (1, 2, 3)], axis=0) for side in (true, other)))
    assert found.over_samples == pytest.approx(pooled, abs=0.004)
    assert found.effect == "helps"
    back = compare_trees({s: answers(r) for s, r in other.items()}, {s: answers(r) for s, r in true.items()})
    assert back.effect == "hurts"


def test_with_classes_held_back_h_decides() -> None:
    base = np.arange(400) < 150
    true, other = {s: some(0.8, s) for s in (0, 5)}, {s: some(0.75, s + 1) for s in (0, 5)}

    def h(right: np.ndarray) -> float:
        a, b = right[base].mean(), right[~base].mean()
        return float(2 * a * b / (a + b))

    pairs = [{s: answers(r, base) for s, r in side.items()} for side in (true, other)]
    found = compare_trees(*pairs)
    expected = paired_difference([h(r) for r in true.values()], [h(r) for r in other.values()])
    assert found.over_seeds == pytest.approx(expected)
    # The interval against drawing samples again one by one.
    rng = np.random.default_rng(0)
    kinds = [np.flatnonzero(base), np.flatnonzero(~base)]
    drawn = []
    for _ in range(3000):
        rows = np.concatenate([rng.choice(kind, len(kind)) for kind in kinds])
        again = [[h_of(side[s][rows], base) for s in (0, 5)] for side in (true, other)]
        drawn.append(np.mean(again[0]) - np.mean(again[1]))
    assert (found.over_samples.low, found.over_samples.high) == pytest.approx(
        tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.006
    )


def h_of(right: np.ndarray, base: np.ndarray) -> float:
    a, b = right[: base.sum()].mean(), right[base.sum() :].mean()
    return float(2 * a * b / (a + b))


def test_both_intervals_must_say_so() -> None:
    """Five samples more of 400 with every seed: seeds agree entirely, other samples might not."""
    true = some(0.8, 0)
    other = true.copy()
    other[np.flatnonzero(true)[:12]] = False
    other[np.flatnonzero(~true)[:7]] = True
    found = compare_trees({s: answers(true) for s in (1, 2)}, {s: answers(other) for s in (1, 2)})
    assert found.over_seeds.mean == pytest.approx(5 / 400)
    assert found.over_seeds.low > 0
    assert found.over_samples.low < 0
    assert found.effect == "no evidence"


def test_one_seed_is_no_evidence() -> None:
    found = compare_trees({1: answers(some(0.9, 0))}, {1: answers(some(0.2, 0))})
    assert found.effect == "no evidence"


def test_the_same_answers_make_no_difference() -> None:
    right = some(0.5, 0)
    same = compare_trees({1: answers(right)}, {1: answers(right)})
    assert (same.effect, same.over_seeds.mean, same.over_samples[:3]) == ("no difference", 0.0, (0.0, 0.0, 0.0))
    # As many right, but others: no evidence is not no difference.
    assert compare_trees({1: answers(right)}, {1: answers(right[::-1])}).effect == "no evidence"


def test_what_cannot_be_paired_is_refused() -> None:
    with pytest.raises(ValueError, match="same seeds"):
        compare_trees({1: answers(some(0.5, 0))}, {2: answers(some(0.5, 0))})
    with pytest.raises(ValueError, match="test samples"):
        compare_trees({1: answers(some(0.5, 0))}, {1: Answers(LABELS[:9], LABELS[:9], None)})
