"""Confusion in the order of the tree: by hand, and against a slow walk over random ragged trees."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hierfit.decoding import best_path
from hierfit.report.sections.confusion import confusion, frontier, tree_order
from hierfit.taxonomy import Taxonomy
from tests.oracles import cut, forests, quick

from .conftest import samples

#    0: a  1: b  2: c (leaf)  |  3: a1 4: a2 5: b1  |  6: a1x 7: a1y 8: b1x
TREE = Taxonomy.from_paths([("a", "a1", "x"), ("a", "a1", "y"), ("a", "a2"), ("b", "b1", "x"), ("c",)])


def _walk(tree: Taxonomy, node: int = -1) -> list[int]:
    """Nodes depth first."""
    below = [v for child in tree.children(node).tolist() for v in _walk(tree, child)]
    return below if node < 0 else [node, *below]


def test_by_hand() -> None:
    leaves = frontier(TREE, 2)
    assert [TREE.full_name(v) for v in leaves.tolist()] == ["a/a1/x", "a/a1/y", "a/a2", "b/b1/x", "c"]
    target = TREE.paths(torch.tensor([6, 6, 7, 2, 8, 0]))
    predicted = TREE.paths(torch.tensor([6, 7, 8, 2, 4, 6]))
    found = confusion(predicted, target, TREE)
    assert set(found.cells) == {
        (0, 0, 1),
        (0, 1, 1),
        (1, 3, 1),
        (3, 2, 1),
        (4, 4, 1),
    }  # the sample known to be an a is out
    assert found.totals == [2, 1, 0, 1, 1]
    assert found.blocks(0) == [(0, 3, 0), (3, 4, 1), (4, 5, 2)]
    assert found.blocks(1) == [(0, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 2)]
    coarse = confusion(predicted, target, TREE, limit=4)
    assert coarse.depth == 1
    assert [TREE.names[v] for v in coarse.nodes.tolist()] == ["a1", "a2", "b1", "c"]
    assert sum(count for *_, count in coarse.cells) == 5


def test_of_too_many_roots_those_with_most_mistakes_are_shown() -> None:
    tree = Taxonomy.from_paths([(f"r{i}",) for i in range(6)])
    predicted = torch.tensor([0, 1, 4, 4, 5, 2])[:, None]
    target = torch.tensor([0, 4, 1, 4, 4, 5])[:, None]
    found = confusion(predicted, target, tree, limit=3)
    assert found.nodes.tolist() == [1, 4, 5]
    assert found.left_out == 3
    assert set(found.cells) == {(0, 1, 1), (1, 0, 1), (1, 1, 1), (1, 2, 1)}


@quick
@given(forests(14), st.integers(0, 2**16), st.integers(1, 14))
def test_as_a_slow_walk_counts(tree: Taxonomy, seed: int, limit: int) -> None:
    target, logits = samples(tree, seed)
    predicted = best_path(logits, tree)
    found = confusion(predicted, target, tree, limit)
    order = _walk(tree)
    before = tree_order(tree).tolist()
    assert [before[v] for v in order] == sorted(before)
    depth = found.depth
    nodes = [v for v in order if v in cut(tree, depth)]
    assert found.left_out == max(0, len(nodes) - limit)
    if not found.left_out:
        assert found.nodes.tolist() == nodes
        assert depth == tree.num_levels - 1 or len(cut(tree, depth + 1)) > limit
    shown = set(found.nodes.tolist())
    counts: Counter[tuple[int, int]] = Counter()
    for true, own in zip(target.tolist(), predicted.tolist(), strict=True):
        pair = max(true[: depth + 1]), max(own[: depth + 1])
        if set(pair) <= shown:
            counts[pair] += 1
    names = found.nodes.tolist()
    assert {(names[r], names[c]): n for r, c, n in found.cells} == counts
    for above in range(depth):
        for start, stop, node in found.blocks(above):
            assert all(node in tree.paths(found.nodes[i]).tolist() for i in range(start, stop))


@pytest.mark.parametrize("leaves", [10_000])
def test_ten_thousand_leaves_take_no_matrix(leaves: int) -> None:
    tree = Taxonomy.from_paths([(f"o{i // 1000}", f"f{i // 100}", f"s{i}") for i in range(leaves)])
    nodes = torch.randint(0, leaves, (20_000,), generator=torch.Generator().manual_seed(0))
    target, predicted = tree.leaf_paths[nodes], tree.leaf_paths[nodes.flip(0)]
    found = confusion(predicted, target, tree)
    assert (found.depth, len(found.nodes), sum(count for *_, count in found.cells)) == (1, 100, 20_000)
