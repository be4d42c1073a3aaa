"""`RiemannianAdamW`: AdamW on Euclidean parameters, Riemannian Adam without decay on a manifold."""

from __future__ import annotations

import torch
from torch import nn

from hierfit.geometry import Space
from hierfit.geometry.manifold import ManifoldPoints, RiemannianAdamW, geoopt


def test_euclidean_parameters_take_adamws_steps() -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.arange(6.0).reshape(2, 3)) for _ in range(2))
    a = RiemannianAdamW([ours], lr=0.1, weight_decay=0.3)
    b = torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.3)
    for _ in range(20):
        gradient = torch.randn(2, 3)
        for parameter, optimizer in ((ours, a), (theirs, b)):
            parameter.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(ours, theirs)
    assert a.param_groups[0]["weight_decay"] == 0.3


def test_manifold_points_are_not_decayed() -> None:
    space = Space("poincare", 1.0)
    start = space.embed(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))
    module = ManifoldPoints(start, space)
    optimizer = RiemannianAdamW(module.parameters(), lr=0.1, weight_decay=0.5)
    module.points.grad = torch.zeros_like(start)
    optimizer.step()
    torch.testing.assert_close(module(), start)


def test_closure_is_run_with_gradients_before_the_decay() -> None:
    parameter = nn.Parameter(torch.tensor([2.0]))
    optimizer = RiemannianAdamW([parameter], lr=0.1, weight_decay=0.5)
    seen = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = parameter.square().sum()
        loss.backward()
        seen.append(parameter.item())
        return loss

    assert optimizer.step(closure).item() == 4
    assert seen == [2.0]
    torch.testing.assert_close(parameter.data, torch.tensor([2.0 * (1 - 0.1 * 0.5) - 0.1]))


def test_points_reach_their_target_and_both_models_of_space_agree() -> None:
    found = []
    for geometry in ("poincare", "lorentz"):
        space = Space(geometry, 0.5)
        target = space.embed(torch.tensor([[1.0, -0.5], [0.2, 0.9]]))
        module = ManifoldPoints(space.embed(torch.tensor([[0.1, 0.1], [-1.0, 0.3]])), space)
        optimizer = RiemannianAdamW(module.parameters(), lr=0.05)
        for _ in range(150):
            optimizer.zero_grad()
            space.distance(module(), target).square().sum().backward()
            optimizer.step()
        found.append(space.radius(module()))
        assert space.distance(module(), target).max() < 0.02
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)


def test_state_is_plain_and_reloads() -> None:
    module = ManifoldPoints(torch.zeros(2, 2), Space("poincare", 1.0))
    optimizer = RiemannianAdamW(module.parameters(), lr=0.1)
    assert isinstance(optimizer, geoopt.optim.mixin.OptimMixin)
    module.points.grad = torch.ones(2, 2)
    optimizer.step()
    other = RiemannianAdamW(module.parameters(), lr=0.1)
    other.load_state_dict(optimizer.state_dict())
    assert other.state[module.points]["step"] == 1
