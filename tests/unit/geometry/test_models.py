"""The pure functions against geoopt in float64, the metric axioms, and the corners of floating point."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hierfit.geometry import GEOMETRIES, stable
from hierfit.geometry.lorentz import from_poincare, to_poincare
from hierfit.geometry.manifold import geoopt

poincare, lorentz, euclidean = (GEOMETRIES[name] for name in ("poincare", "lorentz", "euclidean"))

CURVED = ["poincare", "lorentz"]
curvatures = st.sampled_from([0.1, 1.0, 2.5])
seeds = st.integers(0, 2**16)
quick = settings(max_examples=25, deadline=None)


def tangents(seed: int, n: int = 6, width: int = 4, longest: float = 2.0, c: float = 1.0) -> Tensor:
    """Random tangent vectors at the origin, up to ``longest``/√c, float64."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(n, width, generator=generator, dtype=torch.float64), dim=-1)
    lengths = torch.rand(n, 1, generator=generator, dtype=torch.float64)
    return directions * lengths * longest / math.sqrt(c)


def oracle(name: str, c: float) -> geoopt.Manifold:
    value = torch.tensor(c, dtype=torch.float64)
    return geoopt.PoincareBall(c=value) if name == "poincare" else geoopt.Lorentz(k=1 / value)


def geoopt_tangent(name: str, u: Tensor) -> Tensor:
    return u if name == "poincare" else torch.nn.functional.pad(u, (1, 0))


@pytest.mark.parametrize("name", CURVED)
@given(seed=seeds, c=curvatures)
@quick
def test_maps_and_distances_agree_with_geoopt(name: str, seed: int, c: float) -> None:
    ours, theirs = GEOMETRIES[name], oracle(name, c)
    u = tangents(seed, c=c)
    x = ours.expmap0(u, c)
    torch.testing.assert_close(x, theirs.expmap0(geoopt_tangent(name, u)), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(ours.logmap0(x, c), u, rtol=1e-10, atol=1e-10)
    y = ours.expmap0(tangents(seed + 1, c=c), c)
    torch.testing.assert_close(ours.distance(x, y, c), theirs.dist(x, y), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ours.pairwise_distance(x, y, c), theirs.dist(x[:, None], y), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ours.radius(x, c), theirs.dist0(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", GEOMETRIES)
@given(seed=seeds, c=curvatures)
@quick
def test_distances_are_a_metric(name: str, seed: int, c: float) -> None:
    model = GEOMETRIES[name]
    x = model.expmap0(tangents(seed, longest=3.0, c=c), c)
    d = model.pairwise_distance(x, x, c)
    assert (d.diagonal() < 1e-100).all()
    assert (d + torch.eye(len(x)) > 0).all()
    torch.testing.assert_close(d, d.T)
    assert (d[:, :, None] <= d[:, None, :] + d.T[None, :, :] + 1e-9).all()
    torch.testing.assert_close(d, model.distance(x[:, None], x, c), rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(model.radius(x, c), model.distance(x, model.expmap0(x[:, -4:] * 0, c), c))


@given(seed=seeds, c=curvatures)
@quick
def test_ball_and_hyperboloid_are_isometric(seed: int, c: float) -> None:
    x = poincare.expmap0(tangents(seed, c=c), c)
    y = from_poincare(x, c)
    torch.testing.assert_close(-y[:, 0].square() + y[:, 1:].square().sum(-1), torch.full_like(y[:, 0], -1 / c))
    torch.testing.assert_close(to_poincare(y, c), x)
    torch.testing.assert_close(
        lorentz.pairwise_distance(y, y, c), poincare.pairwise_distance(x, x, c), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("name", GEOMETRIES)
def test_gradcheck(name: str) -> None:
    model, c = GEOMETRIES[name], 0.7
    u, v = tangents(0, n=3).requires_grad_(), tangents(1, n=2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda u, v: model.pairwise_distance(model.expmap0(u, c), model.expmap0(v, c), c), (u, v)
    )
    assert torch.autograd.gradcheck(
        lambda u, v: model.distance(model.expmap0(u[:2], c), model.expmap0(v, c), c), (u, v)
    )
    assert torch.autograd.gradcheck(lambda u: model.radius(model.expmap0(u, c), c), u)
    assert torch.autograd.gradcheck(lambda u: model.expmap0(u, c), torch.zeros(1, 3).double().requires_grad_())
    assert torch.autograd.gradcheck(lambda u: model.expmap0(u, c, 0.1), u)  # longer than the clip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_gradients_are_finite_where_textbook_forms_blow_up(name: str, dtype: torch.dtype) -> None:
    model, c = GEOMETRIES[name], 0.1
    base = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    # The origin, coincident and nearly coincident points, and tangents far beyond the boundary.
    rows = torch.cat([torch.zeros(2, 8, dtype=dtype), base, base, base * (1 + 1e-6), base * 1e4])
    u = rows.requires_grad_()
    x = model.expmap0(u, c)
    total = model.pairwise_distance(x, x, c).sum() + model.distance(x, x, c).sum() + model.radius(x, c).sum()
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(u.grad).all()


@pytest.mark.parametrize("name", GEOMETRIES)
def test_on_an_accelerator_float64_tells_near_pairs_apart(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stable, "has_wide", lambda x: True)
    model, c = GEOMETRIES[name], 0.5
    u = tangents(0, n=8, longest=3.0, c=c)
    x = model.expmap0(torch.cat([u, u * (1 + 1e-5), u * (1 - 1e-3)]).float(), c).requires_grad_()
    y = model.expmap0((u + 1e-4).float(), c).requires_grad_()
    weight = torch.randn(24, 8, generator=torch.Generator().manual_seed(0))
    found = model.pairwise_distance(x, y, c)
    gradients = torch.autograd.grad((weight * found).sum(), (x, y))
    ends = x.detach().double().requires_grad_(), y.detach().double().requires_grad_()
    expected = model.distance(ends[0][:, None], ends[1], c)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-9)
    for gradient, true in zip(gradients, torch.autograd.grad((weight * expected).sum(), ends), strict=True):
        torch.testing.assert_close(gradient.double(), true, rtol=1e-4, atol=1e-4 * float(true.abs().max()))
    coincident = model.pairwise_distance(x, x, c)
    coincident.sum().backward()
    assert x.grad.isfinite().all()
    assert (coincident.diagonal() < 1e-4).all()


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_points_on_and_outside_the_ball_stay_finite(scale: float) -> None:
    x = (torch.eye(3) * scale).requires_grad_()
    distance = poincare.pairwise_distance(x, x * 0.5, 1.0)
    distance.sum().backward()
    assert torch.isfinite(distance).all()
    assert torch.isfinite(x.grad).all()
    inside = poincare.project(x, 1.0)
    torch.testing.assert_close(inside.norm(dim=-1), torch.full((3,), poincare.rim))
    torch.testing.assert_close(poincare.radius(inside, 1.0), torch.full((3,), poincare.max_radius(1.0)))


def test_exponential_map_stops_at_the_cap_and_at_the_clip() -> None:
    far = torch.tensor([[1e3, 0.0]])
    assert poincare.expmap0(far, 4.0).norm().item() == pytest.approx(poincare.rim / 2)
    for model in (poincare, lorentz, euclidean):
        clipped = model.radius(model.expmap0(far, 0.1, 1.5), 0.1).item()
        assert clipped == pytest.approx(1.5 * model.origin_length, rel=1e-5)


def test_lorentz_caps_and_restores_the_constraint() -> None:
    far = lorentz.expmap0(torch.tensor([[1e3, 0.0]]), 1.0)
    assert lorentz.radius(far, 1.0).item() == pytest.approx(lorentz.max_radius(1.0), rel=1e-5)
    off = lorentz.project(torch.tensor([[0.0, 3.0, 4.0]]), 1.0)
    torch.testing.assert_close(off, torch.tensor([[math.sqrt(26), 3.0, 4.0]]))


def near_the_rim(name: str, c: float, apart: float) -> Tensor:
    """Points 7.6/√c from the origin (the ball's cap), each with one below it and one beside it at about ``apart``."""
    generator = torch.Generator().manual_seed(0)
    base = torch.nn.functional.normalize(torch.randn(4, 16, generator=generator, dtype=torch.float64), dim=-1)
    beside = torch.randn(4, 16, generator=generator, dtype=torch.float64)
    beside -= (beside * base).sum(-1, keepdim=True) * base
    turned = base + torch.nn.functional.normalize(beside, dim=-1) * apart / math.sinh(7.6)
    u = torch.cat([base, base * (1 - apart / 7.6), torch.nn.functional.normalize(turned, dim=-1)])
    return GEOMETRIES[name].expmap0(u * 7.59 / math.sqrt(c) / GEOMETRIES[name].origin_length, c)


def exact_distance(name: str, x: Tensor, y: Tensor, c: float) -> float:
    """The textbook formula in 50 digits."""
    with mpmath.workdps(50):
        a, b = ([mpmath.mpf(value) for value in point.tolist()] for point in (x, y))
        if name == "lorentz":
            a, b = a[1:], b[1:]  # time is a function of space
        dot = mpmath.fsum(p * q for p, q in zip(a, b, strict=True))
        a2, b2 = mpmath.fsum(p * p for p in a), mpmath.fsum(q * q for q in b)
        if name == "lorentz":
            cosh = mpmath.sqrt(1 + c * a2) * mpmath.sqrt(1 + c * b2) - c * dot
        else:
            cosh = 1 + 2 * c * (a2 + b2 - 2 * dot) / ((1 - c * a2) * (1 - c * b2))
        return float(mpmath.acosh(max(cosh, 1)) / mpmath.sqrt(c))


@pytest.mark.parametrize("apart", [0.1, 1e-3])
@pytest.mark.parametrize("c", [0.1, 1.0, 10.0])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("name", CURVED)
def test_distances_near_the_rim_are_exact(name: str, dtype: torch.dtype, bound: float, c: float, apart: float) -> None:
    model, x = GEOMETRIES[name], near_the_rim(name, c, apart).to(dtype)
    exact = torch.tensor([[exact_distance(name, a, b, c) for b in x] for a in x], dtype=torch.float64)
    off_diagonal = ~torch.eye(len(x), dtype=torch.bool)
    assert (exact[off_diagonal] > 0).all()
    for distance in (model.pairwise_distance(x, x, c), model.distance(x[:, None], x, c)):
        torch.testing.assert_close(distance.double()[off_diagonal], exact[off_diagonal], rtol=bound, atol=0)


@pytest.mark.parametrize("apart", [0.1, 1e-3])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_gradients_near_the_rim_are_exact(name: str, apart: float) -> None:
    model, c = GEOMETRIES[name], 1.0
    points = near_the_rim(name, c, apart).float()
    weights = torch.rand(12, 12, generator=torch.Generator().manual_seed(1)).fill_diagonal_(0)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        x, y = (points.to(dtype, copy=True).requires_grad_() for _ in range(2))
        pairwise = dtype == torch.float32
        d = model.pairwise_distance(x, y, c) if pairwise else model.distance(x[:, None], y, c)
        gradients.append(torch.cat(torch.autograd.grad((d * weights).sum(), (x, y))).double())
    assert (gradients[1].norm(dim=1) > 0.01).all()
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4 * float(gradients[1].abs().max()))


def test_many_near_pairs_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x = tangents(0, n=9) * 1e-3 + 0.3
    whole = {name: GEOMETRIES[name].pairwise_distance(x, x[:5], 1.0) for name in ("poincare", "euclidean")}
    monkeypatch.setattr(stable, "_GAPS_AT_ONCE", 8)  # two pairs at a time
    for name, expected in whole.items():
        torch.testing.assert_close(GEOMETRIES[name].pairwise_distance(x, x[:5], 1.0), expected, rtol=0, atol=0)
    assert torch.autograd.gradcheck(lambda u: poincare.pairwise_distance(u, x[:5], 1.0), x.clone().requires_grad_())
    y = lorentz.expmap0(x, 1.0)
    assert torch.autograd.gradcheck(lambda u: lorentz.pairwise_distance(u, y[:5], 1.0), y.clone().requires_grad_())


@pytest.mark.parametrize("name", GEOMETRIES)
def test_nothing_runs_in_half_precision(name: str) -> None:
    model, c = GEOMETRIES[name], 0.1
    u = torch.randn(16, 8, generator=torch.Generator().manual_seed(0)) * 5
    u = u.bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = model.expmap0(u, c)
        d = model.pairwise_distance(x, x.detach().bfloat16(), c)
        same = model.pairwise_distance(x, x, c)
    assert x.dtype == d.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(same, model.pairwise_distance(x, x, c), rtol=0, atol=0)
    d.sum().backward()
    assert torch.isfinite(d).all()
    assert torch.isfinite(u.grad).all()
