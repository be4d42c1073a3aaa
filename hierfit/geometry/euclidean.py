"""Flat space behind the same interface: the control for what curvature itself buys. ``c`` is not read."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hierfit.geometry.pairs import Pairs, pull, squared_gaps
from hierfit.geometry.stable import clip_norm, norm, sqrt, squared_norm
from hierfit.tensors import fp32_island

ORIGIN_LENGTH = 1.0
"""Geodesic length of a unit tangent vector at the origin."""


def max_radius(c: float) -> float:
    """Flat space has no boundary."""
    return math.inf


@fp32_island
def project(x: Tensor, c: float) -> Tensor:
    """The points themselves."""
    return x


@fp32_island
def expmap0(u: Tensor, c: float, clip: float = math.inf) -> Tensor:
    """The tangent vectors themselves; those longer than ``clip`` are shortened to it."""
    return clip_norm(u, clip) if math.isfinite(clip) else u


@fp32_island
def logmap0(x: Tensor, c: float) -> Tensor:
    """The points themselves."""
    return x


@fp32_island
def distance(x: Tensor, y: Tensor, c: float) -> Tensor:
    """Euclidean distance of matching points, ``[..., m], [..., m] → [...]``."""
    return sqrt(squared_norm(x - y))


@fp32_island
def pairwise_distance(x: Tensor, y: Tensor, c: float) -> Tensor:
    """Euclidean distance of all pairs, ``[n, m], [k, m] → [n, k]``, in O(n·k) memory."""
    return sqrt(_SquaredGaps.apply(x, y))


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
    """1/4, ``[..., m] → [..., 1]``: that of the ball at its origin, whose lengths are twice these."""
    return torch.full_like(x[..., :1], 0.25)


@fp32_island
def radius(x: Tensor, c: float) -> Tensor:
    """Distance from the origin, ``[..., m] → [...]``."""
    return norm(x).squeeze(-1)
