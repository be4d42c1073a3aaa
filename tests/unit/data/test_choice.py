"""Draws in which labels are coarse or classes are rare."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hierfit.data.choice import Choice, coarse_of
from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.data.samples import Split, Table
from hierfit.data.splits import coarse_left_out, draw_fingerprint, training_split, validation_split
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

TREE = Taxonomy.from_paths([("a", "b", "x"), ("a", "b", "y"), ("a", "c"), ("d",)], ("top", "mid", "leaf"))
NAMES = {v: TREE.names[v] for v in range(TREE.num_nodes)}


def table(of_leaf: int = 16, coarse: int = 0) -> Table:
    splits = {}
    for name, count in (("train16", of_leaf), ("val", 9), ("test", 3)):
        labels = [leaf for leaf in "xycd" for _ in range(count)] + ["b"] * coarse
        keys = tuple(f"{name}/{label}/{i}" for i, label in enumerate(labels))
        splits[name] = Split(keys, TREE.resolve(labels))
    return Table(TREE, splits)


def choice(seed: int = 0, **given: Any) -> Choice:
    return Choice(seed=seed, draw_from="train16", **given)


def counts(split: Split) -> dict[str, int]:
    found = split.nodes.bincount(minlength=TREE.num_nodes).tolist()
    return {NAMES[v]: count for v, count in enumerate(found) if count}


def leaf_of(split: Split) -> dict[str, str]:
    return {key: NAMES[v] for key, v in zip(split.keys, split.nodes.tolist(), strict=True)}


COARSE = (("leaf", 2), ("parent", 3), ("top", 4))


def test_labels_are_cut_of_the_first_by_lot() -> None:
    data = table()
    taken = training_split(data, choice(coarse=COARSE))
    # 2 of each leaf; 3 of x and of y by b, of c by a; 4 of these three by a; d has nothing above it.
    assert counts(taken) == {"x": 2, "y": 2, "c": 2, "b": 6, "a": 3 + 3 * 4, "d": 9}
    # The images are those of nine shots, those that are told their leaf those of two.
    assert taken.keys == training_split(data, choice(shots=9)).keys
    finest = {key for key, name in leaf_of(taken).items() if name in "xyc"}
    two = leaf_of(training_split(data, choice(shots=2)))
    assert finest == {key for key, name in two.items() if name != "d"}
    for key, name in leaf_of(taken).items():
        assert name in {"x": "xba", "y": "yba", "c": "ca", "d": "d"}[key.split("/")[1]]
    assert draw_fingerprint(finest) == "62fc6ecce90d0fa5"  # for all time
    assert leaf_of(training_split(data, choice(1, coarse=COARSE))) != leaf_of(taken)


def test_the_counts_of_a_tail_go_round_the_leaves_by_seed() -> None:
    data, tail = table(), (1, 2, 8)
    of_seed = [counts(training_split(data, choice(seed, tail=tail))) for seed in range(12)]
    assert all(sorted(found.values()) == [1, 1, 2, 8] for found in of_seed)
    assert {found["x"] for found in of_seed} == set(tail)
    assert of_seed[0] == counts(training_split(data, choice(0, tail=tail)))
    assert of_seed[0] == {"x": 1, "y": 8, "c": 2, "d": 1}  # for all time
    # Of each leaf they are the first by lot.
    most = set(training_split(data, choice(shots=8)).keys)
    assert set(training_split(data, choice(tail=tail)).keys) <= most


@pytest.mark.parametrize("given", [{"coarse": COARSE}, {"tail": (1, 2, 8)}])
def test_neither_validation_nor_test_is_touched(given: dict[str, Any]) -> None:
    data, full = table(), leaf_of(table().splits["val"])
    chosen = choice(**given)
    train, val = training_split(data, chosen), validation_split(data, chosen)
    assert leaf_of(val).items() <= full.items()
    # As many validation images of a leaf as training is told of, at most 4.
    of_leaf = counts(val)
    assert of_leaf == (
        dict.fromkeys("xycd", 2)
        if "coarse" in given
        else {name: min(count, 4) for name, count in counts(train).items()}
    )
    assert leaf_of(validation_split(data, choice(val_shots="all", **given))) == full
    assert not set(train.keys) & (set(val.keys) | set(data.splits["test"].keys))
    assert counts(data.splits["train16"]) == dict.fromkeys("xycd", 16)


def test_images_without_a_leaf_stay_out_or_come_beside() -> None:
    data, everything = table(coarse=5), torch.ones(TREE.num_nodes, dtype=torch.bool)
    for beside, found in ((0, 0), (2, 2), (None, 5)):
        chosen = choice(coarse=(("leaf", 1), ("parent", 1)), coarse_shots=beside)
        taken = training_split(data, chosen)
        assert counts(taken) == {"x": 1, "y": 1, "c": 1, "d": 2, "a": 1, "b": 2 + found}
        assert coarse_left_out(data, taken, chosen, everything) == 5 - found


def test_too_few_images_are_listed() -> None:
    for given, message in (
        ({"coarse": COARSE}, "data.coarse is 9, but 4 of 4 leaves"),
        ({"tail": (1, 8)}, "data.tail is up to 8, but 2 of 4 leaves"),
    ):
        with pytest.raises(UserError, match=message):
            training_split(table(of_leaf=7), choice(**given))
    taken = training_split(table(of_leaf=3), choice(coarse=COARSE, shots_policy="all"))
    assert counts(taken) == {"x": 2, "y": 2, "c": 2, "b": 2, "a": 1, "d": 3}
    with pytest.raises(UserError, match=r"no split 'train' to draw from\n.*train16: set data.draw_from"):
        training_split(table(), Choice(tail=(1, 2)))


def test_a_choice_says_what_it_is() -> None:
    assert choice(shots=4).protocol == "all classes"
    assert choice(coarse=COARSE).protocol == "all classes, labelled by leaf 2, by parent 3, by top 4"
    assert choice(tail=(1, 8)).protocol == "all classes, long tail 1, 8"
    assert [c.drawn for c in (choice(shots=4), choice(coarse=COARSE), choice(tail=(1, 8)))] == [
        None,
        "2 + 3 + 4",
        "1 to 8",
    ]


def test_the_order_of_keys_does_not_matter() -> None:
    assert coarse_of({"top": 4, "leaf": 2, "parent": 3}, TREE.levels) == COARSE


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
