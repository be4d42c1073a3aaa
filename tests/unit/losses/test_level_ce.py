"""Leaf and level cross-entropy: exact values and what a missing label costs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hierfit.losses.cuts import level_cross_entropy
from hierfit.losses.leaves import leaf_cross_entropy
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.upward import leaf_marginals

# Nodes: 0 bird, 1 fish | 2 gull, 3 tern (birds), 4 carp (fish) | 5 herring gull. Leaves 3, 4, 5: ragged.
TREE = Taxonomy.from_paths([("bird", "gull", "herring gull"), ("bird", "tern"), ("fish", "carp")])
HERRING_GULL, TERN, CARP, A_BIRD, NOTHING = [0, 2, 5], [0, 3, -1], [1, 4, -1], [0, -1, -1], [-1, -1, -1]
# Odds within each cut: 3 to 1, 2 to 1 to 1; last, and so among the leaves, tern 1, carp 1, herring gull 6.
ODDS = torch.tensor([[3.0, 1.0, 2.0, 1.0, 1.0, 6.0]], dtype=torch.float64)


def level_cost(*paths: list[int], over_levels: str = "mean") -> float:
    z = ODDS.log().expand(len(paths), -1)
    return level_cross_entropy(z, torch.tensor(paths), TREE, over_levels=over_levels).item()  # type: ignore[arg-type]


def leaf_cost(*paths: list[int]) -> float:
    return leaf_cross_entropy(ODDS.log().expand(len(paths), -1), torch.tensor(paths), TREE).item()


def test_a_full_path_costs_the_mean_over_its_levels() -> None:
    assert level_cost(HERRING_GULL) == pytest.approx((math.log(4 / 3) + math.log(2) + math.log(8 / 6)) / 3)
    whole = math.log(4 / 3) + math.log(2) + math.log(8 / 6)
    assert level_cost(HERRING_GULL, over_levels="sum") == pytest.approx(whole)


def test_a_leaf_counts_at_every_level_below_it() -> None:
    assert level_cost(TERN) == pytest.approx((math.log(4 / 3) + math.log(4) + math.log(8)) / 3)
    assert level_cost([0, 3, 3]) == pytest.approx(level_cost(TERN))  # however it is written
    unknown_above = (math.log(4) + math.log(8)) / 2
    assert level_cost([-1, 3, -1]) == pytest.approx(unknown_above)


def test_only_labelled_levels_and_samples_count() -> None:
    assert level_cost(A_BIRD) == pytest.approx(math.log(4 / 3))
    assert level_cost(A_BIRD, TERN, NOTHING) == pytest.approx((level_cost(A_BIRD) + level_cost(TERN)) / 2)


def test_a_sample_costs_the_same_in_any_company() -> None:
    alone = level_cost(TERN) + level_cost(HERRING_GULL) + level_cost(A_BIRD)
    assert 3 * level_cost(TERN, HERRING_GULL, A_BIRD) == pytest.approx(alone)


def test_leaf_cross_entropy_of_leaves_at_any_level() -> None:
    assert leaf_cost(HERRING_GULL) == pytest.approx(math.log(8 / 6))
    assert leaf_cost(TERN, CARP) == pytest.approx(math.log(8))


def test_a_coarse_label_costs_the_probability_of_all_leaves_below_it() -> None:
    assert leaf_cost(A_BIRD) == pytest.approx(math.log(8 / 7))
    assert leaf_cost([0, 2, -1]) == pytest.approx(math.log(8 / 6))
    assert leaf_cost(A_BIRD, NOTHING, CARP) == pytest.approx((math.log(8 / 7) + math.log(8)) / 2)


def test_marginals_read_internal_nodes_from_the_leaves() -> None:
    expected = torch.tensor([[7.0, 1.0, 6.0, 1.0, 1.0, 6.0]], dtype=torch.float64)
    torch.testing.assert_close(leaf_marginals(ODDS.log(), TREE).exp(), expected)


def test_marginals_of_far_apart_logits_neither_underflow_nor_overflow() -> None:
    z = torch.tensor([[0.0, 0.0, 0.0, -500.0, 500.0, -501.0]], requires_grad=True)
    mass = leaf_marginals(z, TREE)
    torch.testing.assert_close(mass[0, 0], torch.tensor(-500 + math.log1p(math.exp(-1))))
    mass.sum().backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_cuts_of_far_apart_logits_have_finite_gradients() -> None:
    # Tern is e^100 times less likely than what stands beside it at its own level, and e^100 times more at the next.
    z = torch.tensor([[0.0, 0.0, 0.0, -100.0, -200.0, -200.0]], requires_grad=True)
    level_cross_entropy(z, torch.tensor([CARP]), TREE, over_levels="sum").backward()
    assert z.grad is not None
    torch.testing.assert_close(z.grad, torch.tensor([[0.5, -0.5, 1.0, 1.0, -2.0, 0.0]]))


@pytest.mark.parametrize("loss", [leaf_cross_entropy, level_cross_entropy])
def test_no_labels_cost_nothing_and_keep_the_graph(loss) -> None:  # type: ignore[no-untyped-def]
    z: Tensor = torch.randn(2, 6, requires_grad=True)
    value = loss(z, torch.tensor([NOTHING, NOTHING]), TREE)
    value.backward()
    assert value == 0
    assert z.grad is not None
    assert (z.grad == 0).all()
