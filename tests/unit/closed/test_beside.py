"""What stands beside the fit: coarse labels, text, temperature, the kinship test, kernel ridge."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.closed import (
    Statistics,
    fit_coarse,
    fit_tree,
    kinship_test,
    leave_one_out_temperature,
)
from hierfit.closed.coarse import leave_one_out
from hierfit.closed.prior import posterior, variances
from hierfit.methods.kernel_ridge import fit_kernel_ridge, kernel
from hierfit.taxonomy import Taxonomy

from .made import EVEN, RAGGED, fit_treeless, images

TREES = pytest.mark.parametrize("tree", [EVEN, RAGGED], ids=["even", "ragged"])


# --- temperature -------------------------------------------------------------------------------------------------


@TREES
@pytest.mark.parametrize("shrink", [True, False])
def test_an_image_left_out_is_scored_as_if_it_had_not_been_there(tree: Taxonomy, shrink: bool) -> None:
    counts = torch.tensor([3, 2, 1, 4, 5, 2, 3, 2, 2, 2, 2, 2])[: tree.num_leaves]
    x, y = images(tree, counts)
    statistics = Statistics.of(x, y, tree.num_leaves)
    model = fit_tree(statistics, tree) if shrink else fit_treeless(statistics, tree)
    found, labels = leave_one_out(model, statistics, x, y, tree)
    rows = [i for i in range(len(x)) if counts[y[i]] > 1]
    assert labels.tolist() == y[rows].tolist()
    root = torch.linalg.inv(model.whitener)
    blended = root.T @ root
    step, _ = variances(statistics.means @ model.whitener - model.center, statistics.counts, model.noise, tree)
    for row, i in enumerate(rows):
        own, rest = int(y[i]), torch.arange(len(x)) != i
        without = Statistics.of(x[rest], y[rest], tree.num_leaves)
        gone = model.within_share * (statistics.within - without.within) / statistics.dof
        inverse = torch.linalg.inv(blended - gone)
        z = torch.where(without.seen[:, None], without.means @ model.whitener - model.center, 0)
        means = model.nodes[tree.leaves].clone()
        if shrink:
            told, _ = posterior(z, without.counts / model.noise, step, tree)
            means[own] = told[tree.leaves[own]]
        else:
            means[own] = z[own]
        away = x[i] - (means + model.center) @ root
        wanted = -torch.einsum("kd,de,ke->k", away, inverse, away) / 2
        torch.testing.assert_close(found[row].diff(), wanted.diff())


def test_the_temperature_of_images_left_out_is_that_of_new_images() -> None:
    tree = Taxonomy.from_paths([(f"a{i // 4}", f"b{i}") for i in range(40)])
    x, y = images(tree, 40, width=12, noise=1.5)
    train = torch.arange(len(x)) % 40 < 3
    statistics = Statistics.of(x[train], y[train], 40)
    model = fit_tree(statistics, tree)
    found = leave_one_out_temperature(model, statistics, x[train], y[train], tree)
    assert found is not None
    logits = model.logits(x[~train])[:, tree.leaves]
    loss = {t: float(F.cross_entropy(logits / t, y[~train])) for t in (found, found / 2, found * 2)}
    assert min(loss, key=lambda t: loss[t]) == found
    one = Statistics.of(x[::40], y[::40], 40)
    assert leave_one_out_temperature(fit_tree(one, tree), one, x[::40], y[::40], tree) is None


# --- coarse labels -----------------------------------------------------------------------------------------------


def accuracy(logits: Tensor, y: Tensor, tree: Taxonomy) -> float:
    return float((logits[:, tree.leaves].argmax(dim=1) == y).double().mean())


@TREES
def test_coarse_labels_help_and_sums_are_those_of_shares(tree: Taxonomy) -> None:
    x, y = images(tree, 32, noise=0.7)
    place = torch.arange(len(x)) % 32
    exact, coarse = place < 2, (place >= 2) & (place < 12)
    leaf = tree.leaves[y]
    nodes = torch.where(coarse & (tree.parent[leaf] >= 0), tree.parent[leaf], leaf)
    told, test = exact | coarse, place >= 12
    fit = partial(fit_tree, taxonomy=tree)
    found, statistics = fit_coarse(x[told], nodes[told], tree, fit)
    few = fit(Statistics.of(x[exact], y[exact], tree.num_leaves))
    assert accuracy(found.logits(x[test]), y[test], tree) > accuracy(few.logits(x[test]), y[test], tree)
    assert statistics.images == pytest.approx(int(told.sum()))
    torch.testing.assert_close(statistics.second, x[told].T @ x[told])
    torch.testing.assert_close(statistics.sums.sum(dim=0), x[told].sum(dim=0))
    # No image is counted outside of what its label allows.
    top = tree.leaf_paths[:, 0]
    for root in range(tree.level_sizes[0]):
        wanted = (tree.paths(nodes[told])[:, 0] == root).sum()
        assert float(statistics.counts[top == root].sum()) == pytest.approx(int(wanted))


def test_labels_that_are_all_exact_need_no_rounds_and_unknown_ones_are_left_out() -> None:
    x, y = images(EVEN, 3)
    fit = partial(fit_tree, taxonomy=EVEN)
    found, _ = fit_coarse(torch.cat([x, x[:2] + 9]), torch.cat([EVEN.leaves[y], torch.tensor([-1, -1])]), EVEN, fit)
    torch.testing.assert_close(found.logits(x), fit(Statistics.of(x, y, 12)).logits(x))


def test_without_any_leaf_label_classes_of_a_family_are_alike() -> None:
    x, y = images(EVEN, 6)
    found, _ = fit_coarse(x, EVEN.parent[EVEN.leaves[y]], EVEN, partial(fit_tree, taxonomy=EVEN))
    families = found.nodes[EVEN.leaves].unflatten(0, (4, 3))
    torch.testing.assert_close(families, families[:, :1].expand_as(families))
    assert float((found.logits(x)[:, EVEN.level_slices[1]].argmax(dim=1) == y // 3).double().mean()) > 0.8


# --- text --------------------------------------------------------------------------------------------------------


@TREES
def test_text_places_classes_without_images(tree: Taxonomy) -> None:
    counts = torch.full((tree.num_leaves,), 3)
    counts[2] = 0
    x, y = images(tree, torch.full((tree.num_leaves,), 30), width=16)
    test = torch.arange(len(x)) % 30 >= 3
    text = torch.stack([x[test & (y == k)].mean(dim=0) for k in range(tree.num_leaves)]) * 2 + 5
    train = ~test & (counts[y] > 0)
    statistics = Statistics.of(x[train], y[train], tree.num_leaves)
    mine = (y == 2) & test
    found = accuracy(fit_tree(statistics, tree, text=text).logits(x[mine]), y[mine], tree)
    assert found > accuracy(fit_tree(statistics, tree).logits(x[mine]), y[mine], tree)
    unrelated = fit_tree(statistics, tree, text=text.roll(1, 0))
    assert accuracy(unrelated.logits(x[test]), y[test], tree) < accuracy(
        fit_tree(statistics, tree, text=text).logits(x[test]), y[test], tree
    )


def test_text_that_says_nothing_leaves_a_prior_about_the_middle() -> None:
    x, y = images(EVEN, 3)
    statistics = Statistics.of(x, y, 12)
    found = fit_tree(statistics, EVEN, text=torch.ones(12, 5))
    middle = statistics.means.mean(dim=0)
    torch.testing.assert_close(found.whiten(middle), torch.zeros(5).double(), atol=1e-9, rtol=0)
    with pytest.raises(ValueError, match="no image"):
        fit_tree(Statistics.of(x[:0], y[:0], 12), EVEN, text=torch.ones(12, 5))


# --- kinship -----------------------------------------------------------------------------------------------------


@TREES
def test_kinship_is_the_mean_over_classes_and_pairs(tree: Taxonomy) -> None:
    generator = torch.Generator().manual_seed(3)
    means = torch.randn(tree.num_leaves, 4, generator=generator, dtype=torch.float64)
    seen = torch.ones(tree.num_leaves, dtype=torch.bool)
    seen[1] = False
    found = kinship_test(means, seen, tree, permutations=5)
    z = means - means[seen].mean(dim=0)
    energy = z[seen].square().sum(dim=1).mean()
    paths = tree.leaf_paths
    share = ((paths[:, None] == paths[None]) & (paths[:, None] >= 0)).sum(dim=2)
    values = []
    for k in seen.nonzero()[:, 0].tolist():
        others = seen & (torch.arange(len(seen)) != k)
        kin = others & (share[k] == share[k][others].max())
        values.append(z[k] @ z[kin].mean(dim=0))
    assert found.value == pytest.approx(float(torch.stack(values).mean() / energy))
    for node in range(tree.num_nodes):
        below = ((paths == node).any(dim=1) & seen).nonzero()[:, 0].tolist()
        if len(below) < 2 or len(below) == int(seen.sum()):
            assert found.node_values[node].isnan()
            continue
        pairs = torch.stack([z[a] @ z[b] for a, b in itertools.permutations(below, 2)])
        assert float(found.node_values[node]) == pytest.approx(float(pairs.mean() / energy))


def test_a_tree_that_fits_is_told_from_one_that_does_not_and_a_family_that_is_none_from_the_others() -> None:
    tree = Taxonomy.from_paths([(f"a{i // 5}", f"b{i}") for i in range(50)])
    x, _ = images(tree, 1, width=32, noise=0.0)
    seen = torch.ones(50, dtype=torch.bool)
    true = kinship_test(x, seen, tree)
    assert true.p < 0.01
    assert true.z > 5
    # p is uniform where tree and features have nothing to do with each other.
    generator = torch.Generator().manual_seed(0)
    p = [kinship_test(x[torch.randperm(50, generator=generator)], seen, tree, permutations=50).p for _ in range(40)]
    assert 0.3 < sum(p) / 40 < 0.7
    mixed = x.clone()
    mixed[:5] = torch.randn(5, 32, generator=generator, dtype=torch.float64) * x.std()
    groups = kinship_test(mixed, seen, tree).node_p[tree.level_slices[0]]
    assert groups[0] > 0.03
    assert float(groups[1:].median()) < 0.01


# --- kernel ridge ------------------------------------------------------------------------------------------------


def test_kernel_ridge_solves_its_equation_and_fits_what_it_was_given() -> None:
    x, y = images(EVEN, 2)
    x, target = F.normalize(x, dim=1), F.one_hot(y, 12).double()
    found = fit_kernel_ridge(x, target, beta=5.5, ridge=0.1)
    torch.testing.assert_close(kernel(x, x, 5.5) @ found + 0.1 * found, target)
    distance = torch.cdist(x, x).square()
    torch.testing.assert_close(kernel(x, x, 5.5), torch.exp(-5.5 * distance / 2))
    assert torch.equal((kernel(x, x, 5.5) @ found).argmax(dim=1), y)
