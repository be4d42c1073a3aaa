"""HCA and MTA against loops over samples, families and cuts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hierfit.decoding import leaf_rollup, top_down
from hierfit.metrics import HierarchicalConsistentAccuracy, MeanTreecutAccuracy
from hierfit.metrics.consistency import consistent_right, random_cuts
from hierfit.taxonomy import Taxonomy

quick = settings(max_examples=60, deadline=None)


@st.composite
def scored(draw: st.DrawFn) -> tuple[Taxonomy, Tensor, Tensor]:
    """A ragged forest, logits in eighths so that ties occur, and labels of which some stop early."""
    parents = [draw(st.integers(-1, i - 1)) for i in range(draw(st.integers(1, 20)))]
    tree = Taxonomy.from_parents([f"n{i}" for i in range(len(parents))], parents)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    samples = draw(st.integers(0, 8))
    logits = torch.from_numpy(rng.integers(-8, 9, (samples, tree.num_nodes)) / 8.0)
    target = tree.paths(torch.from_numpy(rng.integers(-1, tree.num_nodes, samples)))
    return tree, logits, target


def chain(tree: Taxonomy, node: int) -> list[int]:
    return [node, *chain(tree, int(tree.parent[node]))] if node >= 0 else []


def children(tree: Taxonomy, parent: int) -> list[int]:
    return [v for v, above in enumerate(tree.parent.tolist()) if above == parent]


@quick
@given(scored(), st.integers(0, 100))
def test_against_loops(case: tuple[Taxonomy, Tensor, Tensor], seed: int) -> None:
    tree, logits, target = case
    cuts = [[v for v, inside in enumerate(cut) if inside] for cut in random_cuts(tree, 7, seed).tolist()]
    right, of_cuts = [], [[] for _ in cuts]  # type: ignore[var-annotated]
    for scores, path in zip(logits.tolist(), target.tolist(), strict=True):
        node = max(path)
        up = chain(tree, node)
        if node >= 0 and not children(tree, node):
            leaves = [v for v in range(tree.num_nodes) if not children(tree, v)]
            choices = [(leaves, node), *((children(tree, int(tree.parent[v])), v) for v in up)]
            right.append(all(max(rivals, key=lambda v: scores[v]) == truth for rivals, truth in choices))
        for cut, hits in zip(cuts, of_cuts, strict=True):
            if truth := set(cut) & set(up):
                hits.append({max(cut, key=lambda v: scores[v])} == truth)
    hca = HierarchicalConsistentAccuracy(tree)(logits, target)
    mta = MeanTreecutAccuracy(tree, 7, seed)(logits, target)
    means = [sum(hits) / len(hits) for hits in of_cuts if hits]
    assert hca.item() == pytest.approx(sum(right) / len(right) if right else math.nan, nan_ok=True)
    assert mta.item() == pytest.approx(sum(means) / len(means) if means else math.nan, nan_ok=True)


@quick
@given(scored())
def test_consistent_is_at_most_the_best_leaf_and_the_greedy_descent(case: tuple[Taxonomy, Tensor, Tensor]) -> None:
    tree, logits, target = case
    leaf = target.amax(dim=1)
    right = consistent_right(logits, target, tree)
    both = (leaf_rollup(logits, tree).amax(dim=1) == leaf) & (top_down(logits, tree).amax(dim=1) == leaf)
    assert torch.equal(right, both)  # the descent takes the best child at every ancestor


@quick
@given(scored(), st.integers(0, 100))
def test_every_leaf_lies_below_one_node_of_a_cut(case: tuple[Taxonomy, Tensor, Tensor], seed: int) -> None:
    tree, _, _ = case
    for cut in random_cuts(tree, 10, seed):
        assert [int(cut[chain(tree, leaf)].sum()) for leaf in tree.leaves.tolist()] == [1] * tree.num_leaves


def test_nodes_are_opened_as_often_as_said() -> None:
    tree = Taxonomy.from_paths([(root, kind) for root in "abcdefgh" for kind in "xy"])
    closed = random_cuts(tree, 5000)[:, :8].double()
    # Each of five probabilities in turn: 8 × 1000 draws of each.
    found = closed.reshape(1000, 5, 8).mean(dim=(0, 2))
    torch.testing.assert_close(found, torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9]).double(), atol=0.025, rtol=0)
    assert torch.equal(random_cuts(tree, 25), random_cuts(tree, 25))
    assert not torch.equal(random_cuts(tree, 25), random_cuts(tree, 25, seed=1))


def test_what_are_no_logits_is_refused() -> None:
    tree = Taxonomy.from_paths([("a", "b"), ("c",)])
    metric = HierarchicalConsistentAccuracy(tree)
    with pytest.raises(ValueError, match=r"logits are \[2, 2\]; expected \[2, 3\]"):
        metric.update(torch.zeros(2, 2), tree.leaf_paths)
    with pytest.raises(ValueError, match="NaN"):
        metric.update(torch.full((2, 3), torch.nan), tree.leaf_paths)
    with pytest.raises(ValueError, match="target is"):
        metric.update(torch.zeros(2, 3), tree.leaf_paths[:, :1])
