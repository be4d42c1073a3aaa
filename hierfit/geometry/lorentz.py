"""The hyperboloid (Lorentz model) of curvature −c.

Points are ``x [..., 1 + m]``, time first, with ``−x₀² + ‖x₁…‖² = −1/c``. Time is a function of space, so only the m
space coordinates are ever read and time is made anew.

Formulae: Nickel & Kiela, "Learning Continuous Hierarchies in the Lorentz Model", ICML 2018; Desai et al.,
"Hyperbolic Image-Text Representations" (MERU), ICML 2023.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hierfit.geometry import stable
from hierfit.geometry.models import Geometry, Growth
from hierfit.tensors import at_least_float32, fp32_island


class Lorentz(Geometry):
    """The hyperboloid: lengths of space parts grow by sinh."""

    growth = Growth(torch.sinh, lambda f: (1 + f.square()).sqrt(), torch.asinh)
    cap = 16.0  # sinh(16)⁴ is still finite in float32
    rim = math.sinh(cap)

    def bare(self, x: Tensor) -> Tensor:
        return x[..., 1:]

    def point(self, vector: Tensor, c: float) -> Tensor:
        return _with_time(vector, c)

    @fp32_island
    def distance(self, x: Tensor, y: Tensor, c: float) -> Tensor:
        """arcosh(1 + t)/√c.

        t splits into what differs along the radius and in direction, ``cosh(r − s) − 1 + sinh r·sinh s·(1 − cos θ)``
        for points at r/√c and s/√c from the origin: neither term is negative, so that nothing cancels, near the origin
        or far.
        """
        return stable.arcosh1p(_cosh_less_1(x[..., 1:], y[..., 1:], c)) / math.sqrt(c)

    @fp32_island
    def pairwise_distance(self, x: Tensor, y: Tensor, c: float) -> Tensor:
        """As :meth:`distance`, the angles through a Gram matrix."""
        result: Tensor = _LorentzPairs.apply(stable.widened(x[..., 1:]), stable.widened(y[..., 1:]), c)
        return result.to(x.dtype)

    def inverse_metric(self, x: Tensor, c: float) -> Tensor:
        """``1/(1 + √c·x₀)²``."""
        return (1 + math.sqrt(c) * _time(at_least_float32(x)[..., 1:], c)).square().reciprocal()


def _cosh_less_1(x: Tensor, y: Tensor, c: float) -> Tensor:
    """t of matching points, by the space part of each ``[..., m] → [...]``."""
    gap, x_length, y_length = x - y, stable.norm(x), stable.norm(y)
    x_sinh, y_sinh = (math.sqrt(c) * length.squeeze(-1) for length in (x_length, y_length))
    x_cosh, y_cosh = ((1 + c * stable.squared_norm(point)).sqrt() for point in (x, y))
    # sinh(r − s) = (sinh²r − sinh²s)/(sinh r·cosh s + cosh r·sinh s)
    sinh = c * (gap * (x + y)).sum(-1) / (x_sinh * y_cosh + x_cosh * y_sinh)
    radial = sinh.square() / (1 + (1 + sinh.square()).sqrt())
    # 1 − cos θ = sin²θ/(1 + cos θ), sin θ from what of the gap is at right angles to x: exact for small angles.
    across = gap - (gap * x).sum(-1, keepdim=True) / x_length.square() * x
    cos = (x * y).sum(-1) / (x_length * y_length).squeeze(-1)
    small = stable.squared_norm(across / y_length) / (1 + cos.clamp_min(0))
    return radial + x_sinh * y_sinh * torch.where(cos > 0, small, 1 - cos)


class _LorentzPairs(torch.autograd.Function):
    # With t = √(1 + c‖x‖²)·√(1 + c‖y‖²) − 1 − c⟨x, y⟩, ∂t/∂x = c·(√(1 + c‖y‖²)/√(1 + c‖x‖²)·x − y): a product of
    # matrices. Points in nearly the same direction are taken one by one.

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, c: float) -> Tensor:
        x_sinh, y_sinh = (math.sqrt(c) * torch.linalg.vector_norm(point, dim=-1) for point in (x, y))
        product = torch.outer(x_sinh, y_sinh)
        angular = torch.addmm(product, x, y.T, alpha=-c)
        near = stable.NearPairs.where(angular < product.mul_(stable.NEAR))
        # cosh(r − s) − 1 = (e^((r − s)/2) − e^((s − r)/2))²/2, e^r = sinh r + cosh r
        x_cosh, y_cosh = ((1 + sinh.square()).sqrt() for sinh in (x_sinh, y_sinh))
        x_exp, y_exp = (x_sinh + x_cosh).sqrt(), (y_sinh + y_cosh).sqrt()
        gap = torch.stack([x_exp, -x_exp.reciprocal()], dim=1) @ torch.stack([y_exp.reciprocal(), y_exp])
        t = angular.addcmul_(gap, gap, value=0.5)
        exact = [_cosh_less_1(x[rows], y[columns], c) for _, rows, columns in near.parts(x.shape[1])]
        if exact:
            t[near] = torch.cat(exact)
        distance, root = stable.arcosh1p_and_root(t)
        ctx.save_for_backward(x, y, x_cosh, y_cosh, root, *near)
        ctx.c = c
        return distance.div_(math.sqrt(c))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, y, x_cosh, y_cosh, root, *pairs = ctx.saved_tensors
        c, near = ctx.c, stable.NearPairs(*pairs)
        slope = stable.grad_arcosh1p(grad * math.sqrt(c), root)  # c times that of t
        if len(near.rows):
            of_near = slope[near] / c
            slope[near] = 0.0
        of_x = torch.addmm(x * ((slope @ y_cosh) / x_cosh)[:, None], slope, y, alpha=-1)
        of_y = torch.addmm(y * ((x_cosh @ slope) / y_cosh)[:, None], slope.T, x, alpha=-1)
        for part, rows, columns in near.parts(x.shape[1]):
            with torch.enable_grad():
                ends = x[rows].requires_grad_(), y[columns].requires_grad_()
                apart = _cosh_less_1(*ends, c)
            of_rows, of_columns = torch.autograd.grad(apart, ends, of_near[part])
            of_x.index_add_(0, rows, of_rows)
            of_y.index_add_(0, columns, of_columns)
        return of_x, of_y, None


@fp32_island
def from_poincare(x: Tensor, c: float) -> Tensor:
    """The isometry from the Poincaré ball, ``[..., m] → [..., 1 + m]``: space ``2x/(1 − c‖x‖²)``."""
    return _with_time(2 * x / (1 - c * x.square().sum(-1, keepdim=True)), c)


@fp32_island
def to_poincare(x: Tensor, c: float) -> Tensor:
    """The isometry onto the Poincaré ball, ``[..., 1 + m] → [..., m]``: ``x₁…/(1 + √c·x₀)``."""
    space = x[..., 1:]
    return space / (1 + math.sqrt(c) * _time(space, c))


def _time(space: Tensor, c: float) -> Tensor:
    return (1 / c + space.square().sum(-1, keepdim=True)).sqrt()


def _with_time(space: Tensor, c: float) -> Tensor:
    return torch.cat([_time(space, c), space], dim=-1)
