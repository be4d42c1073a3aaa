"""TP-KL, HiSCE, HXE, soft labels and consistency: values worked out by hand, and identities."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from hierfit.errors import UserError
from hierfit.losses.cuts import level_consistency, level_cross_entropy, level_logit_spread, tree_path_kl
from hierfit.losses.hisce import _places, describe_hisce, sibling_smoothed_cross_entropy
from hierfit.losses.leaves import (
    hierarchical_cross_entropy,
    hierarchy_aware_cross_entropy,
    leaf_cross_entropy,
    soft_label_cross_entropy,
)
from hierfit.taxonomy import Taxonomy

# 0 bird, 1 fish | 2 gull, 3 tern, 4 wren (birds), 5 carp (fish): carp has no sibling.
TREE = Taxonomy.from_paths([("bird", "gull"), ("bird", "tern"), ("bird", "wren"), ("fish", "carp")])
TERN, CARP = torch.tensor([[0, 3]]), torch.tensor([[1, 5]])
ODDS = torch.tensor([[3.0, 1.0, 5.0, 2.0, 1.0, 2.0]], dtype=torch.float64)
Z = ODDS.log()
LOG = math.log


def wide(*sizes: int) -> Taxonomy:
    """A tree of two levels in which the first root has all but the necessary children."""
    roots, leaves = sizes
    rows = [("r0", f"c{i}") for i in range(leaves - roots + 1)] + [(f"r{i}", f"d{i}") for i in range(1, roots)]
    return Taxonomy.from_paths(rows)


class TestShuffledFamilies:
    """The control: siblings are strangers, all else as it was."""

    TREE = Taxonomy.from_paths([(f"t{i // 6}", f"m{i // 3}", f"l{i}") for i in range(18)])

    def test_is_the_loss_with_the_nodes_of_each_level_in_other_places(self) -> None:
        generator = torch.Generator().manual_seed(4)
        z = torch.randn(9, self.TREE.num_nodes, dtype=torch.float64, generator=generator)
        paths = self.TREE.leaf_paths[torch.randint(18, (9,), generator=generator)]
        place, occupant = _places(self.TREE, 3)
        assert [sorted(occupant[nodes].tolist()) for nodes in self.TREE.level_slices] == [
            list(range(nodes.start, nodes.stop)) for nodes in self.TREE.level_slices
        ]
        moved = sibling_smoothed_cross_entropy(z[:, occupant], place[paths], self.TREE, epsilon=0.3)
        shuffled = sibling_smoothed_cross_entropy(z, paths, self.TREE, epsilon=0.3, families=3)
        torch.testing.assert_close(shuffled, moved)
        assert not torch.isclose(shuffled, sibling_smoothed_cross_entropy(z, paths, self.TREE, epsilon=0.3))

    def test_without_smoothing_there_are_no_families(self) -> None:
        plain = sibling_smoothed_cross_entropy(Z, TERN, TREE, epsilon=0.0, families=3)
        assert plain == level_cross_entropy(Z, TERN, TREE)

    def test_is_said_and_checked(self) -> None:
        assert describe_hisce(TREE, families=3).endswith("families shuffled (seed 3)")
        with pytest.raises(UserError, match="families"):
            sibling_smoothed_cross_entropy(Z, TERN, TREE, families="random")  # type: ignore[arg-type]


class TestTreePathKL:
    def test_by_hand(self) -> None:
        # One softmax over six nodes whose odds sum to 14; the path's are 3 and 2.
        assert tree_path_kl(Z, TERN, TREE).item() == pytest.approx(LOG(14) - (LOG(3) + LOG(2)) / 2 - LOG(2))

    @pytest.mark.parametrize("paths", [TERN, CARP])
    def test_is_the_mean_cross_entropy_plus_the_imbalance_of_the_levels(self, paths: Tensor) -> None:
        imbalance = -LOG(2) - (LOG(4 / 14) + LOG(10 / 14)) / 2  # KL(uniform‖mass of the levels)
        expected = level_cross_entropy(Z, paths, TREE).item() + imbalance
        assert tree_path_kl(Z, paths, TREE).item() == pytest.approx(expected)

    def test_the_paths_own_distribution_costs_nothing(self) -> None:
        certain = torch.full((1, 6), -60.0).index_fill(1, TERN[0], 0.0)
        assert tree_path_kl(certain, TERN, TREE).item() == pytest.approx(0, abs=1e-6)

    def test_unequal_scales_alone_cost_3_31_nats(self) -> None:
        right = torch.tensor([[10.0, 0.0, 2.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
        assert tree_path_kl(right, torch.tensor([[0, 2]]), TREE).item() == pytest.approx(3.31, abs=0.005)

    @pytest.mark.parametrize("samples", [1, 4])
    def test_equals_the_concatenated_form_of_otx_and_hcast(self, samples: int) -> None:
        """Both take log-softmax over all levels' logits side by side, and one-hot labels side by side, summing to 1."""
        z = torch.randn(samples, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(samples))
        paths = torch.cat([TERN, CARP, CARP, TERN])[:samples]
        one_hot = torch.zeros_like(z).scatter(1, paths, 1.0)
        target = one_hot / one_hot.sum(dim=1, keepdim=True)
        batchmean = torch.nn.functional.kl_div(z.log_softmax(dim=1), target, reduction="batchmean")
        torch.testing.assert_close(tree_path_kl(z, paths, TREE), batchmean)

    def test_unlabelled_levels_take_no_part(self) -> None:
        # With the root alone labelled, what is left is cross-entropy among the roots.
        root_only = torch.tensor([[0, -1], [-1, -1]])
        assert tree_path_kl(Z.expand(2, -1), root_only, TREE).item() == pytest.approx(LOG(4 / 3))
        z = Z.clone().requires_grad_()
        tree_path_kl(z, root_only[:1], TREE).backward()
        assert z.grad is not None
        assert (z.grad[0, 2:] == 0).all()

    def test_spread_measures_the_scale_of_each_level(self) -> None:
        tree = wide(40, 400)
        unit = torch.randn(16, 440, generator=torch.Generator().manual_seed(0))
        scaled = torch.cat([10 * unit[:, :40], 2 * unit[:, 40:]], dim=1)
        assert level_logit_spread(scaled, tree).tolist() == pytest.approx([10, 2], rel=0.05)
        single = level_logit_spread(torch.randn(3, 3), Taxonomy.from_paths([("a", "b"), ("a", "c")]))
        assert single.isnan().tolist() == [True, False]


class TestHiSCE:
    def test_by_hand(self) -> None:
        # tern keeps 0.7 and gives gull and wren 0.15 each; bird gives fish 0.1.
        roots = -(0.9 * LOG(3 / 4) + 0.1 * LOG(1 / 4))
        leaves = -(0.7 * LOG(2 / 10) + 0.15 * LOG(5 / 10) + 0.15 * LOG(1 / 10))
        cost = sibling_smoothed_cross_entropy(Z, TERN, TREE, epsilon=[0.1, 0.3], over_levels="sum")
        assert cost.item() == pytest.approx(roots + leaves)
        mean = sibling_smoothed_cross_entropy(Z, TERN, TREE, epsilon=[0.1, 0.3])
        assert mean.item() == pytest.approx((roots + leaves) / 2)

    def test_without_siblings_the_label_keeps_its_mass(self) -> None:
        cost = sibling_smoothed_cross_entropy(Z, CARP, TREE, epsilon=0.3, roots="unsmoothed")
        torch.testing.assert_close(cost, level_cross_entropy(Z, CARP, TREE))

    def test_no_smoothing_is_level_cross_entropy(self) -> None:
        cost = sibling_smoothed_cross_entropy(Z, TERN, TREE, epsilon=0.0)
        torch.testing.assert_close(cost, level_cross_entropy(Z, TERN, TREE))

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({"epsilon": 0.2}, {"epsilon": [0.2, 0.2]}),
            ({"epsilon": 0.2, "roots": "unsmoothed"}, {"epsilon": [0.0, 0.2]}),
            ({"epsilon": {"level1": 0.3}}, {"epsilon": (0, 0.3)}),
        ],
    )
    def test_ways_to_write_epsilon(self, one: dict[str, Any], other: dict[str, Any]) -> None:
        costs = [sibling_smoothed_cross_entropy(Z, TERN, TREE, **options) for options in (one, other)]
        torch.testing.assert_close(costs[0], costs[1])

    def test_the_last_family_does_not_reach_past_the_last_node(self) -> None:
        # The window of the widest family, laid over carp, the last node, overhangs the node axis.
        paths = torch.cat([TERN, CARP, -torch.ones_like(CARP)])
        cost = sibling_smoothed_cross_entropy(Z.expand(3, -1), paths, TREE, epsilon=0.3)
        alone = [sibling_smoothed_cross_entropy(Z, path, TREE, epsilon=0.3).item() for path in (TERN, CARP)]
        assert cost.item() == pytest.approx(sum(alone) / 2)

    def test_says_on_how_many_classes_it_acts(self) -> None:
        tree = Taxonomy(TREE.names, ("family", "species"), TREE.parent)
        assert describe_hisce(tree, epsilon=0.1) == "HiSCE acts on 2 of 2 at family (ε 0.1), 3 of 4 at species (ε 0.1)"
        assert describe_hisce(tree, epsilon={"species": 0.3}) == "HiSCE acts on 3 of 4 at species (ε 0.3)"
        assert "smooths no level" in describe_hisce(tree, epsilon=0.0)

    def test_every_fault_of_epsilon_is_named(self) -> None:
        with pytest.raises(UserError) as error:
            sibling_smoothed_cross_entropy(Z, TERN, TREE, epsilon={"leve1": 0.1, "level0": 1.0, "level1": "much"})  # type: ignore[dict-item]
        assert len(error.value.problems) == 3
        assert "did you mean 'level1'" in error.value.problems[0]


class TestRaggedTrees:
    """bird: tern, gull (herring gull, ringed gull) · fish, which has ended: the last level is tern, the gulls, fish."""

    # 0 bird, 1 fish | 2 tern, 3 gull, 4 wren | 5 herring gull, 6 ringed gull
    ROWS = (("bird", "tern"), ("bird", "gull", "herring"), ("bird", "gull", "ringed"), ("bird", "wren"), ("fish",))
    TREE = Taxonomy.from_paths(ROWS, ("class", "genus", "species"))
    ODDS = torch.tensor([[3.0, 1.0, 2.0, 4.0, 1.0, 1.0, 3.0]], dtype=torch.float64)
    A_TERN, A_FISH = torch.tensor([[0, 2, -1]]), torch.tensor([[1, -1, -1]])

    def hisce(self, paths: Tensor, epsilon: Any) -> float:
        z = self.ODDS.log()
        return sibling_smoothed_cross_entropy(z, paths, self.TREE, epsilon=epsilon, over_levels="sum").item()

    def test_a_leaf_smooths_among_its_siblings_at_its_own_level(self) -> None:
        # Genera: fish 1, tern 2, gull 4, wren 1 of 8. Species: fish 1, tern 2, wren 1, herring 1, ringed 3 of 8; there
        # tern is its own only child.
        genus = -(0.8 * LOG(2 / 8) + 0.1 * LOG(4 / 8) + 0.1 * LOG(1 / 8))
        assert self.hisce(self.A_TERN, [0.0, 0.2, 0.3]) == pytest.approx(LOG(4 / 3) + genus - LOG(2 / 8))
        # Fish's one sibling at its level is bird; below it has none.
        fish = -(0.9 * LOG(1 / 4) + 0.1 * LOG(3 / 4)) - 2 * LOG(1 / 8)
        assert self.hisce(self.A_FISH, 0.1) == pytest.approx(fish)

    def test_a_chain_of_only_children_costs_what_its_end_alone_does(self) -> None:
        rows = [(*row, *(f"{row[-1]}+" for _ in range(len(row), 3))) for row in self.ROWS]
        rows[-1] = ("fish", "fish+", "fish++")
        chained = Taxonomy.from_paths(rows, self.TREE.levels)
        z = self.ODDS.log()[:, [self.TREE.names.index(name.rstrip("+")) for name in chained.names]]
        for short, long in ((self.A_TERN, "tern+"), (self.A_FISH, "fish++")):
            path = chained.paths(torch.tensor([chained.find(long)]))
            cost = sibling_smoothed_cross_entropy(z, path, chained, epsilon=0.2, over_levels="sum")
            assert cost.item() == pytest.approx(self.hisce(short, 0.2))

    def test_epsilon_of_leaves_at_whatever_depth(self) -> None:
        genus = -(0.7 * LOG(2 / 8) + 0.15 * LOG(4 / 8) + 0.15 * LOG(1 / 8))
        species = -LOG(2 / 8)
        assert self.hisce(self.A_TERN, {"leaf": 0.3}) == pytest.approx(LOG(4 / 3) + genus + species)
        with_class = self.hisce(self.A_TERN, {"leaf": 0.3, "class": 0.1, "genus": 0.9})
        assert with_class == pytest.approx(-(0.9 * LOG(3 / 4) + 0.1 * LOG(1 / 4)) + genus + species)
        said = describe_hisce(self.TREE, epsilon={"leaf": 0.3, "genus": 0.1})
        assert said == (
            "HiSCE acts on 1 of 1 leaves at class (ε 0.3), 1 of 1 inner nodes at genus (ε 0.1), "
            "2 of 2 leaves at genus (ε 0.3), 2 of 2 leaves at species (ε 0.3)"
        )
        with pytest.raises(UserError, match="epsilon does not fit") as error:
            self.hisce(self.A_TERN, {"leaf": 1, "genera": 0.1})
        assert len(error.value.problems) == 2

    def test_a_level_called_leaf_keeps_its_name(self) -> None:
        named = Taxonomy(self.TREE.names, ("class", "genus", "leaf"), self.TREE.parent)
        z = self.ODDS.log()
        costs = [
            sibling_smoothed_cross_entropy(z, self.A_TERN, named, epsilon=epsilon)
            for epsilon in ({"leaf": 0.3}, [0.0, 0.0, 0.3])
        ]
        torch.testing.assert_close(*costs)

    def test_tree_path_kl_reads_the_cuts_side_by_side(self) -> None:
        # The odds of the cuts sum to 4, 8 and 8; tern's path has 3, 2 and again 2.
        kl = tree_path_kl(self.ODDS.log(), self.A_TERN, self.TREE)
        assert kl.item() == pytest.approx(LOG(20) - (LOG(3) + 2 * LOG(2)) / 3 - LOG(3))
        coarse = tree_path_kl(self.ODDS.log(), torch.tensor([[0, 3, -1]]), self.TREE)
        assert coarse.item() == pytest.approx(LOG(12) - (LOG(3) + LOG(4)) / 2 - LOG(2))

    def test_weights_along_the_path(self) -> None:
        weighted = tree_path_kl(self.ODDS.log(), self.A_TERN, self.TREE, level_weights={"class": 1, "species": 3})
        entropy = 0.25 * LOG(0.25) + 0.75 * LOG(0.75)
        assert weighted.item() == pytest.approx(LOG(20) - 0.25 * LOG(3) - 0.75 * LOG(2) + entropy)
        unweighted = tree_path_kl(self.ODDS.log(), torch.tensor([[-1, 3, -1]]), self.TREE, level_weights=[1, 0, 3])
        assert unweighted == 0


class TestLeafLosses:
    def test_hxe_by_hand(self) -> None:
        # Leaf odds 5 2 1 | 2: bird has 8 of 10, tern 2 of 8. The edge into bird comes first, that into tern after it.
        cost = hierarchical_cross_entropy(Z, TERN, TREE, alpha=0.5)
        assert cost.item() == pytest.approx(LOG(10 / 8) + math.exp(-0.5) * LOG(8 / 2))

    def test_hxe_of_a_far_mistake_and_of_one_among_siblings(self) -> None:
        """4.27 and 1.48 at α = 1: far, odds of e⁴ for the other parent and even below; near, of e⁴ for the sibling."""
        tree = Taxonomy.from_paths([("a", "a1"), ("a", "a2"), ("b", "b1"), ("b", "b2")])
        leaves = torch.tensor([[4.0, 4.0, 0.0, 0.0], [0.0, 4.0, -40.0, -40.0]], dtype=torch.float64)
        z = torch.cat([torch.zeros(2, 2), leaves], dim=1)
        far = hierarchical_cross_entropy(z[:1], torch.tensor([[1, 4]]), tree, alpha=1.0)
        near = hierarchical_cross_entropy(z[1:], torch.tensor([[0, 2]]), tree, alpha=1.0)
        assert far.item() == pytest.approx(4.27, abs=0.005)
        assert near.item() == pytest.approx(1.48, abs=0.005)

    @pytest.mark.parametrize("alpha", [0.1, 1.0])
    def test_hxe_of_a_mistake_nearby_costs_less(self, alpha: float) -> None:
        wrong = torch.full((1, 6), 0.0).index_fill(1, torch.tensor([2]), 5.0)  # gull, as certain as can be
        costs = [hierarchical_cross_entropy(wrong, path, TREE, alpha=alpha) for path in (TERN, CARP)]
        assert costs[0] < costs[1]
        assert costs[1] / costs[0] > leaf_cross_entropy(wrong, CARP, TREE) / leaf_cross_entropy(wrong, TERN, TREE)

    @pytest.mark.parametrize("alpha", [0.0, 0.7])
    def test_hxe_of_a_single_root_is_that_of_the_forest_below_it(self, alpha: float) -> None:
        rooted = Taxonomy.from_paths([("life", *row) for row in (("bird", "gull"), ("bird", "tern"), ("fish", "carp"))])
        forest = Taxonomy.from_paths([("bird", "gull"), ("bird", "tern"), ("fish", "carp")])
        z = torch.randn(1, 6, dtype=torch.float64)
        one = hierarchical_cross_entropy(z, torch.tensor([[0, 1, 3]]), rooted, alpha=alpha)
        torch.testing.assert_close(
            one, hierarchical_cross_entropy(z[:, 1:], torch.tensor([[0, 2]]), forest, alpha=alpha)
        )

    def test_hace_by_hand(self) -> None:
        # Tern has 2 of 10, bird 8 of 10; bird's share is a half of tern's.
        cost = hierarchy_aware_cross_entropy(Z, TERN, TREE, dilution=0.5)
        assert cost.item() == pytest.approx((LOG(10 / 2) + 0.5 * LOG(10 / 8)) / 1.5)
        torch.testing.assert_close(
            hierarchy_aware_cross_entropy(Z, TERN, TREE, dilution=0.0), leaf_cross_entropy(Z, TERN, TREE)
        )

    @pytest.mark.parametrize("paths", [TERN, CARP, torch.tensor([[0, -1]])])
    def test_hxe_without_discount_is_leaf_cross_entropy(self, paths: Tensor) -> None:
        torch.testing.assert_close(
            hierarchical_cross_entropy(Z, paths, TREE, alpha=0.0), leaf_cross_entropy(Z, paths, TREE)
        )

    def test_soft_labels_by_hand(self) -> None:
        # From tern: itself at 0, gull and wren at height 1 of 2, carp at the virtual root.
        near, far = math.exp(-2.0), math.exp(-4.0)
        expected = LOG(10 / 2) + near * (LOG(10 / 5) + LOG(10 / 1)) + far * LOG(10 / 2)
        cost = soft_label_cross_entropy(Z, TERN, TREE, beta=4.0)
        assert cost.item() == pytest.approx(expected / (1 + 2 * near + far))

    def test_soft_labels_at_their_limits(self) -> None:
        torch.testing.assert_close(soft_label_cross_entropy(Z, TERN, TREE, beta=1e3), leaf_cross_entropy(Z, TERN, TREE))
        # Of a bird nothing nearer is known: its leaves share alike. Unlabelled samples have finite gradients, too.
        z = Z.expand(2, -1).clone().requires_grad_()
        coarse = soft_label_cross_entropy(z, torch.tensor([[0, -1], [-1, -1]]), TREE, beta=1e4)
        assert coarse.item() == pytest.approx((LOG(10 / 5) + LOG(10 / 2) + LOG(10 / 1)) / 3)
        coarse.backward()
        assert z.grad is not None
        assert z.grad.isfinite().all()
        uniform = -Z[:, TREE.leaves].log_softmax(dim=1).mean()
        torch.testing.assert_close(soft_label_cross_entropy(Z, TERN, TREE, beta=0.0), uniform)

    def test_a_single_root_is_the_top_of_the_tree(self) -> None:
        rooted = Taxonomy.from_paths([("life", *row) for row in (("bird", "gull"), ("bird", "tern"), ("fish", "carp"))])
        forest = Taxonomy.from_paths([("bird", "gull"), ("bird", "tern"), ("fish", "carp")])
        z = torch.randn(1, 6, dtype=torch.float64)
        one = soft_label_cross_entropy(z, torch.tensor([[0, 1, 3]]), rooted)
        torch.testing.assert_close(one, soft_label_cross_entropy(z[:, 1:], torch.tensor([[0, 2]]), forest))


class TestConsistency:
    def test_by_hand(self) -> None:
        # The roots say 3/4 and 1/4, the leaves add up to 8/10 and 2/10.
        said, added = (0.75, 0.25), (0.8, 0.2)
        middle = [(p + q) / 2 for p, q in zip(said, added, strict=True)]
        halves = [sum(p * LOG(p / m) for p, m in zip(side, middle, strict=True)) for side in (said, added)]
        assert level_consistency(Z, TERN, TREE).item() == pytest.approx(sum(halves) / 2)

    def test_nothing_to_correct_and_flat_contradiction(self) -> None:
        agree = torch.tensor([[8.0, 2.0, 5.0, 2.0, 1.0, 2.0]], dtype=torch.float64).log()
        assert level_consistency(agree, TERN, TREE).item() == pytest.approx(0, abs=1e-12)
        contradict = torch.tensor([[200.0, 0.0, 0.0, 0.0, 0.0, 200.0]], requires_grad=True)
        value = level_consistency(contradict, TERN, TREE)
        assert value.item() == pytest.approx(LOG(2))
        value.backward()
        assert contradict.grad is not None
        assert contradict.grad.isfinite().all()

    def test_a_leaf_above_the_last_level_is_compared_with_itself(self) -> None:
        ragged = Taxonomy.from_paths([("bird", "gull"), ("fish", "carp"), ("worm",)])
        z = torch.tensor([[1.0, 3.0, 4.0, 1.0, 3.0]], dtype=torch.float64).log()
        assert level_consistency(z, torch.tensor([[2, -1]]), ragged).item() == pytest.approx(0, abs=1e-12)
        # Roots 1 3 4 of 8; below them gull 3, carp 1, and worm still 4, of 8.
        z = torch.tensor([[1.0, 3.0, 4.0, 3.0, 1.0]], dtype=torch.float64).log()
        halves = 2 * (1 / 8 * LOG((1 / 8) / (2 / 8)) + 3 / 8 * LOG((3 / 8) / (2 / 8)))
        assert level_consistency(z, torch.tensor([[2, -1]]), ragged).item() == pytest.approx(halves / 2)

    def test_one_level_has_nothing_to_agree_with(self) -> None:
        flat = Taxonomy.from_paths([("a",), ("b",)])
        assert level_consistency(torch.randn(2, 2), torch.tensor([[0], [1]]), flat) == 0
