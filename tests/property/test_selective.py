"""Answers at every threshold against cutting each path by hand, and the promise of split conformal."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hierfit.decoding.calibration import conformal_scores, conformal_threshold, images_needed
from hierfit.metrics.selective import Curve, operating_curve
from hierfit.taxonomy import Taxonomy
from tests.oracles import chain, forests, leaves_below, quick, seeds

TREE = Taxonomy.from_paths([("bird", "hawk"), ("bird", "owl"), ("fish", "eel")])


@st.composite
def believed(draw: st.DrawFn) -> tuple[Taxonomy, Tensor, Tensor, Tensor]:
    """A ragged forest; paths of random leaves and their beliefs in 32nds, so that many are equal; partial labels."""
    tree, rng = draw(forests(20)), draw(seeds)
    samples = draw(st.integers(1, 8))
    paths = tree.leaf_paths[torch.from_numpy(rng.integers(0, tree.num_leaves, samples))]
    falling = -np.sort(-rng.integers(0, 33, paths.shape), axis=1) / 32.0
    target = tree.leaf_paths[torch.from_numpy(rng.integers(0, tree.num_leaves, samples))]
    target = torch.where(torch.from_numpy(rng.random((samples, 1)) < 0.4), paths, target)
    target = target.masked_fill(torch.from_numpy(rng.random(target.shape) < draw(st.sampled_from([0.0, 0.4]))), -1)
    target[0, 0] = paths[0, 0]  # some label there is
    if draw(st.booleans()):
        paths = tree.padded(paths)
    return tree, paths, torch.from_numpy(falling), target


def by_hand(tree: Taxonomy, paths: Tensor, confidence: Tensor, target: Tensor, t: float) -> list[float]:
    """Error, coverage, depth and information at one threshold."""
    rows = []
    for path, belief, label in zip(paths.tolist(), confidence.tolist(), tree.padded(target).tolist(), strict=True):
        if max(label) < 0:
            continue
        whole = chain(tree, max(path))
        answer = [node for node, sure in zip(whole, belief, strict=False) if sure > t]
        wrong = any(known not in (-1, node) for node, known in zip(answer, label, strict=False))
        below = leaves_below(tree, answer[-1]) if answer else []
        if not answer:
            kept = 0.0
        elif tree.num_leaves == 1:
            kept = 1.0
        else:
            kept = math.log(tree.num_leaves / len(below)) / math.log(tree.num_leaves)
        rows.append([float(wrong), float(bool(answer)), len(answer) / len(whole), kept])
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


@quick
@given(believed())
def test_curve_against_cutting_at_every_threshold(case: tuple[Taxonomy, Tensor, Tensor, Tensor]) -> None:
    tree, paths, confidence, target = case
    curve = operating_curve(paths, confidence, target, tree)
    found = torch.stack([curve.error, curve.coverage, curve.depth, curve.information], dim=1)
    expected = [by_hand(tree, paths, confidence, target, t) for t in curve.threshold.tolist()]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    # Between two thresholds nothing changes, at the last all are silent, and nothing rises.
    between = (curve.threshold[1:] + curve.threshold[:-1]) / 2
    same = [by_hand(tree, paths, confidence, target, t) for t in between.tolist()]
    torch.testing.assert_close(torch.tensor(same, dtype=torch.float64).reshape(-1, 4), found[:-1])
    assert found[-1].abs().max() < 1e-12
    assert (found.diff(dim=0)[:, :3] <= 1e-12).all()


@quick
@given(believed())
def test_a_score_is_where_the_answer_turns_right(case: tuple[Taxonomy, Tensor, Tensor, Tensor]) -> None:
    tree, paths, confidence, target = case
    scores = conformal_scores(paths, confidence, target)
    for i, score in enumerate(scores.tolist()):
        if (target[i] < 0).all():
            assert score == 0
            continue
        row = slice(i, i + 1)
        assert by_hand(tree, paths[row], confidence[row], target[row], score)[0] == 0
        assert score == 0 or by_hand(tree, paths[row], confidence[row], target[row], score - 1 / 64)[0] == 1


def test_curve_by_hand() -> None:
    paths = torch.tensor([[0, 2], [0, 3], [1, 4]])
    confidence = torch.tensor([[0.9, 0.6], [0.8, 0.5], [0.7, 0.7]], dtype=torch.float64)
    target = torch.tensor([[0, 2], [0, 2], [0, 3]])  # right; the sibling; another root
    curve = operating_curve(paths, confidence, target, TREE)
    bird = 1 - math.log(2) / math.log(3)  # what "bird" tells; "fish" has one kind, and tells all
    expected = {
        "threshold": [0, 0.5, 0.6, 0.7, 0.8, 0.9],
        "error": [2 / 3, 1 / 3, 1 / 3, 0, 0, 0],
        "coverage": [1, 1, 1, 2 / 3, 1 / 3, 0],
        "depth": [1, 2.5 / 3, 2 / 3, 1 / 3, 0.5 / 3, 0],
        "information": [1, (2 + bird) / 3, (1 + 2 * bird) / 3, 2 * bird / 3, bird / 3, 0],
        "answered_error": [2 / 3, 1 / 3, 1 / 3, 0, 0, math.nan],
    }
    for name, values in expected.items():
        found = getattr(curve, name)
        torch.testing.assert_close(found, torch.tensor(values, dtype=torch.float64), equal_nan=True, msg=name)
    steps = [1 / 3, (1 - bird) / 3, (1 - bird) / 3]  # of information, from where the error is 0 to the whole paths
    assert curve.haurc == pytest.approx(steps[0] * 1 / 6 + steps[1] * 1 / 3 + steps[2] * 1 / 2)


def test_only_as_many_points_as_wanted() -> None:
    ramp = torch.linspace(0, 1, 1000, dtype=torch.float64)
    few = Curve(ramp, 1 - ramp, 1 - ramp, 1 - ramp, 1 - ramp).sampled()
    assert len(few.threshold) == 200
    assert few.threshold[[0, -1]].tolist() == [0, 1]
    assert few.haurc == pytest.approx(0.5)


def test_what_makes_no_curve_is_refused() -> None:
    paths, sure = torch.tensor([[0, 2]]), torch.tensor([[0.5, 0.4]])
    for bad in (sure.flip(1), sure + 1, sure * torch.nan):
        with pytest.raises(ValueError, match="outside \\[0, 1\\] or rises"):
            operating_curve(paths, bad, paths, TREE)
    with pytest.raises(ValueError, match="alike"):
        operating_curve(paths, sure[0], paths, TREE)
    with pytest.raises(ValueError, match="label"):
        operating_curve(paths, sure, paths * 0 - 1, TREE)


@pytest.mark.parametrize("alpha", [0.5, 0.3, 0.2, 0.1, 0.07, 0.05, 0.01])
def test_the_rank_is_exact(alpha: float) -> None:
    finite = []
    for n in range(250):
        scores = torch.arange(1.0, n + 1).flip(0)  # the k-th smallest is k
        wanted = math.ceil((n + 1) * (1 - Decimal(str(alpha))))
        assert conformal_threshold(scores, alpha) == (wanted if wanted <= n else math.inf)
        finite += [n] if wanted <= n else []
    assert images_needed(alpha) == finite[0]


def test_alpha_is_a_share() -> None:
    for alpha in (0, 1, -0.1, math.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            conformal_threshold(torch.zeros(5), alpha)


@pytest.mark.parametrize("alpha", [0.2, 0.1, 0.05])
def test_the_promise_holds_over_many_splits(alpha: float) -> None:
    # A ragged tree, and a model that is overconfident and often wrong.
    tree = Taxonomy.from_paths(
        [(f"r{i % 3}", f"m{i % 7}", f"l{i}") for i in range(21)] + [("r0", "shallow"), ("lone",)]
    )
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(tree.num_leaves, (1000,), generator=generator)
    logits = torch.randn(1000, tree.num_leaves, generator=generator, dtype=torch.float64)
    logits[torch.arange(1000), label] += 1.5
    leaves = (3 * logits).softmax(dim=1)
    paths = tree.leaf_paths[leaves.argmax(dim=1)]
    below = (tree.padded(tree.leaf_paths)[None] == paths[:, None]).double()  # [n, C, L]
    confidence = torch.einsum("nc,ncl->nl", leaves, below)
    target = tree.leaf_paths[label]
    scores = conformal_scores(paths, confidence, target)
    assert (scores > 0).double().mean() > 2 * alpha
    n, splits, errors = 400, 200, []
    for _ in range(splits):
        shuffled = torch.randperm(1000, generator=generator)
        threshold = conformal_threshold(scores[shuffled[:n]], alpha)
        answers = paths.masked_fill(confidence <= threshold, -1)[shuffled[n:]]
        known = target[shuffled[n:]]
        errors.append(((answers >= 0) & (answers != known)).any(dim=1).double().mean().item())
    # Over uniform splits the error of a test sample is exactly 1 − rank/(n + 1), whatever the samples are; a split's
    # share scatters about it as counts of n and of 600 do.
    expected = 1 - math.ceil((n + 1) * (1 - alpha)) / (n + 1)
    scatter = math.sqrt(alpha * (1 - alpha) * (1 / n + 1 / 600))
    assert abs(sum(errors) / splits - expected) < 3 * scatter / math.sqrt(splits)
    assert np.mean(np.abs(np.array(errors) - expected) < 1.96 * scatter) > 0.9
