"""One verdict from made-up comparisons: each outcome, and what is said of it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from rich.console import Console

from hierfit.results.card import ResultCard
from hierfit.results.table import Estimate, Interval
from hierfit.search.verdict import Comparison, TreeVerdict, conclude


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
        return ResultCard(
            row=tree,
            experiment="made up",
            method="LatHAdapter",
            seed=seed,
            data={
                **{"card": "guide", "shots": 16, "images": {"test": 1440}, "protocol": "all classes"},
                **{"true_taxonomy_fingerprint": "t", "train_per_leaf": {"min": 2, "median": 3.0, "max": 16}},
            },
            backbone={"source": "tiny"},
            selected_on="val",
            levels=("family", "species"),
            metrics={"true_tree": {"leaf_accuracy": leaf, "tree_distance": 1 - leaf}},
        )

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
    assert "| no tree (flat) | +0.30 ±0.50 | [−0.20, +0.80] | no evidence |" in page
    assert "> Note: Left out: induced: no text" in page
