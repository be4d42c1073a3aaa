"""Norms and inverse hyperbolic functions whose gradients stay finite where the textbook forms blow up."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_TINY = 1e-15  # its square is still a normal number in float32


def norm(x: Tensor) -> Tensor:
    """Euclidean norm of the last axis, kept: ``[..., m] → [..., 1]``, at least 1e-15 so that it divides."""
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(_TINY)


def clip_norm(x: Tensor, radius: float) -> Tensor:
    """Shorten vectors ``[..., m]`` longer than ``radius`` to it: ``x · min(1, r/‖x‖)``."""
    # The clamp is on the norm, not on the ratio: r/‖x‖ has an infinite gradient at the origin.
    return x * (radius / norm(x).clamp_min(radius))


def squared_norm(x: Tensor) -> Tensor:
    """Squared Euclidean norm of the last axis: ``[..., m] → [...]``."""
    return x.square().sum(-1)


def sqrt(x: Tensor) -> Tensor:
    """``√x``; where ``x ≤ 0`` the root of the smallest number (1e-19 in float32), with gradient 0."""
    return x.clamp_min(torch.finfo(x.dtype).tiny).sqrt()


def arcosh1p(t: Tensor) -> Tensor:
    """``arcosh(1 + t) = log1p(t + √t·√(t + 2))``; at most 1e-18, with gradient 0, where ``t ≤ 0``.

    A hyperbolic distance is ``arcosh(1 + t)`` with t → 0 for coincident points. Forming 1 + t first would lose
    every distance below 3e-4 in float32. √t·√(t + 2), unlike √(t·(t + 2)), cannot overflow.
    """
    result: Tensor = _Arcosh1p.apply(t)
    return result


class _Arcosh1p(torch.autograd.Function):
    # Left to autograd, six steps forward are ten back.

    @staticmethod
    def forward(ctx: Any, t: Tensor) -> Tensor:
        result, root = arcosh1p_and_root(t)
        ctx.save_for_backward(root)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (root,) = ctx.saved_tensors
        return grad_arcosh1p(grad, root)


def arcosh1p_and_root(t: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`arcosh1p` without autograd, and ``√(t·(t + 2))``, which :func:`grad_arcosh1p` asks for."""
    # 2·arsinh(√(t/2)) is the shorter form; torch does not vectorise arsinh on a CPU.
    t = t.clamp_min(torch.finfo(t.dtype).tiny)
    root = t.sqrt().mul_((t + 2).sqrt_())
    return t.add_(root).log1p_(), root


def grad_arcosh1p(grad: Tensor, root: Tensor) -> Tensor:
    """The gradient of :func:`arcosh1p`: ``grad/√(t·(t + 2))``, and 0 where t was at most 0."""
    least = math.sqrt(2 * torch.finfo(root.dtype).tiny)  # of t that was clamped
    return (grad / root).mul_(exceeds(root, 1.001 * least))


def exceeds(x: Tensor, y: Tensor | float) -> Tensor:
    """1 where ``x > y``, else 0, in the dtype of ``x`` (whose shape ``y`` has), without gradient.

    To multiply by. On a CPU torch compares into numbers three times, and multiplies by them five times as fast as with
    truth values.
    """
    return torch.gt(x, y, out=torch.empty_like(x))
