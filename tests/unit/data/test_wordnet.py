"""From a graph of synsets to a tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierfit.data.layouts.wordnet import leaf_paths, one_parent, read_is_a, read_words
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from tests.unit.data.miniature import IS_A, SYNSETS, WORDNET


def parents() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in IS_A:
        parent, child = line.split()
        found.setdefault(child, []).append(parent)
    return found


def test_a_synset_of_several_parents_keeps_the_most_precise() -> None:
    # A domestic cat is a cat and a domestic animal, both one step below the animals: the first by name counts.
    chosen = one_parent(SYNSETS, parents())
    assert chosen["n02121808"] == "n01317541"
    deeper = parents() | {"n02121620": ["n00000001"], "n00000001": ["n00015388"]}
    assert one_parent(SYNSETS, deeper)["n02121808"] == "n02121620"


def test_single_children_and_the_common_root_are_left_out() -> None:
    paths = leaf_paths(sorted(SYNSETS), parents(), WORDNET, 9)
    assert paths == [
        ("retriever", "golden retriever"),
        ("retriever", "Labrador retriever"),
        ("domestic cat", "tabby"),
        ("domestic cat", "tiger cat"),
    ]


def test_long_paths_lose_their_lowest_inner_names() -> None:
    chain = {f"s{i}": [f"s{i - 1}"] for i in range(1, 5)}
    chain |= {f"t{i}": [f"s{i}"] for i in range(5)}
    words = {name: name.upper() for name in [*chain, "s0"]}
    leaves = ["t0", "t1", "t2", "t3", "s4"]
    assert max(map(len, leaf_paths(leaves, chain, words, 9))) == 4
    assert leaf_paths(leaves, chain, words, 2) == [("T0",), ("S1", "T1"), ("S1", "T2"), ("S1", "T3"), ("S1", "S4")]


def test_siblings_of_one_name_are_told_apart() -> None:
    up = {"a": ["r"], "b": ["r"], "c": ["r"], "d": ["q"], "r": ["e"], "q": ["e"], "f": ["q"]}
    words = {"a": "suit, tank suit", "b": "suit", "c": "suit", "d": "suit", "r": "swimsuit", "q": "court", "f": "x"}
    paths = leaf_paths(["a", "b", "c", "d", "f"], up, words, 9)
    assert paths[0] == ("swimsuit", "suit, tank suit")
    assert paths[1:4] == [("swimsuit", "suit (b)"), ("swimsuit", "suit (c)"), ("court", "suit")]


def test_leaves_without_parent_or_name_are_listed() -> None:
    with pytest.raises(UserError) as caught:
        leaf_paths(["n02123045", "n99999999"], parents(), WORDNET, 9)
    assert "no parent of n99999999" in str(caught.value)
    assert "no name of n99999999" in str(caught.value)


def test_a_cycle_is_named() -> None:
    with pytest.raises(UserError, match="its own ancestor"):
        one_parent(["a"], {"a": ["b"], "b": ["c"], "c": ["a"]})


@given(st.integers(2, 30).flatmap(lambda n: st.lists(st.lists(st.integers(0, n), max_size=3), min_size=n, max_size=n)))
def test_any_graph_without_cycles_makes_a_tree(links: list[list[int]]) -> None:
    up = {f"s{i}": sorted({f"s{j}" for j in above if j < i}) for i, above in enumerate(links)}
    up = {synset: above or ["root"] for synset, above in up.items()}
    inner = {p for above in up.values() for p in above}
    leaves = sorted(set(up) - inner)
    words = dict.fromkeys([*up, "root"], "same name")
    paths = leaf_paths(leaves, up, words, 99)
    tree = Taxonomy.from_paths(paths)
    assert tree.num_leaves == len(leaves)
    assert (tree.num_children != 1).all() or len(leaves) == 1


def test_files_with_faulty_lines(tmp_path: Path) -> None:
    (tmp_path / "is_a").write_text("a b\nlonely\n\nc d\n")
    (tmp_path / "words").write_text("n1\ttench, Tinca tinca\n")
    problems: list[str] = []
    assert read_is_a(tmp_path / "is_a", problems) == {"b": ["a"], "d": ["c"]}
    assert problems == ["is_a:2: 1 fields, expected 2"]
    assert read_words(tmp_path / "words", problems) == {"n1": "tench, Tinca tinca"}
