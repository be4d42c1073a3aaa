"""The true tree against another: hand-made answers, exact verdicts; one sentence from all comparisons."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from hierfit.results.card import ResultCard
from hierfit.results.statistics import Estimate, Interval, paired_bootstrap, paired_difference
from hierfit.search.verdict import Answers, Comparison, TreeVerdict, compare_trees, conclude

LABELS = np.arange(400) % 7
BASE = np.arange(400) < 150


def answers(runs: dict[int, np.ndarray], base: np.ndarray | None = None) -> dict[int, Answers]:
    return {seed: Answers(np.where(right, LABELS, LABELS + 1), LABELS, base) for seed, right in runs.items()}


def some(share: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(400) < share


def test_shares_are_paired_over_seeds() -> None:
    true, other = {s: some(0.9, s) for s in (1, 2, 3)}, {s: some(0.5, 10 + s) for s in (3, 2, 1, 4)}
    found = compare_trees(answers(true), answers(other))
    expected = paired_difference([true[s].mean() for s in (1, 2, 3)], [other[s].mean() for s in (1, 2, 3)])
    assert found.over_seeds == pytest.approx(expected)
    pooled = paired_bootstrap(*(np.mean([side[s] for s in (1, 2, 3)], axis=0) for side in (true, other)))
    assert found.over_samples == pytest.approx(pooled, abs=0.004)
    assert found.effect == "helps"
    assert compare_trees(answers(other), answers(true)).effect == "hurts"


def harmonic(right: np.ndarray) -> float:
    a, b = right[BASE].mean(), right[~BASE].mean()
    return float(2 * a * b / (a + b))


def test_with_classes_held_back_h_decides() -> None:
    sides = {s: some(0.8, s) for s in (0, 5)}, {s: some(0.75, s + 1) for s in (0, 5)}
    found = compare_trees(*(answers(side, BASE) for side in sides))
    expected = paired_difference(*([harmonic(right) for right in side.values()] for side in sides))
    assert found.over_seeds == pytest.approx(expected)
    # The interval against drawing samples again one by one.
    rng, drawn = np.random.default_rng(0), []
    for _ in range(3000):
        rows = np.concatenate([rng.choice(kind, len(kind)) for kind in map(np.flatnonzero, (BASE, ~BASE))])
        first, second = (np.mean([harmonic(right[rows]) for right in side.values()]) for side in sides)
        drawn.append(first - second)
    assert found.over_samples[1:3] == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.006)


def test_both_intervals_must_say_so_and_one_seed_is_no_evidence() -> None:
    """Five samples more of 400 with every seed: seeds agree entirely, other samples might not."""
    true = some(0.8, 0)
    other = true.copy()
    other[np.flatnonzero(true)[:12]] = False
    other[np.flatnonzero(~true)[:7]] = True
    found = compare_trees(answers({1: true, 2: true}), answers({1: other, 2: other}))
    assert found.over_seeds.mean == pytest.approx(5 / 400)
    assert (found.over_seeds.low > 0, found.over_samples.low < 0, found.effect) == (True, True, "no evidence")
    assert compare_trees(answers({1: some(0.9, 0)}), answers({1: some(0.2, 0)})).effect == "no evidence"
    same = compare_trees(answers({1: true}), answers({1: true}))
    assert (same.effect, same.over_seeds.mean, same.over_samples[:3]) == ("no difference", 0.0, (0.0, 0.0, 0.0))
    # As many right, but others: no evidence is not no difference.
    assert compare_trees(answers({1: true}), answers({1: true[::-1]})).effect == "no evidence"


def test_what_cannot_be_paired_is_refused() -> None:
    run = answers({1: some(0.5, 0)})
    for other in (answers({2: some(0.5, 0)}), {1: Answers(LABELS[:9], LABELS[:9], None)}):
        with pytest.raises(ValueError, match="same seeds and test samples"):
            compare_trees(run, other)


def found(points: float, width: float = 0.5, samples: float | None = None, seeds: int = 5) -> Comparison:
    """A difference in points, with the half-widths of its two intervals."""
    mean, half, wide = points / 100, width / 100, (width if samples is None else samples) / 100
    return Comparison(
        Estimate(mean, half if seeds > 1 else math.nan, seeds), Interval(mean, mean - wide, mean + wide, 1440), False
    )


SAME = Comparison(Estimate(0.0, 0.0, 5), Interval(0.0, 0.0, 0.0, 1440), True)
BETTER, CHANCE, WORSE = found(2.12), found(0.3), found(-2.0)


@pytest.mark.parametrize(
    ("flat", "zero", "shuffled", "outcome"),
    [
        (BETTER, BETTER, BETTER, "helps"),
        (CHANCE, BETTER, BETTER, "no evidence"),  # the old way to a false "helps": only the shuffled tree breaks
        (BETTER, CHANCE, BETTER, "no evidence"),
        (BETTER, BETTER, CHANCE, "no evidence"),
        (BETTER, BETTER, WORSE, "no evidence"),
        (BETTER, BETTER, None, "no evidence"),
        (BETTER, BETTER, SAME, "no evidence"),
        (found(2.0, 0.5, samples=3.0), BETTER, BETTER, "no evidence"),
        (WORSE, BETTER, BETTER, "hurts"),
        (BETTER, WORSE, BETTER, "hurts"),  # better than a tree of its own kind, and worse than doing nothing
        (WORSE, CHANCE, None, "hurts"),
        (None, BETTER, BETTER, "no verdict"),
        (BETTER, None, BETTER, "no verdict"),
    ],
)
def test_it_helps_only_where_all_three_say_so(
    flat: Comparison | None, zero: Comparison | None, shuffled: Comparison | None, outcome: str
) -> None:
    given = {"shuffled": shuffled, "flat": flat, "zero-shot": zero}
    assert conclude({k: v for k, v in given.items() if v is not None}, "H").outcome == outcome


def test_what_is_said() -> None:
    all_three = {"flat": BETTER, "zero-shot": found(22.5), "shuffled": found(1.42, 0.83)}
    assert conclude(all_three, "H").sentence == (
        "The tree helps: +2.12 ± 0.50 points of H over no tree, +22.50 ± 0.50 over zero-shot, "
        "+1.42 ± 0.83 over a shuffled tree (5 seeds, 1440 test samples)."
    )
    said = conclude({**all_three, "flat": CHANCE, "shuffled": found(0.1)}, "leaf accuracy").sentence
    assert said.startswith("No evidence that the tree helps: +0.30 ± 0.50 points of leaf accuracy over no tree")
    assert said.endswith("Not beyond chance: over no tree and over a shuffled tree.")
    assert conclude({**all_three, "flat": WORSE}, "H").sentence.startswith("The tree hurts: −2.00 ± 0.50 points of H")
    alone = {"flat": BETTER, "zero-shot": BETTER}
    assert conclude(alone, "H").sentence.endswith("No shuffled tree was tried.")
    assert conclude(alone, "H", shares=False).sentence.endswith(
        "The method shares nothing along the tree: no shuffled one can show that it is this tree."
    )
    once = {name: found(2.0, seeds=1) for name in all_three}
    assert conclude(once, "H").sentence.endswith("(1 seed, 1440 test samples). One seed is no evidence.")
    assert conclude(dict.fromkeys(all_three, SAME), "H").sentence.startswith("No difference: every test sample")
    assert conclude({"shuffled": BETTER}, "H").sentence == (
        "No verdict: the true tree was not held against no tree and zero-shot."
    )


def test_truncated_equals_flat_is_said() -> None:
    def remark(pair: Comparison | None) -> str:
        return conclude({"flat": BETTER, "zero-shot": BETTER}, "H", True, pair).remark

    assert remark(SAME).startswith("Truncated equals flat: every test sample is given the same leaf")
    assert remark(CHANCE) == "Truncated equals flat as far as can be told (truncated − flat: +0.30 ± 0.50 points of H)."
    assert remark(BETTER) == "Truncated − flat: +2.12 ± 0.50 points of H."
    assert remark(None) == ""


def test_printed_and_written_it_ends_and_begins_with_the_verdict(tmp_path: Path) -> None:
    def card(tree: str, seed: int, leaf: float) -> ResultCard:
        data = {"card": "guide", "shots": 16, "images": {"test": 1440}, "protocol": "all classes"}
        data |= {"true_taxonomy_fingerprint": "t", "train_per_leaf": {"min": 2, "median": 3.0, "max": 16}}
        metrics = {"true_tree": {"leaf_accuracy": leaf, "tree_distance": 1 - leaf}}
        return ResultCard(tree, "made up", "M", seed, data, {"source": "tiny"}, "val", ("family", "species"), metrics)

    cards = {tree: {s: card(tree, s, 0.5) for s in (1, 2, 3)} for tree in ("true", "shuffled", "flat", "zero-shot")}
    compared = {"shuffled": BETTER, "flat": CHANCE, "zero-shot": found(30.0)}
    answer = conclude(compared, "leaf accuracy")
    verdict = TreeVerdict(cards, compared, {"induced": "no text"}, answer)
    console = Console(record=True, width=80, file=(tmp_path / "log").open("w"))
    verdict.print(console)
    printed = console.export_text()
    assert max(map(len, printed.partition("No evidence that")[0].splitlines())) <= 80
    assert " ".join(printed.split()).endswith(answer.sentence)
    assert "guide · ≤ 16 shots a leaf (median 3) · seeds 1, 2, 3" in printed
    verdict.write(tmp_path)
    page = (tmp_path / "verdict.md").read_text()
    assert page.startswith(f"**{answer.sentence}**\n")
    assert "| no tree (flat) | +0.30 ±0.50 | +0.30 [−0.20, +0.80] | no evidence |" in page
    assert "> Note: Left out: induced: no text" in page
    facts = json.loads((tmp_path / "verdict.json").read_text())
    assert (facts["format"], facts["verdict"], facts["metric"]) == (
        "hierfit.tree_verdict/2",
        "no evidence",
        "leaf accuracy",
    )
    assert facts["compared"]["flat"]["seeds"] == {"n": 5, "half_width": pytest.approx(0.005)}
