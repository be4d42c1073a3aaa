"""What spaces of constant curvature share, seen from their origin; flat space, and the Poincaré ball."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hierfit.geometry import stable
from hierfit.tensors import at_least_float32, fp32_island


class Growth(NamedTuple):
    """How lengths grow outwards: f, f′ by the value of f, and the inverse of f."""

    function: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    inverse: Callable[[Tensor], Tensor]


class Geometry(ABC):
    """A space of curvature −c, c > 0, which looks alike in all directions from its origin.

    So a point is a direction and a length: a tangent vector u at the origin leads in its own direction to length
    f(√c‖u‖)/√c. Spaces differ in f, in the distance between two points, and in what is written down of a point.
    All functions are pure. Tangent vectors are ``[..., m]``; points are too, but ``[..., 1 + m]`` for Lorentz.

    Attributes:
        origin_length: Geodesic length of a unit tangent vector at the origin.
        growth: f.
        cap: Largest √c‖u‖: points further out are put there.
        rim: f of it.
    """

    growth: ClassVar[Growth]
    origin_length: ClassVar[float] = 1.0
    cap: ClassVar[float] = math.inf
    rim: ClassVar[float] = math.inf

    @abstractmethod
    def distance(self, x: Tensor, y: Tensor, c: float) -> Tensor:
        """Geodesic, of matching points → ``[...]``."""

    @abstractmethod
    def pairwise_distance(self, x: Tensor, y: Tensor, c: float) -> Tensor:
        """Of all pairs of n and k points → ``[n, k]``, in O(n·k) memory."""

    @abstractmethod
    def inverse_metric(self, x: Tensor, c: float) -> Tensor:
        """One over the factor of the Poincaré ball's metric at points, or at their images in it → ``[..., 1]``."""

    def root(self, c: float) -> float:
        """√c, by which lengths are measured."""
        return math.sqrt(c)

    def bare(self, x: Tensor) -> Tensor:
        """Direction and length of points ``[..., m]``."""
        return x

    def point(self, vector: Tensor, c: float) -> Tensor:
        """Points of a direction and length."""
        return vector

    def max_radius(self, c: float) -> float:
        """Distance from the origin at which points are capped."""
        return self.origin_length * self.cap / self.root(c)

    @fp32_island
    def project(self, x: Tensor, c: float) -> Tensor:
        """Points that left the space, or came too near its boundary, back to the cap."""
        return self.point(self._inside(x, c), c)

    @fp32_island
    def expmap0(self, u: Tensor, c: float, clip: float = math.inf) -> Tensor:
        """u to points. Those longer than ``clip``, or leading beyond `max_radius`, are shortened to it first."""
        root = self.root(c)
        vector: Tensor = _Radial.apply(u, root, min(root * clip, self.cap), self.growth)
        return self.point(vector, c)

    @fp32_island
    def logmap0(self, x: Tensor, c: float) -> Tensor:
        """Its inverse."""
        vector = self._inside(x, c)
        scaled = self.root(c) * stable.norm(vector)
        return self.growth.inverse(scaled) / scaled * vector

    @fp32_island
    def radius(self, x: Tensor, c: float) -> Tensor:
        """Distance from the origin → ``[...]``."""
        root = self.root(c)
        return self.origin_length / root * self.growth.inverse(root * stable.norm(self._inside(x, c)).squeeze(-1))

    def _inside(self, x: Tensor, c: float) -> Tensor:
        return stable.clip_norm(self.bare(x), self.rim / self.root(c))


class _Radial(torch.autograd.Function):
    # y = f(min(s, k))/s·u and s = √c‖u‖: with a = f/s the gradient is a·g + (f′ − a)·(√c/s)²·⟨u, g⟩·u.

    @staticmethod
    def forward(ctx: Any, u: Tensor, root: float, most: float, growth: Growth) -> Tensor:
        length = root * stable.norm(u)
        value = growth.function(length.clamp_max(most))
        factor = value / length
        ctx.save_for_backward(u, length, value, factor)
        ctx.root, ctx.most, ctx.growth = root, most, growth
        return factor * u

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        u, length, value, factor = ctx.saved_tensors
        rise = torch.where(length < ctx.most, ctx.growth.slope(value), 0.0)
        along = (u * grad).sum(-1, keepdim=True) * ((rise - factor) * (ctx.root / length) ** 2)
        return torch.addcmul(factor * grad, along, u), None, None, None


class Euclidean(Geometry):
    """Flat space, the control for what curvature buys; ``c`` is not read."""

    growth = Growth(torch.positive, torch.ones_like, torch.positive)

    def root(self, c: float) -> float:
        return 1.0

    @fp32_island
    def distance(self, x: Tensor, y: Tensor, c: float) -> Tensor:
        return stable.sqrt(stable.squared_norm(x - y))

    @fp32_island
    def pairwise_distance(self, x: Tensor, y: Tensor, c: float) -> Tensor:
        gaps: Tensor = _SquaredGaps.apply(stable.widened(x), stable.widened(y))
        return stable.sqrt(gaps.to(x.dtype))

    def inverse_metric(self, x: Tensor, c: float) -> Tensor:
        """That of the ball at its origin, whose lengths are twice these."""
        return torch.full_like(x[..., :1], 0.25)


class _SquaredGaps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        gaps, near = stable.squared_gaps(x, y)
        ctx.save_for_backward(x, y, *near)
        return gaps

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, y, *near = ctx.saved_tensors
        return stable.pull(x, y, 2 * grad, stable.NearPairs(*near))


class Poincare(Geometry):
    """The Poincaré ball: points ``[..., m]``, ``√c·‖x‖ < 1``, metric ``(2/(1 − c‖x‖²))²·I``.

    Formulae: Ganea et al., "Hyperbolic Neural Networks", NeurIPS 2018 (maps); Nickel & Kiela, "Poincaré Embeddings",
    NeurIPS 2017 (the arcosh form of the distance: squared norms only, so a Gram matrix does).
    """

    growth = Growth(torch.tanh, lambda f: 1 - f.square(), torch.atanh)
    origin_length = 2.0
    rim = 1 - 1e-3  # HIER's value
    cap = math.atanh(rim)  # 7.6 from the origin at c = 1

    @fp32_island
    def distance(self, x: Tensor, y: Tensor, c: float) -> Tensor:
        room = _room(x, c) * _room(y, c)
        return stable.arcosh1p(2 * c * stable.squared_norm(x - y) / room) / math.sqrt(c)

    @fp32_island
    def pairwise_distance(self, x: Tensor, y: Tensor, c: float) -> Tensor:
        result: Tensor = _PoincarePairs.apply(stable.widened(x), stable.widened(y), c)
        return result.to(x.dtype)

    def inverse_metric(self, x: Tensor, c: float) -> Tensor:
        """``((1 − c‖x‖²)/2)²``."""
        return (_room(at_least_float32(x), c) / 2).square().unsqueeze(-1)


class _PoincarePairs(torch.autograd.Function):
    # With αᵢ = 1 − c‖xᵢ‖², βⱼ = 1 − c‖yⱼ‖² and t = 2c·‖xᵢ − yⱼ‖²/(αᵢβⱼ), d = arcosh(1 + t)/√c has the gradient
    # ∂t/∂xᵢ = 4c/(αᵢβⱼ)·(xᵢ − yⱼ) + 2c/αᵢ·t·xᵢ: two products of matrices. Left to autograd, each small step on the
    # way forward is two on the way back, which at a batch's size cost more than the arithmetic.

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, c: float) -> Tensor:
        alpha, beta = _room(x, c), _room(y, c)
        gaps, near = stable.squared_gaps(x, y)
        t = gaps.div_(torch.outer(alpha / (2 * c), beta))
        distance, root = stable.arcosh1p_and_root(t)
        ctx.save_for_backward(x, y, alpha, beta, t, root, *near)
        ctx.c = c
        return distance.div_(math.sqrt(c))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, y, alpha, beta, t, root, *near = ctx.saved_tensors
        c = ctx.c
        slope = stable.grad_arcosh1p(grad / math.sqrt(c), root)
        of_x, of_y = stable.pull(x, y, slope / torch.outer(alpha / (4 * c), beta), stable.NearPairs(*near))
        stretch = slope.mul_(t)
        of_x.addcmul_(x, (_widening(alpha, c) * stretch.sum(1))[:, None])
        of_y.addcmul_(y, (_widening(beta, c) * stretch.sum(0))[:, None])
        return of_x, of_y, None


def _widening(room: Tensor, c: float) -> Tensor:
    # 2c/α; 0 for points on or over the boundary, whose room is clamped.
    return torch.where(room > torch.finfo(room.dtype).eps, 2 * c / room, 0.0)


def _room(x: Tensor, c: float) -> Tensor:
    # 1 − c‖x‖² [...], of which 2e-3 is left at the cap: summed in float64, where there is one. The clamp keeps value
    # and gradient finite for points handed in on or over the boundary.
    wide = torch.float32 if x.device.type == "mps" else torch.float64
    length = torch.linalg.vector_norm(x, dim=-1, dtype=wide)
    return (1 - c * length.square()).to(x.dtype).clamp_min(torch.finfo(x.dtype).eps)
