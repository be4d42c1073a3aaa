"""Draws one butterfly as pixels: a pure function of species, random stream and size.

Everything is evaluated on the pixel grid with numpy (no shapes, no fonts, no files), with margins softened over one
pixel, so any size can be drawn and a 64-px picture takes about 2 ms.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hierfit.fieldguide.guide import COLOURS, Nuisance, Species
from hierfit.fieldguide.outline import Array, Wing, wings

_BACKDROPS = np.array(
    [(126, 160, 98), (92, 128, 84), (168, 196, 214), (196, 184, 152),
     (150, 130, 108), (206, 196, 206), (112, 140, 150)],
    dtype=np.float32,
) / 255.0  # fmt: skip
_LEAF_GREENS = np.array([(70, 112, 52), (104, 140, 66), (58, 92, 60), (140, 150, 78)], dtype=np.float32) / 255.0
_INK = np.array([0.10, 0.08, 0.09], dtype=np.float32)
_PEARL = np.array([0.98, 0.97, 0.93], dtype=np.float32)
_JEWEL = np.array([0.16, 0.42, 0.96], dtype=np.float32)


@lru_cache(maxsize=8)
def _grid(size: int) -> tuple[Array, Array]:
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2.0 - 1.0).astype(np.float32)
    return np.meshgrid(axis, -axis)


@lru_cache(maxsize=32)
def _upsampler(size: int, cells: int) -> Array:
    """Linear interpolation from ``cells`` knots to ``size`` pixels, as a matrix ``[size, cells]``."""
    at = np.linspace(0.0, cells - 1.0, size)
    return np.clip(1.0 - np.abs(at[:, None] - np.arange(cells)[None]), 0.0, 1.0).astype(np.float32)


def _noise(rng: np.random.Generator, size: int, cells: int) -> Array:
    """Smooth noise in [−1, 1], ``[size, size]``, with ``cells`` knots a side."""
    up = _upsampler(size, cells)
    return up @ rng.uniform(-1.0, 1.0, (cells, cells)).astype(np.float32) @ up.T


def _step(value: Array, width: float) -> Array:
    """1 where ``value`` > 0, 0 where < 0, linear over ``width`` between."""
    return np.clip(value / width + 0.5, 0.0, 1.0)


def _blend(image: Array, colour: Array, alpha: Array) -> None:
    image += alpha[..., None] * (colour - image)


def _wave(x: Array) -> Array:
    """Triangle wave of period 1 in [−1, 1], +1 at whole numbers."""
    return 4.0 * np.abs(x - np.floor(x) - 0.5) - 1.0


def _marking(pattern: str, rho: Array, phi: Array, fore: bool, noise: Array, aa: float) -> Array:
    """Share of marking colour on a wing, from radial (``rho``) and angular (``phi``) wing coordinates."""
    if pattern == "banded":
        return _step(0.13 - np.abs(rho - 0.60), aa) + _step(0.045 - np.abs(rho - 0.30), aa)
    if pattern == "striped":
        return _step(_wave(phi * 4.0 + 0.5), 6.0 * aa) * _step(rho - 0.18, aa)
    if pattern == "spotted":
        ring = np.minimum(np.abs(rho - 0.45) / 0.13, np.abs(rho - 0.78) / 0.13)
        beads = (1.0 - _wave(phi * np.where(rho < 0.61, 2.0, 4.0))) / np.where(rho < 0.61, 0.72, 0.88)
        return _step(1.0 - np.hypot(ring, beads), 6.0 * aa)
    if pattern == "checkered":
        return _step(_wave(phi * 3.0) * _wave(rho * 2.0), 5.0 * aa)
    if pattern == "bordered":
        return _step(rho - 0.72, aa)
    if pattern == "eyed":
        spot = np.hypot((rho - 0.60) / 0.27, (phi - 0.5) / 0.30)
        return _step(1.0 - spot, 4.0 * aa) - _step(0.62 - spot, 4.0 * aa) + _step(0.34 - spot, 4.0 * aa)
    if pattern == "tipped":
        return _step(rho - 0.52 - (0.0 if fore else 0.28) - 0.55 * np.abs(phi - 0.36), aa)
    if pattern == "marbled":
        return _step(noise * 0.9 + 0.35 * np.sin(9.0 * rho + 5.0 * noise), 5.0 * aa)
    if pattern == "netted":
        web = np.maximum(_wave(phi * 4.0 + 0.5) - 0.58, _wave(rho * 3.0) - 0.56)
        return _step(web, 6.0 * aa)
    if pattern == "halved":
        return np.zeros_like(rho) if fore else np.ones_like(rho)
    raise ValueError(f"unknown pattern {pattern!r}")


def _paint_wing(
    image: Array, species: Species, wing: Wing, fore: bool, u: Array, v: Array, pixel: float, noise: Array, worn: Array
) -> Array:
    """Paints one pair of wings and returns its coverage ``[S, S]``."""
    distance, rho, phi = wing.locate(u, v)
    cover = _step(-distance, pixel) * worn
    inside = cover > 0.0
    rho, phi, aa = rho[inside], phi[inside], pixel * 1.4
    ground = np.asarray(COLOURS[species.ground], dtype=np.float32) / 255.0
    marking = np.asarray(COLOURS[species.marking], dtype=np.float32) / 255.0

    colour = np.repeat(ground[None], len(rho), axis=0)
    _blend(colour, marking, np.clip(_marking(species.pattern, rho, phi, fore, noise[inside], aa), 0.0, 1.0))
    if species.accent == "smoky":
        _blend(colour, _INK, 0.85 * _step(0.36 - rho, 0.22))
    elif species.accent == "veined":
        _blend(colour, _INK, 0.8 * _step(_wave(phi * 5.0) - 0.72, 6.0 * aa))
    elif species.accent == "pearled":
        beads = np.hypot((1.0 - _wave(phi * 6.0)) / 0.85, (rho - 0.89) / 0.085)
        _blend(colour, _PEARL, _step(1.0 - beads, 5.0 * aa))
    elif species.accent == "fringed":
        _blend(colour, _PEARL, _step(rho - 0.88, aa))
    elif species.accent == "jewelled" and not fore:
        gem = np.hypot((rho - 0.62) / 0.20, (phi - 0.62) / 0.17)
        _blend(colour, _INK, _step(1.28 - gem, 4.0 * aa))
        _blend(colour, _JEWEL, _step(0.95 - gem, 4.0 * aa))

    relief = 0.86 + 0.16 * np.sqrt(np.clip(rho, 0.0, 1.0)) + 0.035 * _wave(phi * 7.0)
    colour *= relief[:, None]
    # A fine dark margin tells neighbouring wings apart.
    _blend(colour, colour * 0.45, _step(distance[inside] + 1.3 * pixel, pixel))
    image[inside] += cover[inside][:, None] * (colour - image[inside])
    return cover


def _paint_body(image: Array, x: Array, y: Array, pixel: float) -> None:
    # Antennae: two outward curves from the head.
    bend = 0.05 + 0.55 * np.clip(y - 0.22, 0.0, 1.0) ** 1.2
    antenna = _step(0.012 - np.abs(np.abs(x) - bend), pixel) * _step(y - 0.24, pixel) * _step(0.56 - y, pixel)
    club = _step(0.030 - np.hypot(np.abs(x) - 0.205, y - 0.56), pixel)
    _blend(image, _INK, 0.8 * np.maximum(antenna, club))
    abdomen = 1.0 - np.hypot(x / 0.060, (y + 0.14) / 0.36)
    head = 1.0 - np.hypot(x / 0.062, (y - 0.22) / 0.066)
    solid = _step(np.maximum(abdomen, head) * 0.06, pixel)
    shade = np.clip(0.17 + 0.20 * np.maximum(abdomen, head), 0.0, 0.42)[..., None]
    image += solid[..., None] * (shade * np.array([1.0, 0.9, 0.85], dtype=np.float32) - image)


def _backdrop(rng: np.random.Generator, size: int, strength: float) -> Array:
    x, y = _grid(size)
    if strength <= 0.0:
        return np.full((size, size, 3), (0.93, 0.91, 0.86), dtype=np.float32)
    near, far = _BACKDROPS[rng.integers(len(_BACKDROPS), size=2)]
    mix = np.clip(0.5 + 0.5 * y + 0.5 * _noise(rng, size, 4), 0.0, 1.0)[..., None]
    image = near + mix * (far - near)
    for _ in range(rng.integers(2, 6)):
        cx, cy, radius = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.12, 0.45)
        tint = _LEAF_GREENS[rng.integers(len(_LEAF_GREENS))] if rng.random() < 0.6 else rng.uniform(0.3, 0.95, 3)
        disc = _step(radius - np.hypot(x - cx, (y - cy) * rng.uniform(0.6, 1.6)), 0.18)
        _blend(image, np.asarray(tint, dtype=np.float32), 0.55 * disc * min(strength, 1.0))
    return image * (1.0 + 0.10 * _noise(rng, size, 9)[..., None] * strength)


def _blade(image: Array, rng: np.random.Generator, pixel: float) -> None:
    """A blade of grass across the picture."""
    x, y = _grid(image.shape[0])
    angle, offset, bow = rng.uniform(0, np.pi), rng.uniform(-0.5, 0.5), rng.uniform(-0.35, 0.35)
    cos, sin = math.cos(angle), math.sin(angle)
    along, across = x * cos + y * sin, y * cos - x * sin
    blade = _step(rng.uniform(0.035, 0.085) - np.abs(across - offset - bow * along * along), pixel)
    green = _LEAF_GREENS[rng.integers(len(_LEAF_GREENS))] * rng.uniform(0.8, 1.2)
    _blend(image, green.astype(np.float32), blade)


def draw_butterfly(
    species: Species, rng: np.random.Generator, size: int = 64, nuisance: Nuisance | None = None
) -> NDArray[np.uint8]:
    """Draws a picture of a species.

    Args:
        species: What to draw.
        rng: All randomness comes from here; the same stream gives the same picture.
        size: Width and height in pixels.
        nuisance: Strength of pose, light, backdrop, occlusion and wear.

    Returns:
        RGB picture ``[size, size, 3]``, uint8.
    """
    n = nuisance or Nuisance()
    grid_x, grid_y = _grid(size)
    image = _backdrop(rng, size, n.backdrop)

    angle = n.pose * rng.normal(0.0, 0.42)
    scale = 0.98 - n.pose * rng.uniform(0.0, 0.26)
    # Python's floats leave single precision alone; numpy's own scalars would double it, and the time.
    dx, dy = (n.pose * rng.uniform(-0.14, 0.14) for _ in range(2))
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    x = (grid_x - dx) * cos + (grid_y - dy) * sin
    y = (grid_y - dy) * cos - (grid_x - dx) * sin
    pixel = 2.0 / size / scale
    # Wings are seldom flat: each side is foreshortened on its own, and swept a little up or down.
    left = 1.0 - n.pose * rng.uniform(0.0, 0.34)
    right = 1.0 - n.pose * rng.uniform(0.0, 0.34) * rng.uniform(0.3, 1.0)
    u = np.abs(x) * np.where(x < 0.0, np.float32(1.0 / left), np.float32(1.0 / right))
    v = y - (n.pose * rng.uniform(-0.10, 0.14)) * u

    noise = _noise(rng, size, 11)
    worn = np.ones_like(x)
    if rng.random() < 0.4 * n.wear:
        for _ in range(rng.integers(1, 4)):
            at, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 1.05)
            worn *= _step(np.hypot(x - reach * math.cos(at), y - reach * math.sin(at)) - rng.uniform(0.06, 0.16), pixel)

    fore, hind = wings(species.outline)
    clean = image.copy()
    covered = _paint_wing(image, species, hind, False, u, v, pixel, noise, worn)
    covered = np.maximum(covered, _paint_wing(image, species, fore, True, u, v, pixel, noise, worn))
    # Drop shadow: the silhouette, shifted and thinned, only where no wing lies.
    shift = max(size // 24, 1)
    shadow = np.roll(covered, (shift, shift // 2), axis=(0, 1)) * (1.0 - covered)
    image -= (0.28 * shadow)[..., None] * clean
    _paint_body(image, x, y, pixel)

    if n.wear:
        grey = image.mean(axis=-1, keepdims=True)
        image += (covered * rng.uniform(0.0, 0.28) * n.wear)[..., None] * (grey - image)
    if rng.random() < 0.35 * n.occlusion:
        _blade(image, rng, pixel)
    if n.light:
        lamp = rng.uniform(0, 2 * np.pi)
        slope = 0.20 * n.light * rng.random() * (math.cos(lamp) * grid_x + math.sin(lamp) * grid_y)
        warmth = 1.0 + n.light * rng.uniform(-0.11, 0.11) * np.array([1.0, 0.1, -1.0], dtype=np.float32)
        exposure = math.exp(n.light * rng.normal(0.0, 0.16))
        image *= (exposure * (1.0 + slope))[..., None] * warmth
        image += 0.022 * n.light * rng.standard_normal(image.shape, dtype=np.float32)
    return (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
