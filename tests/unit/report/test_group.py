"""Which cards are brought together, and what is said where they do not belong together."""

from __future__ import annotations

import math

import pytest

from hierfit.errors import UserError
from hierfit.results.card import ResultCard
from hierfit.results.columns import columns
from hierfit.results.group import summarise
from hierfit.results.shots import shots_text
from hierfit.results.statistics import Estimate

from .conftest import card, data

CARDS = [card("base", s, v) for s, v in [(1, 0.5), (2, 0.6), (3, 0.7)]] + [
    card("ours", s, v) for s, v in [(3, 0.9), (1, 0.6), (2, 0.75)]
]


def test_means_and_differences_over_seeds() -> None:
    (group,) = summarise(CARDS, control="base", wanted="leaf_accuracy,time")
    base, ours = group.rows
    assert (base.name, base.seeds, base.differences) == ("base", (1, 2, 3), ())
    assert (ours.name, ours.seeds) == ("ours", (1, 2, 3))
    # s = 0.1 and t(0.975, 2)/√3 = 2.484138.
    assert base.values[0] == Estimate(pytest.approx(0.6), pytest.approx(0.2484138, abs=1e-6), 3)
    # 0.1, 0.15, 0.2: s = 0.05.
    assert ours.differences[0] == Estimate(pytest.approx(0.15), pytest.approx(0.1242069, abs=1e-6), 3)
    assert ours.differences[1] == Estimate(0.0, 0.0, 3)
    assert group.notes == ()
    assert group.title == "pets · 4 shots a leaf · seeds 1, 2, 3 · 8 test images · tiny"


def test_the_control_comes_first() -> None:
    (group,) = summarise(CARDS, control="ours")
    assert [row.name for row in group.rows] == ["ours", "base"]


def test_shots_data_backbones_and_levels_are_kept_apart_and_ordered() -> None:
    others = [
        card("base", 1, 0.5, data=data(1, shots=16)),
        card("base", 1, 0.5, data=data(1, shots=None)),
        card("base", 1, 0.5, data=data(1, card="cars")),
        card("base", 1, 0.5, data=data(1, card_fingerprint="edited")),
        card("base", 1, 0.5, data=data(1, draw={"train": "draw1", "test": "others"})),
        card("base", 1, 0.5, backbone={"source": "tiny", "fingerprint": "retrained"}),
        card("base", 1, 0.5, levels=("class",)),
    ]
    groups = summarise([*others, *CARDS])
    assert [(g.data, g.shots) for g in groups] == [("cars", 4), *[("pets", 4)] * 5, ("pets", 16), ("pets", None)]
    assert sorted(len(g.rows) for g in groups) == [1] * 7 + [2]


def test_undefined_figures_are_left_out_and_counted() -> None:
    cards = [card("ours", 1, 0.5), card("ours", 2, None), card("ours", 3, 0.7), card("none", 1, None)]
    (group,) = summarise(cards, wanted="leaf_accuracy,fpa")
    assert [v.n if v else None for v in group.rows[0].values] == [2, 3]
    assert group.rows[1].values[0] is None


def test_one_seed_has_a_mean_without_interval() -> None:
    (group,) = summarise(CARDS[:1], wanted="leaf_accuracy")
    (value,) = group.rows[0].values
    assert value is not None
    assert (value.mean, value.n) == (0.5, 1)
    assert math.isnan(value.half_width)
    assert "seed 1 ·" in group.title


def test_mixed_seeds_are_said_and_paired_where_both_are() -> None:
    (group,) = summarise(CARDS[1:], control="base", wanted="leaf_accuracy")
    assert "Rows have different seeds" in group.notes[0]
    assert "base: 2, 3; ours: 1, 2, 3" in group.notes[0]
    assert group.rows[1].differences[0] == Estimate(pytest.approx(0.175), pytest.approx(0.3176551, abs=1e-6), 2)
    with pytest.raises(UserError, match="ours has seeds 2, base has 1"):
        summarise([CARDS[0], CARDS[5]], control="base")


def test_other_draws_are_said_and_not_paired() -> None:
    cards = [CARDS[0], card("ours", 1, 0.6, data=data(1, draw={"train": "another", "test": "test"}))]
    (group,) = summarise(cards)
    assert group.notes == ("Rows were trained on different draws with seed 1.",)
    with pytest.raises(UserError, match="ours was trained on another draw with seed 1"):
        summarise(cards, control="base")


def test_a_run_made_again_counts_once() -> None:
    (group,) = summarise([*CARDS, CARDS[0], card("base", 2, 0.601)])
    assert group.rows[0].seeds == (1, 2, 3)
    assert group.notes == ("base was run more than once with seed 1, 2; the first counts.",)


def lr(row: str, seed: int, leaf: float, **settings: object) -> ResultCard:
    return card(row, seed, leaf, method_settings={"class_path": "x.Ours", "init_args": {"hidden": 8, **settings}})


def test_rows_of_one_name_are_told_apart_by_what_was_set() -> None:
    cards = [lr("ours", s, v, lr=r) for r, v in ((0.003, 0.7), (0.001, 0.6)) for s in (1, 2)]
    (group,) = summarise([*cards, card("base", 1, 0.5), card("base", 2, 0.5)], control="ours (lr 0.001)")
    assert [(row.name, row.seeds) for row in group.rows] == [
        *(("ours (lr 0.001)", (1, 2)), ("ours (lr 0.003)", (1, 2)), ("base", (1, 2))),
    ]
    assert group.notes == ()
    with pytest.raises(
        UserError, match=r"No run has the row 'ours'\.\nRows: ours \(lr 0\.003\), ours \(lr 0\.001\), base"
    ):
        summarise([*cards, card("base", 1, 0.5)], control="ours")
    # Two keys, one of them a mapping; a key that only one has; the tree.
    sums = [lr("ours", 1, 0.5, objective={"hisce": 1}, lr=0.1), lr("ours", 1, 0.5, objective=None, lr=0.2)]
    assert [row.name for row in summarise(sums)[0].rows] == [
        *('ours (objective {"hisce": 1}, lr 0.1)', "ours (objective null, lr 0.2)"),
    ]
    trees = [card("ours", 1, 0.5, data=data(1, tree=tree)) for tree in ("true", "shuffled")]
    assert [row.name for row in summarise(trees)[0].rows] == ["ours (true tree)", "ours (shuffled tree)"]


def test_same_settings_and_other_figures_are_both_kept_and_told_apart_by_what_else_differs() -> None:
    def made(seed: int, leaf: float, commit: str, steps: int = 200) -> ResultCard:
        return card("ours", seed, leaf, versions={"commit": commit, "torch": "2"}, cost={"steps": steps})

    cards = [made(1, 0.5, "abc"), made(2, 0.6, "abc"), made(1, 0.5, "def"), made(2, 0.7, "def")]
    (group,) = summarise(cards, wanted="leaf_accuracy")
    assert [(row.name, row.values[0].mean) for row in group.rows if row.values[0]] == [
        *(("ours (commit abc)", pytest.approx(0.55)), ("ours (commit def)", pytest.approx(0.6))),
    ]
    assert group.notes == (
        "ours: with seed 2, runs of the same settings have different figures; they differ in commit. Each has a row.",
    )
    (group,) = summarise([made(1, 0.5, "abc"), made(1, 0.6, "abc", steps=400)])
    assert [row.name for row in group.rows] == ["ours (steps 200)", "ours (steps 400)"]
    (group,) = summarise([made(1, 0.5, "abc"), made(1, 0.6, "abc")])
    assert [row.name for row in group.rows] == ["ours (run 1)", "ours (run 2)"]
    assert "nor do versions, device or steps differ" in group.notes[0]


def test_other_trees_are_said() -> None:
    cards = [
        *(card("ours", s, 0.5) for s in (1, 2)),
        *(card("flat", s, 0.5, data=data(s, taxonomy_fingerprint="other")) for s in (1, 2)),
    ]
    (group,) = summarise(cards)
    assert group.notes == ("Scored on another tree than ours: flat. Compare leaf accuracy only.",)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"min": 3, "median": 3.0, "max": 4}, "≤ 4 shots a leaf (median 3)"),
        ({"min": 1, "median": 2.5, "max": 4}, "≤ 4 shots a leaf (median 2.5)"),
        ({"min": 4, "median": 4.0, "max": 4}, "4 shots a leaf"),
        (None, "4 shots a leaf"),
        ({"min": "many"}, "4 shots a leaf"),
    ],
)
def test_a_title_says_where_leaves_have_fewer_images(counts: object, said: str) -> None:
    (group,) = summarise([card("ours", 1, 0.5, data=data(1, train_per_leaf=counts))])
    assert group.title == f"pets · {said} · seed 1 · 8 test images · tiny"
    assert shots_text({"shots": None, "train_per_leaf": counts}) == "all training images"


def test_a_control_that_is_nowhere_or_in_one_group_only() -> None:
    with pytest.raises(UserError, match=r"No run has the row 'bass'\.\nRows: base, ours\."):
        summarise(CARDS, control="bass")
    first, second = summarise([*CARDS, card("ours", 1, 0.5, data=data(1, shots=16))], control="base")
    assert (first.control, second.control) == ("base", None)
    assert "no differences" in second.notes[0]
    with pytest.raises(UserError, match="no result card"):
        summarise([])


def test_rows_say_what_they_were_selected_and_tuned_on() -> None:
    cards = [card("ours", 1, 0.5), card("ours", 2, 0.5, selected_on="last step", tuned_on="val")]
    (group,) = summarise(cards)
    assert (group.rows[0].selected_on, group.rows[0].tuned_on) == ("val, last step", "defaults, val")


def test_columns_by_preset_and_by_name() -> None:
    def keys(wanted: str) -> list[str]:
        return [c.key for c in columns(wanted, CARDS, ("class", "kind"))]

    assert keys("default") == [
        *("leaf_accuracy@rollup", "fpa@per_level", "tice@per_level", "fpa@decoded"),
        *("accuracy/class@belief", "accuracy/kind@belief"),
    ]
    assert keys("cost, fpa,fpa@per_level") == [
        *("leaf_accuracy@rollup", "params", "share", "time", "memory", "fpa@per_level"),
    ]
    assert [c.header for c in columns("fpa@best_path,accuracy/kind", CARDS, ())] == ["FPA best path", "kind"]


def test_values_of_columns() -> None:
    shown = columns("leaf_accuracy,fpa@best_path,params,share,time,memory", CARDS, ())
    assert [c.value(CARDS[1]) for c in shown] == [0.6, 0.6, 1200, 0.25, 20.0, 500]
    bare = card("bare", 1, 0.5, parameters={"trainable": 3, "total": 0}, cost={}, metrics={})
    assert [c.value(bare) for c in shown] == [None, None, 3, None, None, None]


def test_unknown_columns_all_at_once() -> None:
    with pytest.raises(UserError) as error:
        columns("leaf_acuracy,fpa@bestpath,levels,qqq", CARDS, ("class",))
    assert error.value.problems == (
        "'leaf_acuracy' – did you mean 'leaf_accuracy'?",
        "'fpa@bestpath' – did you mean 'fpa@best_path'?",
        "'qqq'",
    )
    with pytest.raises(UserError, match="No column"):
        columns(" ,", CARDS, ())
