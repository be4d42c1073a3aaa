"""`Space`: one key chooses the geometry, and only curvature changes with it."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from hierfit.errors import UserError
from hierfit.geometry import Space


@pytest.mark.parametrize("geometry", ["poincare", "lorentz", "euclidean"])
def test_embed_gives_every_geometry_the_same_radii(geometry: str) -> None:
    u = torch.tensor([[0.0, 0.0], [0.3, 0.4], [30.0, 40.0]])
    radii = (space := Space(geometry, 0.1, 2.3)).radius(space.embed(u))
    torch.testing.assert_close(radii, torch.tensor([0.0, 1.0, 4.6]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(space.max_radius, 4.6)


def test_impossible_spaces_are_refused_with_all_their_faults() -> None:
    with pytest.raises(UserError) as error:
        Space(cast(Any, "poincar"), curvature=0.0, clip_radius=-1.0)
    assert len(error.value.problems) == 3
    assert "poincare, lorentz, euclidean" in str(error.value)


def test_health_counts_points_at_the_cap() -> None:
    space = Space("poincare", 0.1, 2.3)
    figures = space.health(space.embed(torch.tensor([[0.5, 0.0], [1.0, 0.0], [9.0, 0.0], [0.0, 2.3]])))
    assert figures["share_at_cap"] == 0.5
    assert figures["mean_radius"].item() == pytest.approx((1.0 + 2.0 + 4.6 + 4.6) / 4, rel=1e-5)


@pytest.mark.parametrize("geometry", ["poincare", "lorentz", "euclidean"])
def test_the_riemannian_gradient_is_the_plain_one_times_the_inverse_metric(geometry: str) -> None:
    """((1 − c‖x‖²)/2)² of the point's place in the ball: 1/4 at the origin, 1/10.6 at HIER's clip radius."""
    space = Space(geometry, 0.1, 2.3)
    u = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.7
    u[0], u[1] = u[0] * 1e-6, torch.nn.functional.normalize(u[1], dim=0) * 2.3
    gradients = []
    for riemannian in (False, True):
        vectors = u.clone().requires_grad_()
        points = space.embed(vectors, riemannian)
        torch.testing.assert_close(points, space.embed(u), rtol=0, atol=0)
        gradients += torch.autograd.grad(
            space.pairwise_distance(points, points.detach().flip(0)).square().sum(), vectors
        )
    ball = Space("poincare", 0.1, 2.3).embed(u)
    factor = ((1 - 0.1 * ball.square().sum(-1, keepdim=True)) / 2).square()
    if geometry == "euclidean":
        factor = torch.full_like(factor, 0.25)
    else:
        assert factor[:2, 0].tolist() == pytest.approx([1 / 4, 1 / 10.6], rel=0.01)
    torch.testing.assert_close(gradients[1], gradients[0] * factor, rtol=1e-12, atol=1e-14)
