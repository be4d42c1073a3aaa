from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hierfit.data.choice import Choice, coarse_of
from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.data.samples import Split, Table
from hierfit.data.splits import coarse_left_out, draw, draw_fingerprint, training_split, validation_split
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

TREE = Taxonomy.from_paths([("a", "x"), ("a", "y"), ("b",)])


def make_split(counts: dict[str, int], name: str = "train") -> Split:
    labels = [label for label, count in counts.items() for _ in range(count)]
    keys = tuple(f"{name}/{label}/{i}" for i, label in enumerate(labels))
    return Split(keys, TREE.resolve(labels))


def drawn(split: Split, shots: int, seed: int) -> set[str]:
    return set(split.select(draw(split, TREE, shots, seed)).keys)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(3, 12), min_size=3, max_size=3),
    st.integers(1, 3),
    st.integers(0, 2**40),
    st.randoms(use_true_random=False),
)
def test_a_draw_has_k_of_every_leaf_and_depends_on_seed_and_keys_only(
    counts: list[int], shots: int, seed: int, random: object
) -> None:
    split = make_split(dict(zip("xyb", counts, strict=True)))
    taken = split.select(draw(split, TREE, shots, seed))
    assert torch.bincount(TREE.leaf_index[taken.nodes], minlength=3).tolist() == [shots] * 3
    order = torch.randperm(len(split))
    assert drawn(split.select(order), shots, seed) == set(taken.keys)


def test_draws_are_nested_and_differ_by_seed() -> None:
    split = make_split({"x": 50, "y": 50, "b": 50})
    assert drawn(split, 4, seed=1) < drawn(split, 5, seed=1)
    assert drawn(split, 4, seed=0) != drawn(split, 4, seed=1)


def test_a_draw_is_fixed_for_all_time() -> None:
    """Results of old runs stay comparable only while these numbers do not change."""
    split = make_split({"x": 20, "y": 20, "b": 20})
    rows = draw(split, TREE, 2, seed=0)
    assert rows.tolist() == [5, 9, 34, 37, 49, 51]
    assert draw_fingerprint(split.select(rows).keys) == "88b7f95696c23a06"


def test_other_leaves_do_not_matter() -> None:
    many, few = make_split({"x": 20, "y": 20, "b": 20}), make_split({"x": 20, "y": 3, "b": 3})
    of_x = {key for key in drawn(many, 3, seed=5) if "/x/" in key}
    assert of_x == {key for key in drawn(few, 3, seed=5) if "/x/" in key}


def test_too_few_images_are_listed_with_their_counts() -> None:
    split = make_split({"x": 5, "y": 2, "b": 1})
    with pytest.raises(UserError, match=r"data.shots is 4, but 2 of 3 leaves have fewer images") as caught:
        draw(split, TREE, 4, seed=0, strict=True)
    assert set(caught.value.problems) == {"a/y: 2", "b: 1"}
    assert "shots_policy to all" in caught.value.hint
    taken = split.select(draw(split, TREE, 4, seed=0))
    assert torch.bincount(TREE.leaf_index[taken.nodes], minlength=3).sum() == 4 + 2 + 1


def test_coarse_labels_are_not_drawn_but_used_without_shots() -> None:
    split = make_split({"x": 3, "y": 3, "b": 3, "a": 4})
    taken = split.select(draw(split, TREE, 2, seed=0))
    assert (TREE.leaf_index[taken.nodes] >= 0).all()
    table = Table(TREE, {"train": split})
    assert len(training_split(table, Choice())) == 13
    everything = torch.ones(TREE.num_nodes, dtype=torch.bool)
    assert coarse_left_out(table, taken, Choice(2), everything) == 4
    assert coarse_left_out(table, split, Choice(), everything) == 0
    with pytest.raises(UserError, match="no training image has the label of a leaf"):
        training_split(Table(TREE, {"train": make_split({"a": 4})}), Choice(2, shots_policy="all"))


@pytest.mark.parametrize(("wanted", "found"), [(0, 0), (1, 1), (3, 3), (9, 4), (None, 4)])
def test_coarse_labels_are_drawn_beside_the_leaves(wanted: int | None, found: int) -> None:
    table = Table(TREE, {name: make_split({"x": 3, "y": 3, "b": 3, "a": 4}, name) for name in ("train", "val")})
    for taken in (
        training_split(table, Choice(2, coarse_shots=wanted)),
        validation_split(table, Choice(2, coarse_shots=wanted)),
    ):
        assert torch.bincount(taken.nodes, minlength=4)[TREE.resolve(["x", "y", "b", "a"])].tolist() == [2, 2, 2, found]
    # The leaves' images are those of the draw without coarse ones.
    train = table.splits["train"]
    of_leaves = {key for key in training_split(table, Choice(2, coarse_shots=wanted)).keys if "/a/" not in key}
    assert of_leaves == drawn(train, 2, 0)
    everything = torch.ones(TREE.num_nodes, dtype=torch.bool)
    taken = training_split(table, Choice(2, coarse_shots=wanted))
    assert coarse_left_out(table, taken, Choice(2), everything) == 4 - found


def test_ready_draws_go_first_whatever_the_seed() -> None:
    ready = make_split({"x": 2, "y": 2, "b": 2}, "train2")
    table = Table(TREE, {"train2": ready, "train": make_split({"x": 9, "y": 9, "b": 9})})
    assert training_split(table, Choice(2, seed=7)) is ready
    assert len(training_split(table, Choice(3, seed=7))) == 9


def test_fewer_are_drawn_of_a_ready_draw_that_is_named() -> None:
    full = make_split({"x": 16, "y": 16, "b": 16}, "train16")
    table = Table(TREE, {"train2": make_split({"x": 2}), "train16": full, "test": make_split({"x": 1})})
    found = [training_split(table, Choice(2, seed, draw_from="train16")) for seed in (0, 1, 0)]
    assert found[0].keys == found[2].keys != found[1].keys
    assert all(len(split) == 6 and set(split.keys) <= set(full.keys) for split in found)
    assert training_split(table, Choice(draw_from="train16")).keys == full.keys
    with pytest.raises(UserError, match=r"no split 'train8' to draw from\n.*There is train2, train16"):
        training_split(table, Choice(2, draw_from="train8"))


def test_a_missing_ready_draw_names_those_there_are() -> None:
    table = Table(TREE, {"train16": make_split({"x": 1}), "train2": make_split({"x": 1})})
    for choice in (Choice(4), Choice()):
        with pytest.raises(UserError, match=r"no split 'train' to draw from\n.*or data.shots to 2 or 16"):
            training_split(table, choice)


def test_validation_follows_coops_rule() -> None:
    table = Table(TREE, {"val": make_split({"x": 9, "y": 9, "b": 3}, "val")})
    assert len(validation_split(table, Choice(16))) == 4 + 4 + 3
    assert len(validation_split(table, Choice(2))) == 6
    assert len(validation_split(table, Choice())) == 21
    coarse = Table(TREE, {"val": make_split({"a": 5}, "val")})
    assert len(validation_split(coarse, Choice(16))) == 5


def test_coarse_labels_above_classes_held_back_are_held_back_with_them() -> None:
    """An image known to be some "a" may be of the leaf that must not be seen."""
    split = make_split({"x": 2, "y": 2, "b": 2, "a": 3})
    seen = torch.ones(TREE.num_nodes, dtype=torch.bool)
    assert len(training_split(Table(TREE, {"train": split}), Choice(), seen)) == 9
    seen[TREE.find("y")] = False
    for name in ("train", "val"):
        table = Table(TREE, {name: split})
        kept = (training_split if name == "train" else validation_split)(table, Choice(), seen)
        assert sorted({TREE.names[v] for v in kept.nodes.tolist()}) == ["b", "x"]
        assert len(kept) == 4


# ---------------------------------------------------------------------- coarse labels and rare classes

DEEP = Taxonomy.from_paths([("a", "b", "x"), ("a", "b", "y"), ("a", "c"), ("d",)], ("top", "mid", "leaf"))
DEEP_NAMES = {v: DEEP.names[v] for v in range(DEEP.num_nodes)}


def deep_table(of_leaf: int = 16, coarse: int = 0) -> Table:
    splits = {}
    for name, count in (("train16", of_leaf), ("val", 9), ("test", 3)):
        labels = [leaf for leaf in "xycd" for _ in range(count)] + ["b"] * coarse
        keys = tuple(f"{name}/{label}/{i}" for i, label in enumerate(labels))
        splits[name] = Split(keys, DEEP.resolve(labels))
    return Table(DEEP, splits)


def of_ready(seed: int = 0, **given: Any) -> Choice:
    return Choice(seed=seed, draw_from="train16", **given)


def counts(split: Split) -> dict[str, int]:
    found = split.nodes.bincount(minlength=DEEP.num_nodes).tolist()
    return {DEEP_NAMES[v]: count for v, count in enumerate(found) if count}


def leaf_of(split: Split) -> dict[str, str]:
    return {key: DEEP_NAMES[v] for key, v in zip(split.keys, split.nodes.tolist(), strict=True)}


COARSE = (("leaf", 2), ("parent", 3), ("top", 4))


def test_labels_are_cut_of_the_first_by_lot() -> None:
    data = deep_table()
    taken = training_split(data, of_ready(coarse=COARSE))
    # 2 of each leaf; 3 of x and of y by b, of c by a; 4 of these three by a; d has nothing above it.
    assert counts(taken) == {"x": 2, "y": 2, "c": 2, "b": 6, "a": 3 + 3 * 4, "d": 9}
    # The images are those of nine shots, those that are told their leaf those of two.
    assert taken.keys == training_split(data, of_ready(shots=9)).keys
    finest = {key for key, name in leaf_of(taken).items() if name in "xyc"}
    two = leaf_of(training_split(data, of_ready(shots=2)))
    assert finest == {key for key, name in two.items() if name != "d"}
    for key, name in leaf_of(taken).items():
        assert name in {"x": "xba", "y": "yba", "c": "ca", "d": "d"}[key.split("/")[1]]
    assert draw_fingerprint(finest) == "62fc6ecce90d0fa5"  # for all time
    assert leaf_of(training_split(data, of_ready(1, coarse=COARSE))) != leaf_of(taken)


def test_the_counts_of_a_tail_go_round_the_leaves_by_seed() -> None:
    data, tail = deep_table(), (1, 2, 8)
    of_seed = [counts(training_split(data, of_ready(seed, tail=tail))) for seed in range(12)]
    assert all(sorted(found.values()) == [1, 1, 2, 8] for found in of_seed)
    assert {found["x"] for found in of_seed} == set(tail)
    assert of_seed[0] == counts(training_split(data, of_ready(0, tail=tail)))
    assert of_seed[0] == {"x": 1, "y": 8, "c": 2, "d": 1}  # for all time
    # Of each leaf they are the first by lot.
    most = set(training_split(data, of_ready(shots=8)).keys)
    assert set(training_split(data, of_ready(tail=tail)).keys) <= most


@pytest.mark.parametrize("given", [{"coarse": COARSE}, {"tail": (1, 2, 8)}])
def test_neither_validation_nor_test_is_touched(given: dict[str, Any]) -> None:
    data, full = deep_table(), leaf_of(deep_table().splits["val"])
    chosen = of_ready(**given)
    train, val = training_split(data, chosen), validation_split(data, chosen)
    assert leaf_of(val).items() <= full.items()
    # As many validation images of a leaf as training is told of, at most 4.
    of_leaf = counts(val)
    assert of_leaf == (
        dict.fromkeys("xycd", 2)
        if "coarse" in given
        else {name: min(count, 4) for name, count in counts(train).items()}
    )
    assert leaf_of(validation_split(data, of_ready(val_shots="all", **given))) == full
    assert not set(train.keys) & (set(val.keys) | set(data.splits["test"].keys))
    assert counts(data.splits["train16"]) == dict.fromkeys("xycd", 16)


def test_images_without_a_leaf_stay_out_or_come_beside() -> None:
    data, everything = deep_table(coarse=5), torch.ones(DEEP.num_nodes, dtype=torch.bool)
    for beside, found in ((0, 0), (2, 2), (None, 5)):
        chosen = of_ready(coarse=(("leaf", 1), ("parent", 1)), coarse_shots=beside)
        taken = training_split(data, chosen)
        assert counts(taken) == {"x": 1, "y": 1, "c": 1, "d": 2, "a": 1, "b": 2 + found}
        assert coarse_left_out(data, taken, chosen, everything) == 5 - found


def test_too_few_images_are_listed() -> None:
    for options, message in (
        ({"coarse": COARSE}, "data.coarse is 9, but 4 of 4 leaves"),
        ({"tail": (1, 8)}, "data.tail is up to 8, but 2 of 4 leaves"),
    ):
        with pytest.raises(UserError, match=message):
            training_split(deep_table(of_leaf=7), of_ready(**options))
    taken = training_split(deep_table(of_leaf=3), of_ready(coarse=COARSE, shots_policy="all"))
    assert counts(taken) == {"x": 2, "y": 2, "c": 2, "b": 2, "a": 1, "d": 3}
    with pytest.raises(UserError, match=r"no split 'train' to draw from\n.*train16: set data.draw_from"):
        training_split(deep_table(), Choice(tail=(1, 2)))


def test_a_choice_says_what_it_is() -> None:
    assert of_ready(shots=4).protocol == "all classes"
    assert of_ready(coarse=COARSE).protocol == "all classes, labelled by leaf 2, by parent 3, by top 4"
    assert of_ready(tail=(1, 8)).protocol == "all classes, long tail 1, 8"
    assert [c.drawn for c in (of_ready(shots=4), of_ready(coarse=COARSE), of_ready(tail=(1, 8)))] == [
        None,
        "2 + 3 + 4",
        "1 to 8",
    ]


def test_the_order_of_keys_does_not_matter() -> None:
    assert coarse_of({"top": 4, "leaf": 2, "parent": 3}, DEEP.levels) == COARSE


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"coarse": {"leaf": 2}}, "data.shots and data.coarse: each says how many images of a leaf"),
        ({"coarse": {"leaf": 2}, "tail": [1], "shots": None}, "data.coarse and data.tail: each says"),
        ({"tail": [0, 1], "shots": None}, "data.tail: 0: 0, must be 1 or more"),
        ({"tail": [], "shots": None}, "data.tail: is empty"),
        ({"coarse": {"leaf": 2, "parent": 0}, "shots": None}, "data.coarse: parent: 0, must be 1 or more"),
        ({"coarse": {"parent": 2}, "shots": None}, "leaf is missing; .* set data.train_level"),
        ({"coarse": {"leaf": 2, "famly": 2}, "shots": None}, "did you mean 'family'"),
        ({"coarse": {"leaf": 2}, "shots": None, "novel": "halves"}, "neither data.novel nor data.train_level"),
    ],
)
def test_what_does_not_go_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        HierarchicalDataModule("fieldguide", **given)
