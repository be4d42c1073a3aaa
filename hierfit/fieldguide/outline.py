"""Wing outlines as polar curves about the wing's hinge."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
_ANGLES = np.linspace(-180.0, 180.0, 721)

# (degrees from the horizontal, radius), from the trailing to the leading edge for the forewing and from the
# leading edge downwards for the hindwing. The span of a butterfly is about 2, the hinge lies on the body.
_FORE: dict[str, list[tuple[float, float]]] = {
    "swallowtail": [(-14, 0.40), (0, 0.62), (22, 0.84), (40, 1.00), (50, 0.96), (66, 0.62), (84, 0.26)],
    "sailwing": [(2, 0.30), (10, 0.62), (20, 1.05), (28, 1.16), (36, 1.02), (48, 0.55), (66, 0.24)],
    "roundwing": [(-18, 0.52), (0, 0.72), (20, 0.80), (42, 0.82), (62, 0.74), (80, 0.48), (96, 0.26)],
    "anglewing": [(-12, 0.42), (2, 0.72), (14, 0.62), (27, 0.86), (36, 0.74), (50, 1.06), (56, 0.86), (80, 0.32)],
    "leafwing": [(-12, 0.44), (6, 0.66), (26, 0.72), (46, 0.90), (56, 1.08), (63, 0.86), (78, 0.44), (90, 0.26)],
    "broadwing": [(-24, 0.62), (0, 0.88), (24, 1.00), (48, 1.04), (62, 0.96), (78, 0.66), (94, 0.34)],
    "hookwing": [(-12, 0.48), (6, 0.68), (20, 0.66), (32, 0.74), (41, 1.12), (48, 1.12), (58, 0.86), (78, 0.40)],
    "scallopwing": [(-16, 0.50), (0, 0.72), (20, 0.84), (40, 0.92), (58, 0.84), (76, 0.52), (92, 0.26)],
}
_HIND: dict[str, list[tuple[float, float]]] = {
    "swallowtail": [
        (16, 0.34), (-4, 0.56), (-26, 0.66), (-46, 0.66), (-56, 0.64), (-61, 0.78), (-64, 1.08), (-68, 1.08),
        (-71, 0.74), (-78, 0.52), (-90, 0.36),
    ],
    "sailwing": [(14, 0.30), (-10, 0.42), (-34, 0.50), (-60, 0.46), (-88, 0.30)],
    "roundwing": [(20, 0.40), (-6, 0.62), (-30, 0.72), (-56, 0.74), (-76, 0.62), (-92, 0.40)],
    "anglewing": [
        (16, 0.36), (-6, 0.66), (-16, 0.58), (-30, 0.76), (-40, 0.60), (-54, 0.82), (-64, 0.60), (-78, 0.68),
        (-92, 0.38),
    ],
    "leafwing": [(18, 0.36), (-8, 0.56), (-34, 0.62), (-56, 0.68), (-70, 0.86), (-77, 1.00), (-83, 0.84), (-92, 0.40)],
    "broadwing": [(24, 0.50), (-6, 0.78), (-32, 0.90), (-58, 0.90), (-78, 0.76), (-94, 0.50)],
    "hookwing": [(16, 0.36), (-6, 0.54), (-30, 0.60), (-50, 0.72), (-60, 0.64), (-78, 0.52), (-92, 0.36)],
    "scallopwing": [(20, 0.40), (-6, 0.64), (-30, 0.74), (-56, 0.76), (-76, 0.64), (-92, 0.42)],
}  # fmt: skip
_SMOOTHING_DEGREES = {"anglewing": 2.0, "swallowtail": 3.0, "hookwing": 4.0}
_SCALLOPS = 0.085


@dataclass(frozen=True)
class Wing:
    """A wing as radius over angle, at each half degree from −180 to 180, and its slope in radius per radian.

    The hinge is its height above the body's middle; start and stop are the leading and trailing edge, degrees.
    """

    hinge: float
    radius: Array
    slope: Array
    start: float
    stop: float

    def locate(self, u: Array, v: Array) -> tuple[Array, Array, Array]:
        """Wing coordinates of points ``[S, S]`` (``u`` outwards, ``v`` upwards).

        Returns:
            Signed distance to the margin (negative inside), fraction of the way from hinge to margin, and fraction
            of the way from leading to trailing edge.
        """
        w = v - self.hinge
        r = np.sqrt(u * u + w * w) + 1e-6
        degrees = np.degrees(np.arctan2(w, u))
        at = np.clip(((degrees + 180.0) * 2.0).astype(np.int32), 0, len(self.radius) - 1)
        radius, slope = self.radius[at], self.slope[at]
        distance = (r - radius) / np.sqrt(1.0 + (slope / np.maximum(r, 0.15)) ** 2)
        return distance, r / radius, (degrees - self.start) / (self.stop - self.start)


def _curve(points: list[tuple[float, float]], smoothing: float, scallops: float) -> tuple[Array, Array]:
    knots = sorted(points)
    angles = [knots[0][0] - 10.0, *(a for a, _ in knots), knots[-1][0] + 10.0]
    radii = [0.02, *(r for _, r in knots), 0.02]
    radius = np.interp(_ANGLES, angles, radii, left=0.02, right=0.02)
    width = max(int(smoothing * 2), 1)
    window = np.hanning(2 * width + 3)[1:-1]
    radius = np.convolve(np.pad(radius, width, mode="edge"), window / window.sum(), mode="valid")
    if scallops:
        radius = radius * (1.0 - scallops + scallops * 2.0 * np.abs(np.sin(np.radians(_ANGLES) * 9.0)))
    return radius.astype(np.float32), np.gradient(radius, np.radians(_ANGLES)).astype(np.float32)


@cache
def wings(outline: str) -> tuple[Wing, Wing]:
    """Forewing and hindwing of an outline."""
    smoothing = _SMOOTHING_DEGREES.get(outline, 8.0)
    scallops = _SCALLOPS if outline == "scallopwing" else 0.0
    fore, hind = _FORE[outline], _HIND[outline]
    return (
        Wing(0.04, *_curve(fore, smoothing, scallops), start=fore[-1][0], stop=fore[0][0]),
        Wing(-0.06, *_curve(hind, smoothing, scallops), start=hind[0][0], stop=hind[-1][0]),
    )
