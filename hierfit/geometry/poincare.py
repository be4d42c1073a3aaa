"""The Poincaré ball of curvature −c: points ``x [..., m]``, ``√c·‖x‖ < 1``, metric ``(2/(1 − c‖x‖²))²·I``.

A `space.Geometry`. Formulae: Ganea et al., "Hyperbolic Neural Networks", NeurIPS 2018 (maps); Nickel & Kiela, "Poincaré
Embeddings", NeurIPS 2017 (the arcosh form of the distance: squared norms only, so a Gram matrix does).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hierfit.geometry.stable import (
    Pairs,
    arcosh1p,
    arcosh1p_and_root,
    clip_norm,
    grad_arcosh1p,
    norm,
    pull,
    squared_gaps,
    squared_norm,
    widened,
)
from hierfit.tensors import at_least_float32, fp32_island

ORIGIN_LENGTH = 2.0

CAP = 1e-3
"""Points keep this relative distance from the boundary (HIER's value)."""


def max_radius(c: float) -> float:
    return 2 * math.atanh(1 - CAP) / math.sqrt(c)  # 7.6 at c = 1


@fp32_island
def project(x: Tensor, c: float) -> Tensor:
    return clip_norm(x, (1 - CAP) / math.sqrt(c))


@fp32_island
def expmap0(u: Tensor, c: float, clip: float = math.inf) -> Tensor:
    """``tanh(√c‖u‖)·u/(√c‖u‖)``."""
    result: Tensor = _Expmap0.apply(u, math.sqrt(c), min(math.sqrt(c) * clip, math.atanh(1 - CAP)))
    return result


class _Expmap0(torch.autograd.Function):
    # y = f·u with f = tanh(min(s, k))/s and s = √c‖u‖: the gradient is f·g + f′(s)·√c/‖u‖·⟨u, g⟩·u.

    @staticmethod
    def forward(ctx: Any, u: Tensor, root: float, most: float) -> Tensor:
        length = root * norm(u)
        tanh = torch.tanh(length.clamp_max(most))
        factor = tanh / length
        ctx.save_for_backward(u, length, tanh, factor)
        ctx.root, ctx.most = root, most
        return factor * u

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        u, length, tanh, factor = ctx.saved_tensors
        rise = torch.where(length < ctx.most, 1 - tanh.square(), 0.0)
        along = (u * grad).sum(-1, keepdim=True) * ((rise - factor) * (ctx.root / length) ** 2)
        return torch.addcmul(factor * grad, along, u), None, None


@fp32_island
def logmap0(x: Tensor, c: float) -> Tensor:
    x = project(x, c)
    scaled = math.sqrt(c) * norm(x)
    return torch.atanh(scaled) / scaled * x


@fp32_island
def distance(x: Tensor, y: Tensor, c: float) -> Tensor:
    room = _room(x, c) * _room(y, c)
    return arcosh1p(2 * c * squared_norm(x - y) / room) / math.sqrt(c)


@fp32_island
def pairwise_distance(x: Tensor, y: Tensor, c: float) -> Tensor:
    result: Tensor = _PairwiseDistance.apply(widened(x), widened(y), c)
    return result.to(x.dtype)


class _PairwiseDistance(torch.autograd.Function):
    # With αᵢ = 1 − c‖xᵢ‖², βⱼ = 1 − c‖yⱼ‖² and t = 2c·‖xᵢ − yⱼ‖²/(αᵢβⱼ), d = arcosh(1 + t)/√c has the gradient
    # ∂t/∂xᵢ = 4c/(αᵢβⱼ)·(xᵢ − yⱼ) + 2c/αᵢ·t·xᵢ: two products of matrices. Left to autograd, each small step on the
    # way forward is two on the way back, which at a batch's size cost more than the arithmetic.

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, c: float) -> Tensor:
        alpha, beta = _room(x, c), _room(y, c)
        gaps, near = squared_gaps(x, y)
        t = gaps.div_(torch.outer(alpha / (2 * c), beta))
        distance, root = arcosh1p_and_root(t)
        ctx.save_for_backward(x, y, alpha, beta, t, root, *near)
        ctx.c = c
        return distance.div_(math.sqrt(c))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, y, alpha, beta, t, root, *near = ctx.saved_tensors
        c = ctx.c
        slope = grad_arcosh1p(grad / math.sqrt(c), root)
        of_x, of_y = pull(x, y, slope / torch.outer(alpha / (4 * c), beta), Pairs(*near))
        stretch = slope.mul_(t)
        of_x.addcmul_(x, (_widening(alpha, c) * stretch.sum(1))[:, None])
        of_y.addcmul_(y, (_widening(beta, c) * stretch.sum(0))[:, None])
        return of_x, of_y, None


def _widening(room: Tensor, c: float) -> Tensor:
    # 2c/α; 0 for points on or over the boundary, whose room is clamped.
    return torch.where(room > torch.finfo(room.dtype).eps, 2 * c / room, 0.0)


@fp32_island
def radius(x: Tensor, c: float) -> Tensor:
    return 2 / math.sqrt(c) * torch.atanh(math.sqrt(c) * norm(project(x, c)).squeeze(-1))


def inverse_metric(x: Tensor, c: float) -> Tensor:
    """``((1 − c‖x‖²)/2)²``."""
    return (_room(at_least_float32(x), c) / 2).square().unsqueeze(-1)


def _room(x: Tensor, c: float) -> Tensor:
    # 1 − c‖x‖² [...], of which 2e-3 is left at the cap: summed in float64, where there is one. The clamp keeps value
    # and gradient finite for points handed in on or over the boundary.
    wide = torch.float32 if x.device.type == "mps" else torch.float64
    length = torch.linalg.vector_norm(x, dim=-1, dtype=wide)
    return (1 - c * length.square()).to(x.dtype).clamp_min(torch.finfo(x.dtype).eps)
