"""Decoders on a tree small enough to decode by hand, and at the edges of their input."""

from __future__ import annotations

import pytest
import torch

from hierfit.decoding import DECODERS, best_path, leaf_rollup, level_log_softmax, per_level_argmax, top_down
from hierfit.errors import UserError
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
        # The best node of level 1 is a leaf: a flat prediction ends there, under the wrong parent.
        ({"a": 3, "g": 4, "h": 2}, [0, 6, -1], [1, 6, -1], [0, 3, 7], [0, 3, 7]),
        # A root that is a leaf.
        ({"c": 5, "f": 1}, [2, -1, -1], [2, -1, -1], [2, -1, -1], [2, -1, -1]),
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


def test_best_path_takes_the_mean_over_levels_so_that_short_paths_gain_nothing() -> None:
    # c stands at p = 0.40 alone; a/d/h at 0.45 · 0.9 · 0.9 = 0.36 in product, yet 0.71 in the geometric mean.
    p = torch.tensor([[0.45, 0.15, 0.40, 0.90, 0.04, 0.03, 0.03, 0.90, 0.05, 0.05]])
    assert best_path(p.log(), TREE).tolist() == [[0, 3, 7]]


def test_level_log_softmax() -> None:
    x = torch.arange(10.0)[None].bfloat16()
    p = level_log_softmax(x, TREE).exp()
    assert p.dtype == torch.float32
    torch.testing.assert_close(p[0, :3], torch.tensor([0.0, 1.0, 2.0]).softmax(0))
    torch.testing.assert_close(p[0, 7:], torch.tensor([7.0, 8.0, 9.0]).softmax(0))
    assert level_log_softmax(x.double(), TREE).dtype == torch.float64


@pytest.mark.parametrize("name", DECODERS)
class TestEveryDecoder:
    def test_no_samples(self, name: str) -> None:
        paths = DECODERS[name](torch.empty(0, TREE.num_nodes), TREE)
        assert paths.shape == (0, 3)
        assert paths.dtype == torch.int64

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_decodes_as_its_float_value(self, name: str, dtype: torch.dtype) -> None:
        x = torch.randn(64, TREE.num_nodes, generator=torch.Generator().manual_seed(0)).to(dtype)
        assert torch.equal(DECODERS[name](x, TREE), DECODERS[name](x.float(), TREE))

    def test_keeps_no_graph(self, name: str) -> None:
        assert not DECODERS[name](torch.randn(2, TREE.num_nodes, requires_grad=True), TREE).requires_grad

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_refuses_what_a_diverged_model_says(self, name: str, bad: float) -> None:
        x = torch.zeros(5, TREE.num_nodes)
        x[3, 8] = bad
        with pytest.raises(UserError, match=r"NaN or \+inf in 1 of 5 samples \(first: row 3\)\nHas training"):
            DECODERS[name](x, TREE)

    def test_refuses_the_wrong_axis(self, name: str) -> None:
        with pytest.raises(ValueError, match=r"one score for each of the 10 nodes.*got shape \[4, 6\]"):
            DECODERS[name](torch.zeros(4, TREE.num_leaves), TREE)

    def test_masked_nodes_are_not_chosen(self, name: str) -> None:
        # Only a/e is left: level 2 is masked empty.
        x = torch.full((3, TREE.num_nodes), -torch.inf)
        x[:, [0, 4]] = 0.0
        assert DECODERS[name](x, TREE).tolist() == [[0, 4, -1]] * 3


def test_one_level_leaves_no_choice_to_the_decoder() -> None:
    flat = Taxonomy.from_paths([("a",), ("b",), ("c",)])
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    for decode in DECODERS.values():
        assert torch.equal(decode(x, flat), x.argmax(dim=1, keepdim=True))


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
    x[200] = -torch.inf
    first = x.numpy().argmax(axis=1)
    for decode in (per_level_argmax, leaf_rollup):
        assert torch.equal(decode(x, wide)[:, 0], torch.from_numpy(first))
