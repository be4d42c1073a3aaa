"""Decoders on a tree small enough to decode by hand, against the definition on ragged trees, and at the edges."""

from __future__ import annotations

import pytest
import torch

from hierfit.decoding import (
    best_path,
    leaf_rollup,
    level_log_softmax,
    path_log_probabilities,
    per_level_argmax,
    top_down,
)
from hierfit.metrics.functional import is_tree_path
from hierfit.taxonomy import Taxonomy

# Numbered alphabetically: a b c, then d e (of a) and f g (of b), then h i (of d) and j (of f).
ROWS = [("a", "d", "h"), ("a", "d", "i"), ("a", "e"), ("b", "f", "j"), ("b", "g"), ("c",)]
TREE = Taxonomy.from_paths(ROWS)


def logits(**scores: float) -> torch.Tensor:
    """[1, N] zeros but for the named nodes."""
    row = torch.zeros(1, TREE.num_nodes)
    for name, score in scores.items():
        row[0, TREE.names.index(name)] = score
    return row


@pytest.mark.parametrize(
    ("scores", "per_level", "rollup", "top", "best"),
    [
        # Levels disagree: a flat reading says a, then b's child f, then a's grandchild i.
        ({"a": 3, "f": 3, "i": 4}, [0, 5, 8], [0, 3, 8], [0, 3, 8], [0, 3, 8]),
        # The best node of level 1 is a leaf, under the wrong parent; it stands in the cut of level 2 as well.
        ({"a": 3, "g": 4, "h": 2}, [0, 6, 6], [1, 6, -1], [0, 3, 7], [1, 6, -1]),
        # A root that is a leaf wins every cut.
        ({"c": 5, "f": 1}, [2, 2, 2], [2, -1, -1], [2, -1, -1], [2, -1, -1]),
        # Greedy goes to b by a hair; two levels of evidence for a/d/h outweigh it.
        ({"b": 1, "a": 0.9, "d": 4, "h": 4}, [1, 3, 7], [0, 3, 7], [1, 5, 9], [0, 3, 7]),
        # The roll-up follows one leaf's score against all its ancestors.
        ({"a": 6, "d": 6, "h": 1, "j": 1.5}, [0, 3, 9], [1, 5, 9], [0, 3, 7], [0, 3, 7]),
    ],
)
def test_decoded_by_hand(
    scores: dict[str, float], per_level: list[int], rollup: list[int], top: list[int], best: list[int]
) -> None:
    x = logits(**scores)
    assert per_level_argmax(x, TREE).tolist() == [per_level]
    assert leaf_rollup(x, TREE).tolist() == [rollup]
    assert top_down(x, TREE).tolist() == [top]
    assert best_path(x, TREE).tolist() == [best]


def test_a_leaf_that_ended_above_takes_part_in_every_deeper_level() -> None:
    # Weights of c, e and g, which end above level 2, and of the level's own h, i, j: within the level alone h would
    # have 0.9, among all leaves it has 0.45.
    weight = torch.tensor([[0.45, 0.15, 0.40, 0.90, 0.30, 0.03, 0.27, 0.90, 0.05, 0.05]])
    p = level_log_softmax(weight.log(), TREE).exp()
    torch.testing.assert_close(p[0, :3], weight[0, :3])
    torch.testing.assert_close(p[0, 3:7], weight[0, 3:7] / 1.90)  # with c's 0.40
    torch.testing.assert_close(p[0, 7:], weight[0, 7:] / 1.97)  # with c's 0.40, e's 0.30 and g's 0.27
    # a/d/h: 0.45 · 0.9/1.9 · 0.9/1.97; c: 0.40 · 0.4/1.9 · 0.4/1.97.
    found = path_log_probabilities(weight.log(), TREE).exp()
    assert found[0, TREE.leaf_index[7]] == pytest.approx(0.45 * 0.9 * 0.9 / (1.9 * 1.97))
    assert found[0, TREE.leaf_index[2]] == pytest.approx(0.40 * 0.4 * 0.4 / (1.9 * 1.97))
    half = torch.arange(10.0)[None].bfloat16()
    assert level_log_softmax(half, TREE).dtype == torch.float32
    assert level_log_softmax(half.double(), TREE).dtype == torch.float64


@pytest.mark.parametrize("rows", [[("a", "b"), ("a", "c"), ("d", "e")], [("a", "b", "c"), ("d", "e", "f")]])
def test_even_trees_are_read_to_the_bit_as_levels(rows: list[tuple[str, ...]]) -> None:
    tree = Taxonomy.from_paths(rows)
    x = torch.randn(40, tree.num_nodes, generator=torch.Generator().manual_seed(0))
    levels = torch.cat([x[:, nodes].log_softmax(1) for nodes in tree.level_slices], 1)
    assert torch.equal(level_log_softmax(x, tree), levels)
    argmax = torch.stack([nodes.start + x[:, nodes].argmax(1) for nodes in tree.level_slices], 1)
    assert torch.equal(per_level_argmax(x, tree), argmax)


def test_wide_and_narrow_families_side_by_side() -> None:
    # The window over b's only child is padded past the end of the node axis.
    tree = Taxonomy.from_paths([*(("a", f"x{i}") for i in range(50)), ("b", "y")])
    x = torch.zeros(2, tree.num_nodes)
    x[0, 1] = x[1, 0] = 1.0
    x[1, 30] = 1.0
    assert top_down(x, tree).tolist() == [[1, 52], [0, 30]]
    assert is_tree_path(top_down(x, tree), tree).all()


@pytest.mark.parametrize("nodes", [3, 511, 512, 513, 1000, 1024, 2177])
def test_best_of_many_nodes_is_the_first_of_the_best(nodes: int) -> None:
    # Wide levels are searched in blocks; few different scores make ties within blocks and across them.
    wide = Taxonomy.from_paths([(f"n{i:04}",) for i in range(nodes)])
    generator = torch.Generator().manual_seed(nodes)
    x = torch.randint(-2, 3, (300, nodes), generator=generator).float()
    x[:100, :] -= 3 * (torch.rand(100, nodes, generator=generator) < 0.999)
    x[100:200] = -torch.inf
    x[torch.arange(100, 200), torch.randint(nodes, (100,), generator=generator)] = 0.0
    first = x.numpy().argmax(axis=1)
    for decode in (per_level_argmax, leaf_rollup):
        assert torch.equal(decode(x, wide)[:, 0], torch.from_numpy(first))
