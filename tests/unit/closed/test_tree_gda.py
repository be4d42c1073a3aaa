"""TreeGDA's parts against slow oracles: every pair of classes, a dense Gaussian solve, loops over images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hierfit.closed import Statistics, TiedForm, fit_tree
from hierfit.closed.prior import increasing, mean_of_kin, pair_covariances, posterior, sums_below, variances
from hierfit.closed.statistics import ridge, whitener
from hierfit.closed.tree_gda import Labelled, covariance
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.shuffle import shuffled_places

from .made import EVEN, FLAT, RAGGED, TREES, fit_treeless, images

ALL = pytest.mark.parametrize("tree", TREES.values(), ids=list(TREES))
generator = torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def some_seen(tree: Taxonomy) -> Tensor:
    seen = torch.ones(tree.num_leaves, dtype=torch.bool)
    seen[[1, 4]] = False
    return seen


def shared_nodes(tree: Taxonomy) -> Tensor:
    """How many nodes the paths of two leaves share ``[C, C]``."""
    paths = tree.leaf_paths
    return ((paths[:, None] == paths[None]) & (paths[:, None] >= 0)).sum(dim=2)


@ALL
def test_pair_covariances_are_means_over_all_pairs(tree: Taxonomy) -> None:
    z, seen = normal(tree.num_leaves, 4), some_seen(tree)
    found, pairs = pair_covariances(z, seen, tree)
    both = seen[:, None] & seen[None] & ~torch.eye(len(seen), dtype=torch.bool)
    for h in range(tree.num_levels + 1):
        chosen = both & (shared_nodes(tree) == h)
        assert pairs[h] == chosen.sum()
        wanted = (z @ z.T / 4)[chosen].mean() if chosen.any() else torch.zeros((), dtype=torch.float64)
        torch.testing.assert_close(found[h], wanted)


@ALL
def test_next_of_kin_are_found_as_by_going_up_from_each_leaf(tree: Taxonomy) -> None:
    z, seen = normal(tree.num_leaves, 4), some_seen(tree)
    shares = shared_nodes(tree)
    found = mean_of_kin(z, seen, tree)
    for k in seen.nonzero()[:, 0].tolist():
        others = seen.clone()
        others[k] = False
        kin = others & (shares[k] >= shares[k][others].max())
        kin[k] = True
        torch.testing.assert_close(found[k], z[kin].mean(dim=0))


def test_pooling_never_falls_and_is_the_nearest_such_sequence() -> None:
    values, weights = normal(6), torch.rand(6, generator=generator, dtype=torch.float64) + 0.1
    found = increasing(values, weights)
    assert (found.diff() >= 0).all()
    loss = (weights * (found - values).square()).sum()
    for _ in range(500):  # no other sequence that never falls is nearer
        other = (found + 0.3 * normal(6)).sort().values
        assert (weights * (other - values).square()).sum() >= loss - 1e-12
    gaps = increasing(torch.tensor([9.0, 1.0, 9.0, 2.0]).double(), torch.tensor([0.0, 1.0, 0.0, 1.0]).double())
    assert gaps.tolist() == [1, 1, 1, 2]
    assert not increasing(torch.ones(3), torch.zeros(3)).any()


@ALL
def test_the_posterior_is_that_of_a_dense_gaussian(tree: Taxonomy) -> None:
    step = torch.rand(tree.num_nodes, generator=generator, dtype=torch.float64) + 0.1
    z, precision = normal(tree.num_leaves, 3), 3 * torch.rand(tree.num_leaves, generator=generator).double()
    precision[[1, 4]] = 0
    every = torch.arange(tree.num_nodes)
    paths = tree.paths(every)
    on_path = torch.zeros(tree.num_nodes, tree.num_nodes + 1, dtype=torch.float64)
    on_path.scatter_(1, paths.masked_fill(paths < 0, tree.num_nodes), 1.0)
    on_path = on_path[:, :-1]
    prior = on_path * step @ on_path.T  # a node's mean is the sum of the steps along its path
    told = torch.zeros(tree.num_nodes, dtype=torch.float64).index_copy_(0, tree.leaves, precision)
    sure = torch.linalg.inv(torch.linalg.inv(prior) + told.diag())
    seen = torch.zeros(tree.num_nodes, 3, dtype=torch.float64).index_copy_(0, tree.leaves, precision[:, None] * z)
    mean, variance = posterior(z, precision, step, tree)
    torch.testing.assert_close(mean, sure @ seen)
    torch.testing.assert_close(variance, sure.diagonal())


def test_variances_of_many_classes_are_those_they_were_drawn_with() -> None:
    tree = Taxonomy.from_paths([(f"a{i // 25}", f"b{i // 5}", f"c{i}") for i in range(2500)])
    step = torch.tensor([0.3, 0.5, 0.9]).double()[tree.level].sqrt()
    drawn = step[:, None] * normal(tree.num_nodes, 40)
    z = drawn[tree.leaf_paths].sum(dim=1) + (0.4 / 2) ** 0.5 * normal(2500, 40)
    found, _ = variances(z - z.mean(dim=0), torch.full((2500,), 2.0), 0.4, tree)
    for level, wanted in zip(tree.level_slices, (0.3, 0.5, 0.9), strict=True):
        torch.testing.assert_close(found[level].mean(), torch.tensor(wanted).double(), rtol=0.1, atol=0)


def test_whitened_images_have_the_identity_for_their_blended_covariance() -> None:
    a = normal(20, 6)
    s, r = a.T @ a / 20, ridge(6, 20)
    w = whitener(s, r)
    blended = (1 - r) * s + r * s.trace() / 6 * torch.eye(6).double()
    torch.testing.assert_close(w.T @ blended @ w, torch.eye(6).double())
    values, vectors = torch.linalg.eigh(blended)
    root = vectors * values.rsqrt() @ vectors.T  # the symmetric root has the same inner products
    torch.testing.assert_close(w @ w.T, root @ root)
    torch.testing.assert_close(whitener(torch.zeros(6, 6).double(), r), torch.eye(6).double())


@pytest.mark.parametrize("tree", [EVEN, RAGGED])
@pytest.mark.parametrize("per_leaf", [1, 4])
def test_a_fit_is_the_recipe_written_out(tree: Taxonomy, per_leaf: int) -> None:
    """With eigenvectors, all pairs and a loop over images, instead of Cholesky, sums and passes."""
    x, y = images(tree, per_leaf, width=6)
    classes, width = tree.num_leaves, 6
    mu = torch.stack([x[y == k].mean(dim=0) for k in range(classes)])
    shares = shared_nodes(tree)
    if per_leaf > 1:
        dof = len(x) - classes
        s, r = sum((a - mu[k]).outer(a - mu[k]) for a, k in zip(x, y, strict=True)) / dof, ridge(width, dof)
    else:
        off = shares.clone().fill_diagonal_(-1)
        base = torch.stack(
            [
                mu[off[k].eq(off[k].max()) | (torch.arange(classes) == k) | (shares[k] >= off[k].max())].mean(dim=0)
                for k in range(classes)
            ]
        )
        s = sum((a - base[k]).outer(a - base[k]) for a, k in zip(x, y, strict=True)) / len(x)
        _, kinship = variances(mu - mu.mean(dim=0), torch.ones(classes).double(), 0.0, tree)
        r = 1 - (1 - ridge(width, len(x))) * float(kinship[-1])
    values, vectors = torch.linalg.eigh((1 - r) * s + r * s.trace() / width * torch.eye(width).double())
    w = vectors * values.rsqrt() @ vectors.T
    z = (mu - mu.mean(dim=0)) @ w
    noise = float((w @ s @ w).diagonal().mean()) if per_leaf > 1 else 0.5 * float(z.square().mean())
    step, _ = variances(z, torch.full((classes,), float(per_leaf)).double(), noise, tree)
    m, _ = posterior(z, torch.full((classes,), per_leaf / noise).double(), step, tree)
    wanted = (x - mu.mean(dim=0)) @ w @ m.T - m.square().sum(dim=1) / 2
    statistics = Statistics.of(x, y, classes)
    assert statistics.few == (per_leaf == 1)
    found = fit_tree(statistics, tree)
    torch.testing.assert_close(found.logits(x), wanted)
    weights, bias = found.affine
    torch.testing.assert_close(x @ weights.T + bias, wanted)


def test_a_validation_image_tells_the_share_of_noise_at_one_shot() -> None:
    x, y = images(EVEN, 2, noise=0.02)
    statistics = Statistics.of(x[::2], y[::2], EVEN.num_leaves)
    told = fit_tree(statistics, EVEN, val=Labelled(x[1::2], y[1::2]))
    assert told.noise < fit_tree(statistics, EVEN).noise / 10
    some = Statistics.of(x[:12:2], y[:12:2], EVEN.num_leaves)
    ones = [fit_tree(some, EVEN, val=Labelled(x[1:end:2], y[1:end:2])) for end in (12, 24)]
    assert ones[0].noise == ones[1].noise  # of a class without a mean an image tells nothing
    assert fit_tree(some, EVEN, val=Labelled(x[13::2], y[13::2])).noise == fit_tree(some, EVEN).noise
    many = Statistics.of(x, y, EVEN.num_leaves)
    assert fit_tree(many, EVEN, val=Labelled(x, y)).noise == fit_tree(many, EVEN).noise


# --- rows without a tree, or with another ------------------------------------------------------------------------


def test_flat_gda_is_the_textbook_one() -> None:
    x, y = images(EVEN, 9)
    statistics = Statistics.of(x, y, 12)
    for kind in ("within", "total", "identity"):  # the last is nearest mean
        spread, share = covariance(statistics, EVEN, kind)
        s = (1 - share) * spread + share * spread.trace() / 5 * torch.eye(5).double()
        logits = fit_treeless(statistics, EVEN, kind=kind).logits(x)[:, EVEN.leaves]
        away = x[:, None] - statistics.means
        distance = torch.einsum("bkd,de,bke->bk", away, torch.linalg.inv(s), away)
        torch.testing.assert_close(logits.diff(dim=1), -distance.diff(dim=1) / 2, rtol=1e-5, atol=1e-7)


def test_a_common_prior_is_the_tree_prior_of_a_tree_without_levels() -> None:
    x, y = images(FLAT, 2)
    statistics = Statistics.of(x, y, 7)
    torch.testing.assert_close(
        fit_treeless(statistics, FLAT, shrink=True).logits(x), fit_tree(statistics, FLAT).logits(x)
    )


@pytest.mark.parametrize("tree", [EVEN, RAGGED])
@pytest.mark.parametrize("per_leaf", [1, 3])
def test_shuffling_moves_the_tree_and_never_the_labels(tree: Taxonomy, per_leaf: int) -> None:
    x, y = images(tree, per_leaf)
    statistics = Statistics.of(x, y, tree.num_leaves)
    places = tree.leaf_index[shuffled_places(tree, 1)[tree.leaves]]
    other = fit_tree(statistics, tree, TiedForm("shuffled", places=places)).logits(x)[:, tree.leaves]
    moved = fit_tree(Statistics.of(x, places[y], tree.num_leaves), tree).logits(x)[:, tree.leaves]
    torch.testing.assert_close(other, moved[:, places])
    stays = fit_tree(statistics, tree, TiedForm("shuffled")).logits(x)[:, tree.leaves]
    torch.testing.assert_close(stays, fit_tree(statistics, tree).logits(x)[:, tree.leaves])


@ALL
def test_treeless_inner_nodes_average_their_classes(tree: Taxonomy) -> None:
    counts = torch.full((tree.num_leaves,), 2)
    counts[-1] = 0
    x, y = images(tree, counts)
    found = fit_treeless(Statistics.of(x, y, tree.num_leaves), tree)
    leaves = found.nodes[tree.leaves]
    for node in (tree.num_children > 0).nonzero()[:, 0].tolist():
        below = (tree.leaf_paths == node).any(dim=1) & (counts > 0)
        if below.any():
            torch.testing.assert_close(found.nodes[node], leaves[below].mean(dim=0))


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_hostile_statistics_give_finite_scores(shift: float) -> None:
    one = torch.tensor([3.0, 4.0, 0.0]).double() / 5 + shift
    cases = [
        (one[None].repeat(4, 1), torch.tensor([2, 2, 2, 2])),  # one class alone, all images alike
        (one[None].repeat(8, 1), torch.arange(8)),  # all classes alike
        (torch.eye(3).double()[[0, 0, 1]] + shift, torch.tensor([0, 0, 5])),
    ]
    for x, y in cases:
        statistics = Statistics.of(x, y, 8)
        for found in (
            fit_tree(statistics, RAGGED),
            fit_treeless(statistics, RAGGED),
            fit_tree(statistics, RAGGED, TiedForm(kind="total")),
        ):
            assert found.logits(x).isfinite().all()
            assert sums_below(torch.ones(8), RAGGED).shape == (len(found.nodes),)
    with pytest.raises(ValueError, match="no image"):
        fit_tree(Statistics.of(one[:0].reshape(0, 3), torch.zeros(0, dtype=torch.long), 8), RAGGED)
