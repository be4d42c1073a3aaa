"""All pairs of two sets of points through a Gram matrix, and the near ones among them by their differences.

A Gram matrix is a hundred times faster than differences, but loses what is far smaller than the norms: near the rim of
a ball, where geodesic distances are large multiples of it, distinct points would become one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from hierfit.geometry.stable import squared_norm

NEAR = 1 / 64
"""Share of the norms below which a Gram matrix's difference is not relied on: it loses 6 bits at most, and a few."""

_AT_ONCE = 2**20  # numbers of near pairs' differences in memory


class Pairs(NamedTuple):
    """Rows of x and rows of y ``[p]`` each."""

    rows: Tensor
    columns: Tensor

    @classmethod
    def where(cls, near: Tensor) -> Pairs:
        """The pairs marked in ``[n, k]`` bool. On an accelerator it waits for their number."""
        return cls(*near.nonzero(as_tuple=True))

    def parts(self, width: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """The pairs in parts whose rows of ``width`` numbers fit into memory: where each is, its rows and columns."""
        step = max(1, _AT_ONCE // max(1, width))
        for start in range(0, len(self.rows), step):
            part = slice(start, start + step)
            yield part, self.rows[part], self.columns[part]


def squared_gaps(x: Tensor, y: Tensor) -> tuple[Tensor, Pairs]:
    """``‖xᵢ − yⱼ‖²``, ``[n, m], [k, m] → [n, k]``, exact to a few units of 2⁻⁶ ulp at least; and the near pairs.

    Without autograd; see :func:`pull`. O(n·k) memory.
    """
    squares = squared_norm(x)[:, None] + squared_norm(y)
    gaps = torch.addmm(squares, x, y.T, alpha=-2)
    near = Pairs.where(gaps < squares.mul_(NEAR))
    exact = [squared_norm(x[rows] - y[columns]) for _, rows, columns in near.parts(x.shape[1])]
    if exact:
        gaps[near] = torch.cat(exact)
    return gaps, near


def pull(x: Tensor, y: Tensor, weight: Tensor, near: Pairs) -> tuple[Tensor, Tensor]:
    """``Σⱼ wᵢⱼ(xᵢ − yⱼ)`` and ``Σᵢ wᵢⱼ(yⱼ − xᵢ)``, half the gradient of weighted :func:`squared_gaps`.

    Args:
        x: ``[n, m]``.
        y: ``[k, m]``.
        weight: ``[n, k]``; changed in place.
        near: The near pairs, whose differences are taken one by one.
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
