"""Hand-computed values of every metric, on one small ragged tree with every kind of label and prediction."""

from __future__ import annotations

import math
import pickle
from copy import deepcopy

import pytest
import torch
from torch import Tensor

from hierfit.errors import UserError
from hierfit.metrics import (
    FullPathAccuracy,
    HierarchicalF1,
    HierarchicalPrecision,
    HierarchicalRecall,
    LeafAccuracy,
    LevelAccuracy,
    MistakeSeverity,
    TreeDistance,
    TreeInconsistency,
    WeightedAveragePrecision,
)
from hierfit.metrics.base import TreeMetric
from hierfit.taxonomy import Taxonomy

TREE = Taxonomy.from_paths(
    [
        ("animal", "bird", "hawk"),
        ("animal", "bird", "owl"),
        ("animal", "fish", "eel"),
        ("animal", "fish", "cod"),
        ("plant", "moss"),
        ("rock",),
    ],
    levels=("kingdom", "class", "kind"),
)
ANIMAL, PLANT, ROCK, BIRD, FISH, MOSS, HAWK, OWL, EEL, COD = range(10)

# fmt: off
SAMPLES = [  # predicted, target
    ([ANIMAL, BIRD, HAWK], [ANIMAL, BIRD, HAWK]),  # right
    ([ANIMAL, BIRD, HAWK], [ANIMAL, BIRD, HAWK]),  # right
    ([ANIMAL, BIRD, OWL],  [ANIMAL, BIRD, HAWK]),  # the sibling
    ([ANIMAL, BIRD, EEL],  [ANIMAL, FISH, EEL]),   # right leaf, but birds have no eel
    ([ROCK, -1, -1],       [PLANT, MOSS, -1]),     # another root
    ([ANIMAL, BIRD, OWL],  [ANIMAL, BIRD, -1]),    # labelled to the class only
    ([ANIMAL, FISH, HAWK], [-1, -1, HAWK]),        # labelled at the leaf only; fish have no hawk
    ([ROCK, -1, -1],       [ROCK, -1, -1]),        # right, and ends at the first level
    ([ROCK, ROCK, HAWK],   [ROCK, -1, -1]),        # level by level: the last level leaves the rock
    ([PLANT, ROCK, MOSS],  [PLANT, MOSS, MOSS]),   # the class is a leaf of another level; the best leaf is right
    ([PLANT, BIRD, EEL],   [-1, -1, -1]),          # no label: ignored by all
]
# fmt: on
PREDICTED, TARGET = (torch.tensor(paths) for paths in zip(*SAMPLES, strict=True))

CASES = [
    (FullPathAccuracy(TREE), 5 / 10),
    (TreeInconsistency(TREE), 4 / 10),
    (LevelAccuracy(TREE), [8 / 9, 4 / 7, 4 / 5]),
    (LevelAccuracy(TREE, level="class"), 4 / 7),
    (LeafAccuracy(TREE), 6 / 9),
    # Hawk, eel, moss, rock; owl and cod do not occur.
    (LeafAccuracy(TREE, average="macro"), (3 / 4 + 1 + 1 / 2 + 1 / 2) / 4),
    # The cuts have 3, 4 (rock, too) and 6 nodes (rock and moss, too).
    (WeightedAveragePrecision(TREE), (3 * 8 / 9 + 4 * 6 / 9 + 6 * 6 / 9) / 13),
    # animal 5/5, plant 1/1, rock 2/3; bird 4/5, rock 2/4, fish and moss never predicted;
    # hawk 3/4, owl 0/1, eel 1/1, rock 1/2, moss 1/1, cod neither predicted nor true.
    (
        WeightedAveragePrecision(TREE, convention="precision"),
        (3 * (1 + 1 + 2 / 3) / 3 + 4 * (4 / 5 + 1 / 2) / 4 + 6 * (3 / 4 + 0 + 1 + 1 / 2 + 1) / 5) / 13,
    ),
    # Owl → hawk is 2 edges, rock → moss 3 through the virtual root, hawk → rock 4.
    (TreeDistance(TREE), (2 + 3 + 4) / 10),
    (MistakeSeverity(TREE), (1 + 2 + 1) / 3),
    # Sets by sample: 3 of 3, 3 of 3, 2 of 3, {animal, fish, eel} of these and bird, none of {rock}, 2 of 2,
    # {animal, bird, hawk} of these and fish, 1 of 1, {rock} of it and hawk's three, {plant, moss} of these and rock.
    (HierarchicalPrecision(TREE), 20 / (3 + 3 + 3 + 4 + 1 + 2 + 4 + 1 + 4 + 3)),
    (HierarchicalRecall(TREE), 20 / (3 + 3 + 3 + 3 + 2 + 2 + 3 + 1 + 1 + 2)),
    (HierarchicalF1(TREE), 2 * 20 / (28 + 23)),
]


@pytest.fixture(params=CASES, ids=lambda case: type(case[0]).__name__)
def case(request: pytest.FixtureRequest) -> tuple[TreeMetric, Tensor]:
    """A fresh metric, and its value on all samples."""
    return deepcopy(request.param[0]), torch.tensor(request.param[1])


@pytest.mark.parametrize("sizes", [[1] * 11, [4, 0, 7], [10, 1], [0, 11]])
def test_value_and_any_split_gives_the_same_bits(case: tuple[TreeMetric, Tensor], sizes: list[int]) -> None:
    metric, expected = case
    whole = deepcopy(metric)(PREDICTED, TARGET)
    torch.testing.assert_close(whole, expected)
    for predicted, target in zip(PREDICTED.split(sizes), TARGET.split(sizes), strict=True):
        metric.update(predicted, target)
    assert torch.equal(metric.compute(), whole)


def test_forward_gives_the_batch_and_compute_the_sum_until_reset(case: tuple[TreeMetric, Tensor]) -> None:
    metric, expected = case
    first = metric(PREDICTED[:3], TARGET[:3])
    alone = deepcopy(metric)
    alone.reset()
    alone.update(PREDICTED[:3], TARGET[:3])
    torch.testing.assert_close(first, alone.compute(), rtol=0, atol=0, equal_nan=True)
    metric(PREDICTED[3:], TARGET[3:])
    torch.testing.assert_close(metric.compute(), expected)
    metric.reset()
    metric.update(PREDICTED[:3], TARGET[:3])
    torch.testing.assert_close(metric.compute(), first, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("rows", [slice(0, 0), slice(10, 11)], ids=["no samples", "no labels"])
def test_nothing_to_measure_is_nan(case: tuple[TreeMetric, Tensor], rows: slice) -> None:
    metric, _ = case
    metric.update(PREDICTED[rows], TARGET[rows])
    assert metric.compute().isnan().all()


def test_severity_is_nan_when_nothing_is_wrong() -> None:
    assert math.isnan(MistakeSeverity(TREE)(TARGET[:3], TARGET[:3]))
    assert TreeDistance(TREE)(TARGET[:3], TARGET[:3]) == 0


def test_abstention_costs_recall_and_distance_not_precision_or_consistency() -> None:
    nothing = torch.full((1, 3), -1)
    assert TreeInconsistency(TREE)(nothing, TARGET[:1]) == 0
    assert FullPathAccuracy(TREE)(nothing, TARGET[:1]) == 0
    assert HierarchicalRecall(TREE)(nothing, TARGET[:1]) == 0
    assert math.isnan(HierarchicalPrecision(TREE)(nothing, TARGET[:1]))
    assert TreeDistance(TREE)(nothing, TARGET[:1]) == 3
    assert MistakeSeverity(TREE)(nothing, TARGET[:1]) == 3


def test_survives_pickle_and_state_dict(case: tuple[TreeMetric, Tensor]) -> None:
    metric, expected = case
    fresh = deepcopy(metric)
    metric.update(PREDICTED, TARGET)
    assert metric.state_dict() == {}
    metric.persistent(True)
    fresh.persistent(True)
    fresh.load_state_dict(metric.state_dict())
    # Values straight from the states: compute() would warn that this object saw no update.
    for copy in (fresh, pickle.loads(pickle.dumps(metric))):
        assert all(torch.equal(getattr(copy, name), getattr(metric, name)) for name in metric.metric_state)
    torch.testing.assert_close(pickle.loads(pickle.dumps(metric)).compute(), expected)


@pytest.mark.parametrize("cast", ["half", "bfloat16", "to"])
def test_counts_stay_exact_when_the_model_is_cast(case: tuple[TreeMetric, Tensor], cast: str) -> None:
    metric, expected = case
    metric = metric.to(torch.bfloat16) if cast == "to" else getattr(metric, cast)()
    metric.update(PREDICTED, TARGET)
    assert {count.dtype for count in metric.metric_state.values()} == {torch.int64}
    torch.testing.assert_close(metric.compute(), expected)


def test_a_reset_in_inference_mode_does_not_lock_the_counts(case: tuple[TreeMetric, Tensor]) -> None:
    metric, expected = case
    with torch.inference_mode():
        metric.update(PREDICTED, TARGET)
        metric.compute()
        metric.reset()
    metric.update(PREDICTED, TARGET)
    torch.testing.assert_close(metric.compute(), expected)


@pytest.mark.parametrize(
    ("predicted", "target", "message"),
    [
        (torch.zeros(4, 10), TARGET[:4], r"predicted is \[4, 10\] torch.float32.*decoding from logits"),
        (PREDICTED[:, :2], TARGET, r"predicted is \[11, 2\].*must be \[B, 3\] torch.int64"),
        (PREDICTED, TARGET[:, 2], r"target is \[11\]"),
        (PREDICTED[:4], TARGET[:5], "4 samples and target 5"),
        (torch.tensor([[0, 3, 10]]), TARGET[:1], r"predicted\[0, 2\] is 10; level 'kind' .* 6 to 9"),
        (PREDICTED[:1], torch.tensor([[0, -2, 6]]), r"target\[0, 1\] is -2; level 'class' .* 3 to 5"),
        (torch.tensor([[0, 3, 1]]), TARGET[:1], r"predicted\[0, 2\] is 1; .* 6 to 9, leaves that ended"),
        (PREDICTED[:1], torch.tensor([[3, 3, 6]]), r"target\[0, 0\] is 3; level 'kingdom' .* 0 to 2"),
    ],
)
def test_wrong_inputs_are_named(predicted: Tensor, target: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FullPathAccuracy(TREE).update(predicted, target)


def test_wrong_options_are_named() -> None:
    for kind, key, choices in [
        (LevelAccuracy, "level", "kingdom, class, kind"),
        (LeafAccuracy, "average", "micro, macro"),
        (WeightedAveragePrecision, "convention", "accuracy, precision"),
    ]:
        with pytest.raises(UserError, match=f"no {key} 'other'\nChoose one of: {choices}"):
            kind(TREE, **{key: "other"})
