"""The objective: sums, shared work, faulty configurations, unusable logits."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from hierfit.errors import UserError
from hierfit.losses.objective import LOSSES, Objective
from hierfit.taxonomy import Taxonomy

ROWS = [("bird", "gull", "herring gull"), ("bird", "gull", "ring-billed gull"), ("bird", "tern"), ("fish", "carp")]
TREE = Taxonomy.from_paths(ROWS, ["class", "family", "species"])
PATHS = torch.tensor([[0, 2, 5], [0, 3, -1], [1, -1, -1], [-1, -1, -1]])
OPTIONS: dict[str, dict[str, Any]] = {
    "hisce": {"epsilon": [0.1, 0.2, 0.3], "roots": "unsmoothed", "over_levels": "sum"},
    "tp_kl": {"level_weights": [0.5, 1.0, 2.0]},
    "hxe": {"alpha": 0.4},
    "hace": {"dilution": 0.7},
    "soft_labels": {"beta": 3.0},
}


def logits(dtype: torch.dtype = torch.float64) -> Tensor:
    z = torch.randn(4, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return z.to(dtype).requires_grad_()


@pytest.mark.parametrize("name", LOSSES)
class TestEveryLoss:
    def test_alone_in_an_objective(self, name: str) -> None:
        options = OPTIONS.get(name, {})
        terms = Objective({name: {"weight": 2.0, **options}}, TREE)(logits(), PATHS)
        expected = LOSSES.find(name)(logits(), PATHS, TREE, **options)
        assert terms.keys() == {name, "loss"}
        torch.testing.assert_close(terms[name], expected)
        torch.testing.assert_close(terms["loss"], 2 * expected)

    @pytest.mark.parametrize("count", [1, 4])  # one row lies in memory as one column does
    def test_logits_stay_as_they_are(self, name: str, count: int) -> None:
        given, before = logits()[:count].clone(), logits()[:count]
        LOSSES.find(name)(given, PATHS[:count], TREE, **OPTIONS.get(name, {})).backward()
        assert torch.equal(given, before)

    def test_gradcheck(self, name: str) -> None:
        loss = Objective({name: OPTIONS.get(name, 1.0)}, TREE)
        assert torch.autograd.gradcheck(lambda z: loss(z, PATHS)["loss"], logits())

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_is_summed_in_float32(self, name: str, dtype: torch.dtype) -> None:
        z = logits(dtype)
        value = LOSSES.find(name)(z, PATHS, TREE)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, LOSSES.find(name)(z.float(), PATHS, TREE))
        value.backward()
        assert z.grad.dtype == dtype

    def test_an_empty_batch_costs_nothing(self, name: str) -> None:
        z = torch.empty(0, 7, requires_grad=True)
        terms = Objective({name: 1.0}, TREE)(z, torch.empty(0, 3, dtype=torch.int64))
        terms["loss"].backward()
        assert terms["loss"] == 0

    def test_unlabelled_samples_change_nothing(self, name: str) -> None:
        if name == "js":
            pytest.skip("reads no labels")
        z = logits()
        torch.testing.assert_close(LOSSES.find(name)(z, PATHS, TREE), LOSSES.find(name)(z[:3], PATHS[:3], TREE))
        LOSSES.find(name)(z, torch.full_like(PATHS, -1), TREE).backward()
        assert (z.grad == 0).all()

    def test_adding_a_constant_to_all_logits_changes_nothing(self, name: str) -> None:
        torch.testing.assert_close(
            LOSSES.find(name)(logits() + 7, PATHS, TREE), LOSSES.find(name)(logits(), PATHS, TREE)
        )


def test_a_weighted_sum_in_which_weight_zero_is_reported_without_gradient() -> None:
    z = logits()
    objective = Objective({"level_ce": 1.0, "tp_kl": {"weight": 0.5}, "js": 0}, TREE)
    terms = objective(z, PATHS)
    assert terms["js"] > 0
    assert not terms["js"].requires_grad
    torch.testing.assert_close(terms["loss"], terms["level_ce"] + 0.5 * terms["tp_kl"])
    expected = LOSSES.find("level_ce")(z, PATHS, TREE) + 0.5 * LOSSES.find("tp_kl")(z, PATHS, TREE)
    torch.testing.assert_close(torch.autograd.grad(terms["loss"], z), torch.autograd.grad(expected, z))
    assert objective.describe() == ["objective: 1 level_ce + 0.5 tp_kl + 0 js"]
    lines = Objective({"hisce": {"weight": 1.0, "epsilon": {"species": 0.3}}, "js": 20}, TREE).describe()
    assert lines == ["objective: 1 hisce + 20 js", "HiSCE acts on 2 of 2 at species (ε 0.3)"]


@pytest.mark.parametrize(
    ("spec", "leaves_only"),
    [
        ({"leaf_ce": 1.0}, True),
        ({"leaf_ce": 1.0, "hxe": 0.5, "soft_labels": 1, "hace": 1, "level_ce": 0}, True),
        ({"leaf_ce": 1.0, "js": 0.1}, False),
        *(({name: 1.0}, False) for name in ("level_ce", "tp_kl", "hisce", "js")),
    ],
)
def test_says_whether_inner_nodes_are_trained(spec: dict[str, float], leaves_only: bool) -> None:
    objective, z = Objective(spec, TREE), logits()
    assert objective.reads_leaves_only == leaves_only
    objective(z, PATHS)["loss"].backward()
    assert (z.grad[:, TREE.num_children > 0] == 0).all() == leaves_only


def test_survives_a_pickle() -> None:
    loss = Objective({"hisce": {"epsilon": 0.2}}, TREE)
    again = pickle.loads(pickle.dumps(loss))
    torch.testing.assert_close(again(logits(), PATHS), loss(logits(), PATHS))


class TestFaultyConfiguration:
    def problems(self, spec: Any) -> tuple[str, ...]:
        with pytest.raises(UserError) as error:
            Objective(spec, TREE)
        return error.value.problems or (error.value.summary,)

    def test_all_faults_at_once(self) -> None:
        assert self.problems(
            {
                "level-ce": 1.0,
                "hisce": {"weight": -1, "epsilon": {"genus": 0.3, "species": 1.0}, "roots": "alone", "epsilon_": 0},
                "tp_kl": {"level_weights": {"class": 0}},
                "leaf_ce": {"over_levels": "mean"},
                "hxe": {"weight": "high", "alpha": float("nan")},
            }
        ) == (
            "there is no loss 'level-ce' – did you mean 'level_ce'?",
            "hisce: weight is -1; it must be a number, at least 0",
            "hisce: epsilon names the level 'genus', which does not exist (known: class, family, species)",
            "hisce: epsilon at species is 1.0; it must be a number, at least 0 and below 1",
            "hisce: roots is 'alone'; it must be siblings or unsmoothed",
            "hisce: there is no option 'epsilon_' – did you mean 'epsilon'?",
            "tp_kl: level_weights are all 0; at least one must be positive",
            "leaf_ce: there is no option 'over_levels'; it takes none",
            "hxe: weight is 'high'; it must be a number, at least 0",
            "hxe: alpha is nan; it must be a number, at least 0",
        )

    @pytest.mark.parametrize(
        ("spec", "said"),
        [
            ({}, "positive weight"),
            ({"level_ce": 0.0, "js": 0}, "positive weight"),
            *(({"level_ce": weight}, f"weight is {weight}") for weight in (None, True, float("inf"))),
            ({"hisce": {"epsilon": [0.1, 0.3]}}, "2 numbers; there are 3 levels"),
            *(({"hisce": {"epsilon": epsilon}}, f"epsilon is {epsilon!r}") for epsilon in ("0.1", 1.0)),
            ({"level_ce": {"over_levels": ["mean"]}}, "over_levels is ['mean']; it must be mean or sum"),
            ({"soft_labels": {"beta": -1}}, "beta is -1"),
            ({3: 1.0}, "there is no loss '3'"),
            *((spec, "must map losses to weights") for spec in (["level_ce"], "level_ce")),
        ],
    )
    def test_each_fault(self, spec: Any, said: str) -> None:
        (problem,) = self.problems(spec)
        assert said in problem


class TestUnusableInput:
    @pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
    @pytest.mark.parametrize("name", LOSSES)
    def test_logits_that_are_no_numbers(self, name: str, bad: float) -> None:
        z = torch.zeros(4, 7)
        z[1, 5] = bad
        z[3, 0] = bad
        with pytest.raises(UserError, match=r"in 2 of 4 samples \(first: row 1, node 'bird/gull/herring gull'\)"):
            Objective({name: 1.0}, TREE)(z, PATHS)

    @pytest.mark.parametrize(("nodes", "levels", "rows"), [(6, 3, 4), (7, 2, 4), (7, 3, 3)])
    def test_shapes_that_do_not_fit(self, nodes: int, levels: int, rows: int) -> None:
        with pytest.raises(ValueError, match=r"they must be \[B, 7\] and \[B, 3\]"):
            Objective({"level_ce": 1.0}, TREE)(torch.zeros(4, nodes), torch.zeros(rows, levels, dtype=torch.int64))


class TestWarningOfUnequalScales:
    @staticmethod
    def batch(*scales: float) -> tuple[Tensor, Tensor]:
        unit = torch.randn(64, 7, generator=torch.Generator().manual_seed(1))
        return torch.cat([s * x for s, x in zip(scales, unit.split(TREE.level_sizes, 1), strict=True)], 1), PATHS[
            :1
        ].expand(64, -1)

    def test_once_and_with_the_figures(self) -> None:
        loss = Objective({"level_ce": 1.0, "tp_kl": 1.0}, TREE)
        with pytest.warns(UserWarning, match=r"differ in scale \(standard deviation: class \d.*, family .*, species"):
            loss(*self.batch(10, 10, 2))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(4):
                loss(*self.batch(10, 10, 2))

    def test_a_scale_that_drifts_apart_later(self) -> None:
        loss = Objective({"js": 1.0}, TREE)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            loss(*self.batch(0.01, 0.5, 0.1))  # too small to matter
            for _ in range(6):
                loss(*self.batch(3, 3, 3))
        with pytest.warns(UserWarning, match="scale"):  # the 8th batch is looked at again
            loss(*self.batch(1, 9, 9))


def test_a_tree_of_sixty_thousand_leaves_needs_no_matrix_of_its_classes() -> None:
    """One number for each pair of classes would be 14 GB."""
    rows = [(f"family {i // 500}", f"genus {i // 12}", f"species {i}") for i in range(60_000)]
    tree = Taxonomy.from_paths(rows)
    z = torch.randn(2, tree.num_nodes, requires_grad=True)
    terms = Objective({name: 1.0 for name in LOSSES}, tree)(z, tree.leaf_paths[[5, 50_000]])
    terms["loss"].backward()
    assert z.grad.isfinite().all()


class TestClassesHeldBack:
    """`seen`: a loss over part of the classes is the loss of the smaller tree."""

    SEEN_LEAVES = TREE.leaves[1:-1]

    def seen(self) -> torch.Tensor:
        mask = torch.zeros(TREE.num_nodes, dtype=torch.bool)
        mask[TREE.keeping(self.SEEN_LEAVES)[1]] = True
        return mask

    @pytest.mark.parametrize("levels", [2, 3])
    @pytest.mark.parametrize("name", LOSSES)
    def test_equals_the_loss_on_the_smaller_tree(self, name: str, levels: int) -> None:
        """Of some leaves and their ancestors; or of all classes down to a level, where the tree then ends."""
        seen = self.seen() if levels == 3 else TREE.level < 2
        small, kept = TREE.keeping(seen.nonzero()[:, 0])
        rows = torch.arange(5) % small.num_leaves
        paths = TREE.paths(kept[small.leaves[rows]]) if levels == 3 else TREE.leaf_paths[rows]
        z = torch.randn(5, TREE.num_nodes, dtype=torch.float64, requires_grad=True)
        loss = Objective({name: 1.0}, TREE, seen)(z, paths)["loss"]
        of_small = small.leaf_paths[rows] if levels == 3 else paths[:, :2]
        torch.testing.assert_close(loss, Objective({name: 1.0}, small)(z[:, kept], of_small)["loss"])
        loss.backward()
        assert not z.grad[:, ~seen].any()

    def test_labels_of_classes_held_back_count_as_unknown(self) -> None:
        z = torch.randn(2, TREE.num_nodes)
        objective = Objective({"leaf_ce": 1.0}, TREE, self.seen())
        paths = TREE.paths(torch.stack([TREE.leaves[0], self.SEEN_LEAVES[0]]))
        coarse = paths.masked_fill(paths == TREE.leaves[0], -1)  # what is seen above the leaf still counts
        torch.testing.assert_close(objective(z, paths)["loss"], objective(z, coarse)["loss"])

    def test_nan_in_a_column_held_back_is_named_as_such(self) -> None:
        z = torch.zeros(1, TREE.num_nodes).index_fill(1, TREE.leaves[:1], float("nan"))
        with pytest.raises(UserError, match="held back from training"):
            Objective({"level_ce": 1.0}, TREE, self.seen())(z, TREE.paths(self.SEEN_LEAVES[:1]))

    def test_nodes_are_seen_with_their_parents(self) -> None:
        with pytest.raises(ValueError, match="without its parent"):
            Objective({"level_ce": 1.0}, TREE, TREE.level != 0)
        for wrong in (torch.tensor([-1]), torch.tensor([], dtype=torch.int64)):
            with pytest.raises(ValueError, match="at least one node"):
                TREE.keeping(wrong)
