"""Labels to nodes: names, paths, and what is said when neither fits."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

SHOP = Taxonomy.from_paths(
    [
        ("Fruit", "Avocado", "Avocado"),
        ("Fruit", "Melon", "Other"),
        ("Packages", "Milk", "Oat"),
        ("Packages", "Milk", "Other"),
        ("Packages", "Yoghurt", "Soy"),
        ("Planes", "McDonnell", "F/A-18"),
    ]
)


def node(*path: str) -> int:
    """Slow and obvious: walk down by child names."""
    current = -1
    for name in path:
        (current,) = (child for child in SHOP.children(current).tolist() if SHOP.names[child] == name)
    return current


@pytest.mark.parametrize(
    ("label", "path"),
    [
        ("Oat", ("Packages", "Milk", "Oat")),
        ("Milk", ("Packages", "Milk")),
        ("Planes", ("Planes",)),
        ("Avocado", ("Fruit", "Avocado", "Avocado")),
        ("Fruit/Avocado", ("Fruit", "Avocado")),
        (["Fruit", "Avocado"], ("Fruit", "Avocado")),
        (("Fruit", "Avocado", ""), ("Fruit", "Avocado")),
        ("Packages/Milk/Other", ("Packages", "Milk", "Other")),
        ("F/A-18", ("Planes", "McDonnell", "F/A-18")),
        ("Planes/McDonnell/F/A-18", ("Planes", "McDonnell", "F/A-18")),
        (["Planes", "McDonnell", "F/A-18"], ("Planes", "McDonnell", "F/A-18")),
        (np.str_("Soy"), ("Packages", "Yoghurt", "Soy")),
    ],
)
def test_find(label: Any, path: tuple[str, ...]) -> None:
    assert SHOP.find(label) == node(*path)


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        ("Other", "'Other' is ambiguous: 'Fruit / Melon / Other', 'Packages / Milk / Other'"),
        ("melone", "'melone' is no name in the tree, did you mean 'Melon'?"),
        ("f_a 18", "'f_a 18' is no name in the tree, did you mean 'F/A-18'?"),
        ("zebra", "'zebra' is no name in the tree"),
        ("Fruit/Milk", "'Fruit / Milk': there is no 'Milk' below 'Fruit'; it is 'Packages / Milk'"),
        (["Milk"], "'Milk': there is no 'Milk' among the roots; it is 'Packages / Milk'"),
        (
            ["Packages", "Milk", "Oat", "x"],
            "'Packages / Milk / Oat / x': there is no 'x' below 'Packages / Milk / Oat'",
        ),
        ("", "an empty label"),
        ([], "an empty label"),
    ],
)
def test_labels_that_cannot_be_placed(label: Any, problem: str) -> None:
    with pytest.raises(UserError, match="the label cannot be placed") as caught:
        SHOP.find(label)
    assert caught.value.problems == (problem,)


def test_a_path_that_can_be_cut_in_two_ways_is_ambiguous() -> None:
    tree = Taxonomy.from_paths([("a", "b/c"), ("a/b", "c")])
    with pytest.raises(UserError, match="'a/b/c' is ambiguous: 'a/b / c', 'a / b/c'"):
        tree.find("a/b/c")
    assert tree.find(["a", "b/c"]) == 2
    assert tree.find("b/c") == 2


def test_resolve_keeps_order_and_repeats() -> None:
    labels = ["Soy", "Oat", "Fruit/Melon/Other", "Oat", ("Fruit",)]
    assert SHOP.resolve(labels).tolist() == [SHOP.find(label) for label in labels]
    assert SHOP.resolve(np.array(["Soy", "Oat"])).tolist() == SHOP.resolve(labels[:2]).tolist()  # type: ignore[arg-type]
    with pytest.raises(UserError, match="must be a name or a list of names, not 3"):
        SHOP.resolve(["Soy", 3])  # type: ignore[list-item]


def test_resolve_lists_all_faults_once() -> None:
    with pytest.raises(UserError) as caught:
        SHOP.resolve(["Oats", "Soy", "Other", "Oats", ["Fruit", "Oat"], "Oats"])
    assert str(caught.value).splitlines() == [
        "3 of 4 distinct labels cannot be placed in the tree",
        "  - 'Oats' is no name in the tree, did you mean 'Oat'? (3 times)",
        "  - 'Other' is ambiguous: 'Fruit / Melon / Other', 'Packages / Milk / Other'",
        "  - 'Fruit / Oat': there is no 'Oat' below 'Fruit'; it is 'Packages / Milk / Oat'",
        "Spell an ambiguous label as its path: a list of names from root to node, or the names joined by '/'.",
    ]


def test_thousands_of_unknown_labels_do_not_cost_thousands_of_searches() -> None:
    tree = Taxonomy.from_paths([(f"species {i}",) for i in range(20_000)])
    start = time.process_time()
    with pytest.raises(UserError, match="and 4980 more") as caught:
        tree.resolve([f"speceis {i}" for i in range(5_000)])
    assert "did you mean" in caught.value.problems[0]
    assert "did you mean" not in caught.value.problems[-1]
    assert time.process_time() - start < 20
