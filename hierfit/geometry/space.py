"""One key chooses the geometry: :class:`Space` binds one to its curvature and clip radius."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from hierfit.errors import UserError
from hierfit.geometry.lorentz import Lorentz
from hierfit.geometry.models import Euclidean, Geometry, Poincare

GeometryName = Literal["poincare", "lorentz", "euclidean"]
GEOMETRIES: dict[str, Geometry] = {"poincare": Poincare(), "lorentz": Lorentz(), "euclidean": Euclidean()}


@dataclass(frozen=True)
class Space:
    """A geometry with its curvature −c, c > 0, and how free vectors enter it; a `UserError` where there is none such.

    :meth:`embed` gives a vector u the radius ``2·min(‖u‖, clip_radius)`` in *every* geometry (the ball's
    own convention: its metric at the origin is 4·I). So Poincaré and Lorentz are isometric down to the loss
    value, and the Euclidean control has the same radii and directions and differs by curvature alone. Beyond a
    ``clip_radius`` of 2–3/√c the exponential map's gradient vanishes.
    """

    geometry: GeometryName = "poincare"
    curvature: float = 0.1
    clip_radius: float = 2.3

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {value}; it must be positive"
            for name, value in (("curvature", self.curvature), ("clip_radius", self.clip_radius))
            if not value > 0
        ]
        if self.geometry not in GEOMETRIES:
            problems.append(f"there is no geometry {self.geometry!r}; there are {', '.join(GEOMETRIES)}")
        if problems:
            raise UserError("There is no such space", problems)

    @property
    def model(self) -> Geometry:
        """The pure functions behind this space."""
        return GEOMETRIES[self.geometry]

    @property
    def max_radius(self) -> float:
        """Largest distance from the origin a point of :meth:`embed` can have."""
        return min(2 * self.clip_radius, self.model.max_radius(self.curvature))

    def embed(self, vectors: Tensor, riemannian: bool = False) -> Tensor:
        """Clip free vectors ``[..., m]`` and map them to points (``[..., 1 + m]`` for Lorentz).

        Args:
            vectors: ``[..., m]``.
            riemannian: Multiply the gradient that flows back through each point by the inverse of the ball's metric,
                ((1 − c‖x‖²)/2)², as HIER does: 1/4 at the origin, less further out. For Lorentz x is the point's image
                in the ball, so that both still have the same gradients; in flat space the factor is 1/4 everywhere.
        """
        scale = 2 / self.model.origin_length
        points = self.model.expmap0(vectors * scale, self.curvature, self.clip_radius * scale)
        if not riemannian:
            return points
        scaled: Tensor = _ScaledGradient.apply(points, self.model.inverse_metric(points.detach(), self.curvature))
        return scaled

    def normal_coordinates(self, points: Tensor) -> Tensor:
        """Points as vectors ``[..., m]`` of their direction from the origin and, as length, their :meth:`radius`: alike
        in every geometry."""
        return self.model.logmap0(points, self.curvature) * self.model.origin_length

    def from_normal(self, vectors: Tensor) -> Tensor:
        """Inverse of :meth:`normal_coordinates`: vectors ``[..., m]`` to points."""
        return self.model.expmap0(vectors / self.model.origin_length, self.curvature)

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Geodesic distance of matching points → ``[...]``."""
        return self.model.distance(x, y, self.curvature)

    def pairwise_distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Geodesic distance of all pairs of ``n`` and ``k`` points → ``[n, k]``."""
        return self.model.pairwise_distance(x, y, self.curvature)

    def radius(self, x: Tensor) -> Tensor:
        """Geodesic distance from the origin → ``[...]``."""
        return self.model.radius(x, self.curvature)

    def health(self, x: Tensor) -> dict[str, Tensor]:
        """Figures to log for points ``x``: ``mean_radius``, and ``share_at_cap`` (0–1). A share near 1 means that every
        point lies on one sphere: no radial hierarchy can form, and the gradient along the radius is gone."""
        radii = self.radius(x.detach())
        at_cap = (radii >= 0.999 * self.max_radius).to(radii.dtype)
        return {"mean_radius": radii.mean(), "share_at_cap": at_cap.mean()}


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (factor,) = ctx.saved_tensors
        return grad * factor, None
