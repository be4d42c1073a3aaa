"""Norms and inverse hyperbolic functions whose gradients stay finite where the textbook forms blow up; and all pairs of
two sets of points through a Gram matrix, the near ones among them by their differences.

A Gram matrix is a hundred times faster than differences, but loses what is far smaller than the norms: near the rim of
a ball, where geodesic distances are large multiples of it, distinct points would become one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_TINY = 1e-15  # its square is still a normal number in float32
NEAR = 1 / 64
"""Share of the norms below which a Gram matrix's difference is not relied on: it loses 6 bits at most, and a few."""

_GAPS_AT_ONCE = 2**20  # numbers of near pairs' differences in memory


def norm(x: Tensor) -> Tensor:
    """Euclidean norm of the last axis, kept: ``[..., m] → [..., 1]``, at least 1e-15 so that it divides."""
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(_TINY)


def clip_norm(x: Tensor, radius: float) -> Tensor:
    """Shorten vectors ``[..., m]`` longer than ``radius`` to it: ``x · min(1, r/‖x‖)``."""
    # The clamp is on the norm, not on the ratio: r/‖x‖ has an infinite gradient at the origin.
    return x * (radius / norm(x).clamp_min(radius)) if math.isfinite(radius) else x


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


def has_wide(x: Tensor) -> bool:
    """Whether `widened` widens: on an accelerator that has float64."""
    return x.device.type not in ("cpu", "mps")


def widened(x: Tensor) -> Tensor:
    """Points as a Gram matrix is to be made of them: on an accelerator in float64, with bits enough for near pairs.

    To take these one by one, as on a CPU, the host would have to wait for their number at every step.
    """
    return x.double() if has_wide(x) else x


class NearPairs(NamedTuple):
    """Rows of x and rows of y ``[p]`` each."""

    rows: Tensor
    columns: Tensor

    @classmethod
    def where(cls, near: Tensor) -> NearPairs:
        """The pairs marked in ``[n, k]`` bool; none where points are `widened`, for nobody waits for their number."""
        if has_wide(near):
            return cls(*near.new_empty(2, 0, dtype=torch.long))
        return cls(*near.nonzero(as_tuple=True))

    def parts(self, width: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """The pairs in parts whose rows of ``width`` numbers fit into memory: where each is, its rows and columns."""
        step = max(1, _GAPS_AT_ONCE // max(1, width))
        for start in range(0, len(self.rows), step):
            part = slice(start, start + step)
            yield part, self.rows[part], self.columns[part]


def squared_gaps(x: Tensor, y: Tensor) -> tuple[Tensor, NearPairs]:
    """``‖xᵢ − yⱼ‖²``, ``[n, m], [k, m] → [n, k]``, exact to a few units of 2⁻⁶ ulp at least; and the near pairs.

    Without autograd; see :func:`pull`. O(n·k) memory.
    """
    squares = squared_norm(x)[:, None] + squared_norm(y)
    gaps = torch.addmm(squares, x, y.T, alpha=-2)
    near = NearPairs.where(gaps < squares.mul_(NEAR))
    exact = [squared_norm(x[rows] - y[columns]) for _, rows, columns in near.parts(x.shape[1])]
    if exact:
        gaps[near] = torch.cat(exact)
    return gaps, near


def pull(x: Tensor, y: Tensor, weight: Tensor, near: NearPairs) -> tuple[Tensor, Tensor]:
    """``Σⱼ wᵢⱼ(xᵢ − yⱼ)`` and ``Σᵢ wᵢⱼ(yⱼ − xᵢ)``, half the gradient of weighted :func:`squared_gaps`.

    The weights ``[n, k]`` are changed in place; the near pairs' differences are taken one by one.
    """
    of_near = weight[near]
    weight[near] = 0.0
    of_x = x * weight.sum(1)[:, None] - weight @ y
    of_y = y * weight.sum(0)[:, None] - weight.T @ x
    for part, rows, columns in near.parts(x.shape[1]):
        force = (x[rows] - y[columns]) * of_near[part, None]
        of_x.index_add_(0, rows, force)
        of_y.index_add_(0, columns, force, alpha=-1)
    return of_x, of_y
