"""Learnable points, and the audit that they are optimised on their manifold."""

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
