"""Learnable points, the audit that they are optimised on their manifold, and their optimiser: AdamW without decay."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from hierfit.errors import UserError
from hierfit.geometry import Space
from hierfit.geometry.manifold import ManifoldPoints, RiemannianAdamW, audit_manifold_parameters, geoopt

GEOMETRIES = ["poincare", "lorentz", "euclidean"]


def made(geometry: str = "poincare") -> ManifoldPoints:
    space = Space(geometry, 0.1)
    return ManifoldPoints(space.embed(torch.randn(5, 3, generator=torch.Generator().manual_seed(0))), space)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_points_come_back_in_the_spaces_own_coordinates(geometry: str) -> None:
    space = Space(geometry, 0.1)
    points = space.embed(torch.randn(5, 3))
    module = ManifoldPoints(points, space)
    assert isinstance(module.points, geoopt.ManifoldParameter)
    torch.testing.assert_close(module(), points)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_points_survive_saving_and_copying(geometry: str) -> None:
    module, other = made(geometry), made(geometry)
    with torch.no_grad():
        module.points.mul_(0.5)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    for copied in (other, copy.deepcopy(module)):
        torch.testing.assert_close(copied(), module())
        assert isinstance(copied.points, geoopt.ManifoldParameter)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_audit_is_silent_when_all_is_well(geometry: str) -> None:
    model = nn.Sequential(nn.Linear(3, 3), made(geometry))
    audit_manifold_parameters(model, RiemannianAdamW(model.parameters(), lr=0.1))
    audit_manifold_parameters(nn.Linear(2, 2), torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1))


def test_audit_names_every_fault_at_once() -> None:
    model = nn.Sequential(made(), made(), made())
    model[1].points = nn.Parameter(model[1].points.data)
    model[2].to(torch.bfloat16)
    plain = torch.optim.AdamW([model[0].points, model[1].points])
    with pytest.raises(UserError, match="bf16-mixed") as error:
        audit_manifold_parameters(model, [plain])
    assert error.value.problems == (
        "1.points is a plain parameter, no longer a geoopt.ManifoldParameter",
        "0.points is in AdamW, which takes Euclidean steps",
        "2.points is torch.bfloat16; points on a manifold need at least float32",
        "2.points is in no optimiser",
    )


@pytest.mark.parametrize("geometry", ["poincare", "lorentz"])
@pytest.mark.parametrize("lr", [0.01, 1.0])
def test_training_pushed_to_the_boundary_stays_finite(geometry: str, lr: float) -> None:
    space = Space(geometry, 1.0, 5.0)
    module = ManifoldPoints(space.embed(torch.randn(16, 8, generator=torch.Generator().manual_seed(0)) * 5), space)
    optimizer = RiemannianAdamW(module.parameters(), lr=lr)
    for sign in [-1] * 40 + [0] * 5 + [1] * 40:
        optimizer.zero_grad()
        (sign * space.pairwise_distance(module(), module()).mean()).backward()
        optimizer.step()
    assert torch.isfinite(module()).all()
    assert (module.points.norm(dim=-1) < 1).all()


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
