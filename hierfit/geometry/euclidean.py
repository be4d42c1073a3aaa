"""Flat space behind the interface of `space.Geometry`: the control for what curvature buys; ``c`` is not read."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hierfit.geometry.stable import Pairs, clip_norm, norm, pull, sqrt, squared_gaps, squared_norm, widened
from hierfit.tensors import fp32_island

ORIGIN_LENGTH = 1.0


def max_radius(c: float) -> float:
    return math.inf


@fp32_island
def project(x: Tensor, c: float) -> Tensor:
    return x


@fp32_island
def expmap0(u: Tensor, c: float, clip: float = math.inf) -> Tensor:
    return clip_norm(u, clip) if math.isfinite(clip) else u


@fp32_island
def logmap0(x: Tensor, c: float) -> Tensor:
    return x


@fp32_island
def distance(x: Tensor, y: Tensor, c: float) -> Tensor:
    return sqrt(squared_norm(x - y))


@fp32_island
def pairwise_distance(x: Tensor, y: Tensor, c: float) -> Tensor:
    gaps: Tensor = _SquaredGaps.apply(widened(x), widened(y))
    return sqrt(gaps.to(x.dtype))


class _SquaredGaps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        gaps, near = squared_gaps(x, y)
        ctx.save_for_backward(x, y, *near)
        return gaps

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, y, *near = ctx.saved_tensors
        return pull(x, y, 2 * grad, Pairs(*near))


def inverse_metric(x: Tensor, c: float) -> Tensor:
    return torch.full_like(x[..., :1], 0.25)  # that of the ball at its origin, whose lengths are twice these


@fp32_island
def radius(x: Tensor, c: float) -> Tensor:
    return norm(x).squeeze(-1)
