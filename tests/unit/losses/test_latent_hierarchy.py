"""The latent hierarchy against loops, its gradient, its mining, and its controls."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hierfit.geometry import Space
from hierfit.losses.latent_hierarchy import LatentHierarchyLoss, Triplets, gumbel_noise, mine_triplets, triplet_lca_loss

TAU, MARGIN = 0.3, 0.2


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def problem(seed: int, n: int = 6, p: int = 4, t: int = 12) -> tuple[Tensor, Triplets, Tensor]:
    """Random distances ``[n, p]``, triplets (of uneven weights, some 0) and noise, float64."""
    g = seeded(seed)
    distance = torch.rand(n, p, generator=g, dtype=torch.float64) * 2
    members = torch.randint(n, (3, t), generator=g)
    weight = torch.rand(t, generator=g).double().sub_(0.2).clamp_min_(0)
    return distance, Triplets(members, weight), gumbel_noise((2, t, p), distance, g)


def by_loops(distance: Tensor, triplets: Triplets, noise: Tensor, learned: bool) -> Tensor:
    """The loss as its equation reads: one triplet, one member, one candidate at a time."""
    total, candidates = distance.new_zeros(()), range(distance.shape[1])
    for t in range(len(triplets.weight)):
        i, j, k = (int(row) for row in triplets.members[:, t])
        chosen, soft = [], []
        for which, group in enumerate([(i, j), (i, j, k)]):
            scores = [
                noise[which, t, p] - (max(distance[m, p] for m in group) / TAU if learned else 0) for p in candidates
            ]
            chosen.append(max(candidates, key=lambda p: scores[p].item()))
            norm = sum(torch.exp(s) for s in scores)
            soft.append([torch.exp(s) / norm for s in scores])
        if chosen[0] == chosen[1]:
            continue

        def reach(member: int, which: int) -> Tensor:
            value = distance[member, chosen[which]]  # noqa: B023
            if learned:  # straight-through: nothing in value, the softmax in gradient
                for p in candidates:
                    value = value + distance[member, p].detach() * (soft[which][p] - soft[which][p].detach())  # noqa: B023
            return value

        total = total + triplets.weight[t] * torch.relu(reach(i, 0) - reach(i, 1) + MARGIN)
        total = total + triplets.weight[t] * torch.relu(reach(j, 0) - reach(j, 1) + MARGIN)
        total = total + triplets.weight[t] * torch.relu(reach(k, 1) - reach(k, 0) + MARGIN)
    return total


@pytest.mark.parametrize("learned", [True, False])
@given(seed=st.integers(0, 2**16))
@settings(max_examples=15, deadline=None)
def test_value_and_gradient_equal_the_loops(learned: bool, seed: int) -> None:
    distance, triplets, noise = problem(seed)
    a, b = distance.clone().requires_grad_(), distance.clone().requires_grad_()
    ours = triplet_lca_loss(a, triplets, noise, temperature=TAU, margin=MARGIN, learned=learned)
    slow = by_loops(b, triplets, noise, learned)
    torch.testing.assert_close(ours, slow, rtol=1e-12, atol=1e-12)
    if slow.requires_grad:
        torch.testing.assert_close(
            torch.autograd.grad(ours, a)[0], torch.autograd.grad(slow, b)[0], rtol=1e-10, atol=1e-12
        )


def test_random_ancestors_ignore_distance() -> None:
    distance = torch.tensor([[0.0, 9], [0, 9], [0, 9]])
    triplets = Triplets(torch.tensor([[0], [1], [2]]).expand(3, 4000), torch.full((4000,), 1 / 4000))
    loss = triplet_lca_loss(distance, triplets, gumbel_noise((2, 4000, 2), distance, seeded(0)), learned=False)
    # ρ_ij ≠ ρ_ijk half the time. (0, 1) costs [0 − 9 + .1]₊·2 + [9 − 0 + .1]₊ = 9.1, (1, 0) costs 2·9.1 + 0.
    assert loss.item() == pytest.approx(0.25 * 9.1 + 0.25 * 18.2, rel=0.05)


@given(seed=st.integers(0, 2**16), n=st.integers(5, 24), k=st.integers(2, 8), labelled=st.booleans())
@settings(max_examples=40, deadline=None)
def test_mining_keeps_its_promises(seed: int, n: int, k: int, labelled: bool) -> None:
    points = torch.randn(n, 3, generator=seeded(seed))
    labels = torch.randint(-1, 4, (n,), generator=seeded(seed)) if labelled else None
    distance = torch.cdist(points, points)
    triplets = mine_triplets(distance, labels, neighbours=k, per_anchor=3, max_anchors=10, generator=seeded(seed))
    nearest = []
    for i in range(n):
        similarity = {
            j: math.exp(-distance[i, j]) + (labels is not None and labels[i] == labels[j] >= 0)
            for j in range(n)
            if j != i
        }
        nearest.append(sorted(similarity, key=lambda j: -similarity[j])[: min(k, (n - 1) // 2)])
    mutual = [{j for j in nearest[i] if i in nearest[j]} for i in range(n)]
    anchors = [i for i in range(n) if len(mutual[i]) >= 2]
    assert triplets.members.shape == (3, 3 * min(10, n))
    assert triplets.weight.count_nonzero() == 3 * min(10, len(anchors))
    assert triplets.weight.sum().item() == pytest.approx(1.0 if anchors else 0.0)
    for (i, j, other), weight in zip(triplets.members.T.tolist(), triplets.weight, strict=True):
        if weight:
            assert i in anchors
            assert j in mutual[i]
            assert other not in mutual[i]
            assert other != i


def test_mining_is_reproducible_and_draws_every_anchor_in_time() -> None:
    distance = torch.cdist(points := torch.randn(30, 2, generator=seeded(0)), points)
    first, second = (mine_triplets(distance, max_anchors=5, generator=seeded(7)) for _ in range(2))
    assert torch.equal(first.members, second.members)
    g = seeded(0)
    seen = torch.cat([mine_triplets(distance, max_anchors=5, generator=g).members[0] for _ in range(60)])
    assert len(seen.unique()) == 30


@pytest.mark.parametrize("n", [0, 1, 2, 4])
def test_too_few_points_give_no_triplets_and_no_loss(n: int) -> None:
    points = torch.randn(n, 3, requires_grad=True)
    loss = LatentHierarchyLoss(Space())(points, torch.zeros(n), points[:0], torch.zeros(0), points)
    loss.backward()
    assert loss == 0
    assert (points.grad == 0).all()


def points_of(space: Space, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    g = seeded(3)
    labels = torch.arange(5).repeat(4)
    made = {
        name: space.embed(torch.randn(n, 6, generator=g, dtype=dtype))
        for name, n in {"images": 20, "categories": 5, "attributes": 12, "known_ancestors": 3}.items()
    }
    return {**made, "image_labels": labels, "category_labels": torch.arange(5)}


@pytest.mark.parametrize("hierarchy", ["joint", "tiered"])
def test_ball_and_hyperboloid_give_the_same_loss_and_flat_space_another(hierarchy: str) -> None:
    losses = {}
    for geometry in ("poincare", "lorentz", "euclidean"):
        space = Space(geometry)
        loss = LatentHierarchyLoss(space, hierarchy=hierarchy)
        losses[geometry] = loss(**points_of(space), generator=seeded(0))
    torch.testing.assert_close(losses["poincare"], losses["lorentz"], rtol=1e-8, atol=1e-8)
    assert abs(losses["poincare"] - losses["euclidean"]) > 1e-3


@pytest.mark.parametrize(
    ("hierarchy", "with_attributes", "shapes"),
    [
        ("joint", True, [(25 + 12, 15)]),
        ("tiered", True, [(20, 15), (12, 8)]),
        ("joint", False, [(20, 8)]),
        ("tiered", False, [(20, 8)]),
    ],
)
def test_tiers_see_the_candidates_they_should(
    hierarchy: str, with_attributes: bool, shapes: list[tuple[int, int]]
) -> None:
    space = Space()
    points = points_of(space)
    if not with_attributes:
        points.pop("attributes")
    loss = LatentHierarchyLoss(space, hierarchy=hierarchy)
    seen: list[tuple[int, ...]] = []
    loss.hinge = lambda distance, triplets, noise: seen.append(tuple(distance.shape)) or distance.sum()
    loss(**points)
    assert seen == shapes


def test_joint_is_the_sum_of_its_tiers() -> None:
    space, points = Space(), points_of(Space())
    above = torch.cat([points["attributes"], points["known_ancestors"]])
    labels = torch.cat([points["image_labels"], points["category_labels"]])
    leaves = torch.cat([points["images"], points["categories"]])
    alone, g = torch.zeros((), dtype=torch.float64), seeded(5)
    for tier, classes in ((leaves, labels), (points["attributes"], None)):
        triplets = mine_triplets(space.pairwise_distance(tier, tier), classes, generator=g)
        distance = space.pairwise_distance(tier, above)
        alone = alone + triplet_lca_loss(distance, triplets, gumbel_noise((2, len(triplets.weight), 15), distance, g))
    torch.testing.assert_close(LatentHierarchyLoss(space)(**points, generator=seeded(5)), alone, rtol=1e-12, atol=0)


@pytest.mark.parametrize("lca", ["learned", "random"])
@pytest.mark.parametrize("geometry", ["poincare", "lorentz", "euclidean"])
def test_gradient_reaches_every_kind_of_point_and_stays_finite_under_autocast(geometry: str, lca: str) -> None:
    space = Space(geometry)
    points = points_of(space, torch.float32)
    leaves = [points[name].requires_grad_() for name in ("images", "categories", "attributes")]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = LatentHierarchyLoss(space, lca=lca)(**points, generator=seeded(0))
    assert loss.dtype == torch.float32
    loss.backward()
    for leaf in leaves:
        assert torch.isfinite(leaf.grad).all()
        assert leaf.grad.abs().sum() > 0


def test_descending_the_loss_pulls_attributes_under_their_leaves() -> None:
    # Two far clusters, attributes at random: after training, the clusters share no nearest attribute.
    g = seeded(0)
    space = Space("poincare", 0.1)
    centre = torch.tensor([[2.0, 0, 0], [-2.0, 0, 0]]).repeat_interleave(10, 0)
    images = space.embed(centre + 0.2 * torch.randn(20, 3, generator=g))
    free = torch.randn(8, 3, generator=g).requires_grad_()
    loss = LatentHierarchyLoss(space, neighbours=9)
    optimizer = torch.optim.Adam([free], lr=0.05)
    labels = torch.arange(2).repeat_interleave(10)
    history = []
    for _ in range(80):
        optimizer.zero_grad()
        value = loss(images, labels, images[:0], labels[:0], space.embed(free), generator=g)
        value.backward()
        optimizer.step()
        history.append(value.item())
    assert sum(history[-10:]) < 0.8 * sum(history[:10])
    nearest = space.pairwise_distance(images, space.embed(free)).argmin(1)
    assert not set(nearest[:10].tolist()) & set(nearest[10:].tolist())
