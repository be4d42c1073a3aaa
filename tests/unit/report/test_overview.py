"""One table over several data sets: averages as the papers print them."""

from __future__ import annotations

import pytest

from hierfit.results.card import ResultCard
from hierfit.results.columns import read_published
from hierfit.results.summary import overviews

SETS = sorted({name for row in read_published() if row.protocol == "novel halves" for name in row.figures})


def card(data: str, row: str = "ours", seed: int = 1, protocol: str = "novel halves", **figures: float) -> ResultCard:
    facts = {"card": data, "shots": 16, "protocol": protocol}
    decoder = "base_to_novel" if "h" in figures else "rollup"
    backbone = {"source": "openai/clip-vit-base-patch16"}
    return ResultCard(row, "e", "M", seed, facts, backbone, "val", ("a",), {decoder: figures})


def test_averages_are_those_that_the_papers_print() -> None:
    """The eleven sets' figures, as published, against the averages of PromptSRC's table."""
    (table,) = overviews([card(name, base=0.8, novel=0.6, h=0.6857) for name in SETS])
    assert len(SETS) == 11
    printed = {
        "CLIP": (69.34, 74.22, 71.70),
        "CoOp": (82.69, 63.22, 71.66),
        "CoCoOp": (80.47, 71.69, 75.83),
        "MaPLe": (82.28, 75.14, 78.55),
        "PromptSRC": (84.26, 76.10, 79.97),
    }
    for name, figures in printed.items():
        row = table.row(f"{name} (published)")
        found = [100 * (row[f"average {key}@base_to_novel"].number or 0) for key in ("base", "novel", "h")]
        assert found == pytest.approx(figures, abs=0.011)
    ours = table.row("ours")
    assert ours["average h@base_to_novel"].number == pytest.approx(2 * 0.8 * 0.6 / 1.4)
    assert ours["imagenet"].number == 0.6857


def test_averages_over_targets_are_those_that_the_papers_print() -> None:
    names = {name for row in read_published() if row.protocol == "trained on imagenet" for name in row.figures}
    (table,) = overviews([card(name, protocol="trained on imagenet", leaf_accuracy=0.5) for name in names])
    printed = {"CoOp": 63.88, "CoCoOp": 65.74, "MaPLe": 66.30, "PromptSRC": 65.81}
    found = {name: table.row(f"{name} (published)")["average leaf_accuracy@rollup"].number for name in printed}
    assert {name: round(100 * (figure or 0), 2) for name, figure in found.items()} == printed


def test_targets_make_the_average_and_a_row_without_one_of_them_has_none() -> None:
    on = {"protocol": "trained on imagenet"}
    cards = [card("imagenet", protocol="all classes", seed=s, leaf_accuracy=0.9) for s in (1, 2)]
    cards += [card("dtd_coop", seed=s, **on, leaf_accuracy=0.2 * s) for s in (1, 2)]
    cards += [card("eurosat_coop", seed=s, **on, leaf_accuracy=0.4) for s in (1, 2)]
    cards += [card("dtd_coop", "half", **on, leaf_accuracy=0.5)]
    (table,) = overviews(cards)
    average = table.row("ours")["average leaf_accuracy@rollup"]
    assert average.number == pytest.approx((0.3 + 0.4) / 2)
    assert average.text(table.columns[2]).startswith("35.00 ±")
    assert table.row("half")["average leaf_accuracy@rollup"].number is None
    assert table.row("half")["dtd_coop"].number == 0.5
    assert table.title.startswith("average over 2 of 3 data sets · 16 shots a leaf")
    assert overviews(cards[:2]) == []
