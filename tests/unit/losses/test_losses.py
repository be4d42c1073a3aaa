"""The losses by hand and at their limits; tests/property/test_losses.py holds them to slow versions on any forest."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from hierfit.errors import UserError
from hierfit.losses.cuts import (
    _shuffled,
    describe_hisce,
    level_consistency,
    level_logit_spread,
    sibling_smoothed_cross_entropy,
    tree_path_kl,
)
from hierfit.losses.leaves import (
    hierarchical_cross_entropy,
    hierarchy_aware_cross_entropy,
    leaf_cross_entropy,
    soft_label_cross_entropy,
)
from hierfit.losses.levels import level_cross_entropy
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.upward import leaf_marginals

LOG = math.log
# 0 bird, 1 fish | 2 gull, 3 tern, 4 wren (birds), 5 carp (fish): carp has no sibling.
TREE = Taxonomy.from_paths([("bird", "gull"), ("bird", "tern"), ("bird", "wren"), ("fish", "carp")])
TERN, CARP, A_BIRD = torch.tensor([[0, 3]]), torch.tensor([[1, 5]]), torch.tensor([[0, -1]])
Z = torch.tensor([[3.0, 1.0, 5.0, 2.0, 1.0, 2.0]], dtype=torch.float64).log()

# bird: tern, gull (herring gull, ringed gull), wren · fish, which has ended: the last level is all leaves.
# 0 bird, 1 fish | 2 tern, 3 gull, 4 wren | 5 herring gull, 6 ringed gull
ROWS = (("bird", "tern"), ("bird", "gull", "herring"), ("bird", "gull", "ringed"), ("bird", "wren"), ("fish",))
RAGGED = Taxonomy.from_paths(ROWS, ("class", "genus", "species"))
RAGGED_Z = torch.tensor([[3.0, 1.0, 2.0, 4.0, 1.0, 1.0, 3.0]], dtype=torch.float64).log()
A_TERN, A_FISH = torch.tensor([[0, 2, -1]]), torch.tensor([[1, -1, -1]])


def hisce(paths: Tensor, epsilon: Any, tree: Taxonomy = RAGGED, z: Tensor = RAGGED_Z) -> float:
    return sibling_smoothed_cross_entropy(z, paths, tree, epsilon=epsilon, over_levels="sum").item()


class TestOverCuts:
    def test_a_sample_costs_the_same_in_any_company(self) -> None:
        together = level_cross_entropy(Z.expand(4, -1), torch.cat([TERN, CARP, A_BIRD, -torch.ones_like(TERN)]), TREE)
        alone = [level_cross_entropy(Z, path, TREE) for path in (TERN, CARP, A_BIRD)]
        torch.testing.assert_close(together, torch.stack(alone).mean())

    def test_far_apart_logits_have_finite_gradients(self) -> None:
        # Tern is e^100 times less likely than what stands beside it at its own level, and e^100 times more at the next.
        tree = Taxonomy.from_paths([("bird", "gull", "herring gull"), ("bird", "tern"), ("fish", "carp")])
        z = torch.tensor([[0.0, 0.0, 0.0, -100.0, -200.0, -200.0]], requires_grad=True)
        level_cross_entropy(z, torch.tensor([[1, 4, -1]]), tree, over_levels="sum").backward()
        torch.testing.assert_close(z.grad, torch.tensor([[0.5, -0.5, 1.0, 1.0, -2.0, 0.0]]))

    @pytest.mark.parametrize("samples", [1, 4])
    def test_tp_kl_is_the_concatenated_form_of_otx_and_hcast(self, samples: int) -> None:
        """Both take log-softmax over all levels' logits side by side, and one-hot labels side by side, summing to 1."""
        z = torch.randn(samples, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(samples))
        paths = torch.cat([TERN, CARP, CARP, TERN])[:samples]
        one_hot = torch.zeros_like(z).scatter(1, paths, 1.0)
        target = one_hot / one_hot.sum(dim=1, keepdim=True)
        batchmean = torch.nn.functional.kl_div(z.log_softmax(dim=1), target, reduction="batchmean")
        torch.testing.assert_close(tree_path_kl(z, paths, TREE), batchmean)

    def test_tp_kl_reads_no_level_that_is_unlabelled(self) -> None:
        z = Z.clone().requires_grad_()
        cost = tree_path_kl(z, A_BIRD, TREE)
        assert cost.item() == pytest.approx(LOG(4 / 3))
        cost.backward()
        assert (z.grad[0, 2:] == 0).all()

    def test_spread_is_the_scale_of_each_level(self) -> None:
        rows = [("r0", f"c{i}") for i in range(361)] + [(f"r{i}", f"d{i}") for i in range(1, 40)]
        unit = torch.randn(16, 440, generator=torch.Generator().manual_seed(0))
        scaled = torch.cat([10 * unit[:, :40], 2 * unit[:, 40:]], dim=1)
        assert level_logit_spread(scaled, Taxonomy.from_paths(rows)).tolist() == pytest.approx([10, 2], rel=0.05)
        single = level_logit_spread(torch.randn(3, 3), Taxonomy.from_paths([("a", "b"), ("a", "c")]))
        assert single.isnan().tolist() == [True, False]

    def test_consistency_of_contradiction_and_of_one_level(self) -> None:
        contradict = torch.tensor([[200.0, 0.0, 0.0, 0.0, 0.0, 200.0]], requires_grad=True)
        value = level_consistency(contradict, TERN, TREE)
        value.backward()
        assert value.item() == pytest.approx(LOG(2))
        assert contradict.grad.isfinite().all()
        flat = Taxonomy.from_paths([("a",), ("b",)])
        assert level_consistency(torch.randn(2, 2), torch.tensor([[0], [1]]), flat) == 0


class TestHiSCE:
    def test_a_chain_of_only_children_costs_what_its_end_alone_does(self) -> None:
        rows = [(*row, *(f"{row[-1]}+" for _ in range(len(row), 3))) for row in ROWS]
        rows[-1] = ("fish", "fish+", "fish++")
        chained = Taxonomy.from_paths(rows, RAGGED.levels)
        z = RAGGED_Z[:, [RAGGED.names.index(name.rstrip("+")) for name in chained.names]]
        for short, long in ((A_TERN, "tern+"), (A_FISH, "fish++")):
            path = chained.paths(torch.tensor([chained.find(long)]))
            assert hisce(path, 0.2, chained, z) == pytest.approx(hisce(short, 0.2))

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({"epsilon": 0.2}, {"epsilon": [0.2, 0.2]}),
            ({"epsilon": 0.2, "roots": "unsmoothed"}, {"epsilon": [0.0, 0.2]}),
            ({"epsilon": {"level1": 0.3}}, {"epsilon": (0, 0.3)}),
            ({"epsilon": {"leaf": 0.3}}, {"epsilon": (0, 0.3)}),
        ],
    )
    def test_ways_to_write_epsilon(self, one: dict[str, Any], other: dict[str, Any]) -> None:
        costs = [sibling_smoothed_cross_entropy(Z, TERN, TREE, **options) for options in (one, other)]
        torch.testing.assert_close(*costs)

    def test_a_level_called_leaf_keeps_its_name(self) -> None:
        named = Taxonomy(RAGGED.names, ("class", "genus", "leaf"), RAGGED.parent)
        assert hisce(A_FISH, {"leaf": 0.3}, named) == hisce(A_FISH, [0.0, 0.0, 0.3])
        assert hisce(A_FISH, {"leaf": 0.3}) != hisce(A_FISH, [0.0, 0.0, 0.3])

    def test_says_on_how_many_classes_it_acts(self) -> None:
        tree = Taxonomy(TREE.names, ("family", "species"), TREE.parent)
        assert describe_hisce(tree, epsilon=0.1) == "HiSCE acts on 2 of 2 at family (ε 0.1), 3 of 4 at species (ε 0.1)"
        assert "smooths no level" in describe_hisce(tree, epsilon=0.0)
        assert describe_hisce(tree, families=3).endswith("families shuffled (seed 3)")
        assert describe_hisce(RAGGED, epsilon={"leaf": 0.3, "genus": 0.1}) == (
            "HiSCE acts on 1 of 1 leaves at class (ε 0.3), 1 of 1 inner nodes at genus (ε 0.1), "
            "2 of 2 leaves at genus (ε 0.3), 2 of 2 leaves at species (ε 0.3)"
        )

    def test_every_fault_is_named(self) -> None:
        with pytest.raises(UserError, match="epsilon does not fit the levels") as error:
            hisce(TERN, {"leve1": 0.1, "level0": 1.0, "level1": "much", "leaf": -1}, TREE, Z)
        assert len(error.value.problems) == 4
        assert "did you mean 'level1'" in error.value.problems[0]
        with pytest.raises(UserError, match="families"):
            sibling_smoothed_cross_entropy(Z, TERN, TREE, families="random")  # type: ignore[arg-type]

    def test_shuffled_families_are_strangers_and_all_else_is_as_it_was(self) -> None:
        tree = Taxonomy.from_paths([(f"t{i // 6}", f"m{i // 3}", f"l{i}") for i in range(18)])
        generator = torch.Generator().manual_seed(4)
        z = torch.randn(9, tree.num_nodes, dtype=torch.float64, generator=generator)
        paths = tree.leaf_paths[torch.randint(18, (9,), generator=generator)]
        place, occupant = _shuffled(tree, 3)
        assert [sorted(occupant[nodes].tolist()) for nodes in tree.level_slices] == [
            list(range(nodes.start, nodes.stop)) for nodes in tree.level_slices
        ]
        moved = sibling_smoothed_cross_entropy(z[:, occupant], place[paths], tree, epsilon=0.3)
        shuffled = sibling_smoothed_cross_entropy(z, paths, tree, epsilon=0.3, families=3)
        torch.testing.assert_close(shuffled, moved)
        assert not torch.isclose(shuffled, sibling_smoothed_cross_entropy(z, paths, tree, epsilon=0.3))


class TestOverLeaves:
    @pytest.mark.parametrize("paths", [TERN, CARP, A_BIRD])
    def test_at_their_limits_they_are_leaf_cross_entropy(self, paths: Tensor) -> None:
        expected = leaf_cross_entropy(Z, paths, TREE)
        torch.testing.assert_close(hierarchical_cross_entropy(Z, paths, TREE, alpha=0.0), expected)
        torch.testing.assert_close(hierarchy_aware_cross_entropy(Z, paths, TREE, dilution=0.0), expected)
        if paths is not A_BIRD:  # of a bird nothing nearer is known: there its leaves share alike
            torch.testing.assert_close(soft_label_cross_entropy(Z, paths, TREE, beta=1e3), expected)

    def test_soft_labels_of_a_coarse_label_and_of_none(self) -> None:
        z = Z.expand(2, -1).clone().requires_grad_()
        coarse = soft_label_cross_entropy(z, torch.tensor([[0, -1], [-1, -1]]), TREE, beta=1e4)
        assert coarse.item() == pytest.approx((LOG(10 / 5) + LOG(10 / 2) + LOG(10 / 1)) / 3)
        coarse.backward()
        assert z.grad.isfinite().all()

    def test_marginals_of_far_apart_logits_neither_underflow_nor_overflow(self) -> None:
        tree = Taxonomy.from_paths([("bird", "gull", "herring gull"), ("bird", "tern"), ("fish", "carp")])
        z = torch.tensor([[0.0, 0.0, 0.0, -500.0, 500.0, -501.0]], requires_grad=True)
        mass = leaf_marginals(z, tree)
        torch.testing.assert_close(mass[0, 0], torch.tensor(-500 + math.log1p(math.exp(-1))))
        mass.sum().backward()
        assert z.grad.isfinite().all()
