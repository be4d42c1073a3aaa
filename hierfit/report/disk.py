"""A space of many dimensions on a disk: what can be kept is kept, and what is lost is measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hierfit.geometry.space import Space
from hierfit.report.blocks import Drawn
from hierfit.report.style import COLOURS, COLUMN, FULL, GRID, INK, MARKERS, MUTED, PAPER, SMALL, furnish, new_axes

_COMPARED = 600  # points whose distances are compared: 180 000 pairs
_HUES = COLOURS[:6]  # the seventh is that of the ink


@dataclass(frozen=True)
class Plane:
    """Points in polar form: the radius is theirs, the angle that of their shadow on two principal directions.

    Attributes:
        places: By kind of point, two normal coordinates ``[n, 2]``: their length is the true radius.
        share: Part of the points' squared length, kinds weighing alike, that lies in the two directions (0–1).
        agreement: Spearman's rank correlation of the distances between drawn points with those in the space.
    """

    places: Mapping[str, Tensor]
    share: float
    agreement: float


def to_plane(kinds: Mapping[str, Tensor], space: Space) -> Plane:
    """Chooses the directions and turns every point into their plane. O(n·m² + m³), and O(k²) distances of k ≤ 600.

    Args:
        kinds: Normal coordinates ``[n, m]`` by kind of point; none of them empty.
        space: Their space.
    """
    moment = torch.stack([x.double().T @ x.double() / len(x) for x in kinds.values()]).mean(0)
    values, vectors = torch.linalg.eigh(moment)  # ascending
    # Eigenvectors have no sign; the same points must give the same picture.
    directions = vectors[:, -2:].flip(1)
    directions = directions * directions.gather(0, directions.abs().argmax(0, keepdim=True)).sign()
    places = {}
    for name, x in kinds.items():
        shadow = x.double() @ directions
        stretch = x.double().norm(dim=1, keepdim=True) / shadow.norm(dim=1, keepdim=True).clamp_min(1e-12)
        places[name] = (shadow * stretch).float()
    share = float(values[-2:].sum() / values.sum().clamp_min(1e-30))
    before, after = torch.cat(list(kinds.values())), torch.cat(list(places.values()))
    rows = torch.arange(0, len(before), max(1, -(-len(before) // _COMPARED)))
    return Plane(places, share, spearman(distances(before[rows], space), distances(after[rows], space)))


def distances(x: Tensor, space: Space) -> Tensor:
    """Of all pairs of points, given by normal coordinates ``[n, m]``: ``[n·(n − 1)/2]``, row by row."""
    points = space.from_normal(x)
    rows, columns = torch.triu_indices(len(x), len(x), offset=1)
    return space.pairwise_distance(points, points)[rows, columns]


def spearman(a: Tensor, b: Tensor) -> float:
    """Rank correlation of two vectors ``[n]``."""
    from scipy.stats import spearmanr  # takes a second to import

    return float(spearmanr(a.numpy(), b.numpy()).statistic)


def on_disk(places: Tensor, space: Space) -> Tensor:
    """Normal coordinates ``[n, 2]`` to points of the unit Poincaré disk; in flat space to where they are."""
    if space.geometry == "euclidean":
        return places
    radius = places.norm(dim=1, keepdim=True)
    return places * (torch.tanh(space.curvature**0.5 * radius / 2) / radius.clamp_min(1e-12))


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


def disk(kinds: Sequence[Points], branches: Sequence[str], space: Space) -> Drawn:
    """Images small and pale, classes larger the higher they stand in the tree, attributes as stars.

    Args:
        kinds: From the first drawn to the last.
        branches: Names of the coarsest classes, which have the colours; those past the sixth share grey.
        space: Says what the circles mean.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Circle

    figure, axes = new_axes(FULL, FULL * 0.93)
    farthest = max(float(points.places.norm(dim=1).max()) for points in kinds)
    radii = torch.tensor([farthest, *range(1, math.floor(farthest) + 1)])
    edge, *circles = on_disk(torch.stack([radii, torch.zeros_like(radii)], dim=1), space)[:, 0].tolist()
    edge *= 1.1
    for radius, at in enumerate(circles, 1):
        axes.add_patch(Circle((0, 0), at, fill=False, edgecolor=GRID, linewidth=0.8, zorder=0))
        axes.text(0, -at, f"{radius}", fontsize=SMALL - 1, color=MUTED, va="top", ha="center", zorder=1)
    if space.geometry != "euclidean" and edge >= 1:
        axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor=INK, linewidth=1.1, zorder=0))
    hues = [*_HUES, MUTED, MUTED]  # past the sixth branch, and of none: −1
    texts, handles = {}, []
    written: list[tuple[str, float, float]] = []
    for rank, points in enumerate(kinds):
        where = on_disk(points.places, space).tolist()
        star, image = points.kind == "attributes", points.kind == "images"
        marker = "*" if star else "o" if image else MARKERS[rank % len(MARKERS)]
        axes.scatter(
            [x for x, _ in where],
            [y for _, y in where],
            s=9 if image else 62 if star else 14 + 16 * rank,
            c=[INK if star else hues[min(branch, len(_HUES))] for branch in points.branch.tolist()],
            marker=marker,
            alpha=0.4 if image else 0.95,
            linewidths=0 if image else 0.7,
            edgecolors="none" if image else PAPER,
            zorder=2 + rank,
            gid=f"kind{rank}",
        )
        texts[f"kind{rank}"] = list(points.texts)
        key = {"marker": marker, "color": INK if star else MUTED, "markersize": 3 if image else 7}
        handles.append(Line2D([], [], linestyle="", label=points.kind, **key))  # type: ignore[arg-type]
        written += [(name, x, y) for name, (x, y) in zip(points.names, where, strict=False)]
    for name, x, y in _apart(written, 0.05 * edge):
        axes.text(x + 0.025 * edge, y, name, fontsize=SMALL, color=INK, zorder=20, va="center")
    named = list(zip(_HUES, branches, strict=False))
    named += [(MUTED, "other branches")] if len(branches) > len(_HUES) else []
    handles += [Line2D([], [], marker="o", linestyle="", color=hue, label=name, markersize=6) for hue, name in named]
    axes.set_xlim(-edge, edge)
    axes.set_ylim(-edge, edge)
    axes.set_aspect("equal")
    axes.set_axis_off()
    figure.legend(
        handles=handles, loc="outside lower center", ncols=6, frameon=False, fontsize=SMALL, columnspacing=1.2
    )
    return figure, texts


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
    figure, axes = new_axes(COLUMN, 0.9 + 0.36 * len(kinds))
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
