"""Poincaré, Lorentz and flat space as small pure functions.

Manifold parameters and their optimiser need geoopt and are imported from :mod:`hierfit.geometry.manifold`.
"""

from __future__ import annotations

from hierfit.geometry.models import Geometry
from hierfit.geometry.space import GEOMETRIES, GeometryName, Space

__all__ = ["GEOMETRIES", "Geometry", "GeometryName", "Space"]
