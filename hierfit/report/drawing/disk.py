"""The latent space as a disk, and its radii."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hierfit.geometry.space import Space
from hierfit.report.analysis.disk import on_disk
from hierfit.report.drawing.style import (
    COLOURS,
    COLUMN,
    FULL,
    GRID,
    INK,
    MARKERS,
    MUTED,
    PAPER,
    SMALL,
    Drawn,
    furnish,
    new_figure,
)

_HUES = COLOURS[:6]  # the seventh is that of the ink


@dataclass(frozen=True)
class Points:
    """One kind of point.

    Attributes:
        kind: Its name, such as ``species``, ``images`` or ``attributes``.
        places: Normal coordinates ``[n, 2]``.
        branch: Which branch of the tree each belongs to ``[n]``; −1 for none.
        texts: What each says when it is pointed at.
        names: What is written beside each; empty for nothing.
    """

    kind: str
    places: Tensor
    branch: Tensor
    texts: Sequence[str]
    names: Sequence[str] = ()


def hue(branch: int) -> str:
    """Colour of a branch of the tree; those past the sixth, and points of none, share the ink's grey."""
    return _HUES[branch] if 0 <= branch < len(_HUES) else MUTED


def disk(kinds: Sequence[Points], branches: Sequence[str], space: Space) -> Drawn:
    """Images small and pale, classes larger the higher they stand in the tree, attributes as stars.

    Args:
        kinds: From the first drawn to the last.
        branches: Names of the coarsest classes, which have the colours.
        space: Says what the circles mean.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Circle

    figure = new_figure(FULL, FULL * 0.93)
    axes = figure.add_subplot()
    farthest = max(float(points.places.norm(dim=1).max()) for points in kinds)
    seen = 1.1 * _at(farthest, space)
    for radius in range(1, math.floor(farthest) + 1):
        at = _at(radius, space)
        axes.add_patch(Circle((0, 0), at, fill=False, edgecolor=GRID, linewidth=0.8, zorder=0))
        axes.text(0, -at, f"{radius}", fontsize=SMALL - 1, color=MUTED, va="top", ha="center", zorder=1)
    if space.geometry != "euclidean" and seen >= 1:
        axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor=INK, linewidth=1.1, zorder=0))
    said, handles = {}, []
    written: list[tuple[str, float, float]] = []
    for rank, points in enumerate(kinds):
        where = on_disk(points.places, space)
        star, image = points.kind == "attributes", points.kind == "images"
        marker = "*" if star else "o" if image else MARKERS[rank % len(MARKERS)]
        gid = f"kind{rank}"
        axes.scatter(
            where[:, 0].tolist(),
            where[:, 1].tolist(),
            s=9 if image else 62 if star else 14 + 16 * rank,
            c=[INK if star else hue(int(branch)) for branch in points.branch.tolist()],
            marker=marker,
            alpha=0.4 if image else 0.95,
            linewidths=0 if image else 0.7,
            edgecolors="none" if image else PAPER,
            zorder=2 + rank,
            gid=gid,
        )
        said[gid] = list(points.texts)
        colour = INK if star else MUTED
        size = 3 if image else 7
        handles.append(Line2D([], [], marker=marker, linestyle="", color=colour, label=points.kind, markersize=size))
        written += [(name, x, y) for name, (x, y) in zip(points.names, where.tolist(), strict=False)]
    for name, x, y in _apart(written, 0.05 * seen):
        axes.text(x + 0.025 * seen, y, name, fontsize=SMALL, color=INK, zorder=20, va="center")
    hues = [
        Line2D([], [], marker="o", linestyle="", color=hue(i), label=name, markersize=6)
        for i, name in enumerate(branches[: len(_HUES)])
    ]
    if len(branches) > len(_HUES):
        hues.append(Line2D([], [], marker="o", linestyle="", color=MUTED, label="other branches", markersize=6))
    axes.set_xlim(-seen, seen)
    axes.set_ylim(-seen, seen)
    axes.set_aspect("equal")
    axes.set_axis_off()
    figure.legend(
        handles=[*handles, *hues], loc="outside lower center", ncols=6, frameon=False, fontsize=SMALL, columnspacing=1.2
    )
    return figure, said


def _at(radius: float, space: Space) -> float:
    """Where a geodesic radius is drawn."""
    return float(on_disk(torch.tensor([[radius, 0.0]]), space)[0, 0])


def _apart(names: Sequence[tuple[str, float, float]], gap: float) -> list[tuple[str, float, float]]:
    """Names moved up until each stands free of those below it."""
    placed: list[tuple[str, float, float]] = []
    for name, x, y in sorted(names, key=lambda each: each[2]):
        for _, other_x, other_y in placed:
            if abs(x - other_x) < 8 * gap and y < other_y + gap:
                y = other_y + gap
        placed.append((name, x, y))
    return placed


def radii(kinds: Mapping[str, Tensor], cap: float) -> Drawn:
    """Radius of every point, a row a kind; the bar is the median.

    Args:
        kinds: Radii ``[n]`` by kind, from top to bottom.
        cap: Largest radius a projected feature can have.
    """
    figure = new_figure(COLUMN, 0.9 + 0.36 * len(kinds))
    axes = figure.add_subplot()
    generator = torch.Generator().manual_seed(0)
    for row, values in enumerate(kinds.values()):
        jitter = (torch.rand(len(values), generator=generator) - 0.5) * 0.55
        colour = COLOURS[row % len(COLOURS)]
        axes.scatter(values.tolist(), (row + jitter).tolist(), s=5, color=colour, alpha=0.5, linewidths=0, zorder=2)
        axes.plot([float(values.median())] * 2, [row - 0.36, row + 0.36], color=INK, linewidth=1.6, zorder=3)
    if math.isfinite(cap):
        axes.axvline(cap, color=MUTED, dashes=(4, 3), linewidth=1)
        axes.text(cap, -0.62, "cap ", fontsize=SMALL - 1, color=MUTED, ha="right", va="bottom")
    axes.set_ylim(len(kinds) - 0.4, -0.7)
    axes.set_xlim(left=0)
    axes.set_yticks(range(len(kinds)), list(kinds), fontsize=SMALL)
    furnish(axes, x="geodesic distance from the origin", grid="x")
    axes.tick_params(axis="y", length=0)
    return figure, {}
