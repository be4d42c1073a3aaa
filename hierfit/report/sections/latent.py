"""The latent space of a run: classes, attributes and images on a disk, and how far out they lie.

A space of many dimensions on a disk: what can be kept is kept, and what is lost is measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hierfit.errors import UserError
from hierfit.geometry.embeddings import Embeddings
from hierfit.geometry.space import Space
from hierfit.report import style
from hierfit.report.blocks import Block, Drawing, Picture, Sheet, percent
from hierfit.report.evidence import Evidence, FinishedRun
from hierfit.report.style import GRID, INK, MUTED, SMALL
from hierfit.results.table import Column, Table
from hierfit.taxonomy import Taxonomy

_NODES_SHOWN, _IMAGES_SHOWN = 400, 600
_MOST_NAMES = 24  # classes that have room for their names
_COMPARED = 600  # points whose distances are compared: 180 000 pairs
_HUES = style.PALETTE[:6]  # the seventh is that of the ink
_CORRELATION = Column("", "", 2, signed=True)
_SPACES = {
    "poincare": "Poincaré disk",
    "lorentz": "hyperboloid, projected onto the Poincaré disk",
    "euclidean": "flat space (the control without curvature)",
}


class Points(NamedTuple):
    """One kind of point."""

    kind: str  # ``images``, ``attributes``, or a level
    where: Tensor  # in normal coordinates, of the space ``[n, m]`` or drawn ``[n, 2]``: direction and distance
    nodes: Tensor  # what each is ``[n]``: a node of the tree, −1 for none

    @property
    def lengths(self) -> Tensor:
        """Distances from the origin ``[n]``."""
        return self.where.norm(dim=1)


def latent_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs of methods with a latent space."""
    run, found = evidence.focus, evidence.focus.embeddings
    if found is None:
        raise UserError(f"{run.card.row} left no embeddings; LatHAdapter with its hierarchy does.")
    tree, space = run.reading.taxonomy, found.space
    if len(found.nodes) != tree.num_nodes:
        raise UserError(f"the embeddings of {run.card.row} are of another tree.")
    kinds = _kinds(found, run)
    plane = to_plane({each.kind: each.where for each in kinds}, space)
    drawn = [each._replace(where=plane.places[each.kind]) for each in kinds]
    summary = "; ".join(f"{each.kind} {float(each.lengths.mean()):.2f}" for each in kinds)
    edge = ""  # of a disk, which may lie out of the picture
    if space.geometry != "euclidean":
        farthest = torch.cat([each.lengths for each in kinds]).max()
        filled = percent(math.tanh(math.sqrt(space.curvature) * float(farthest) / 2))
        edge = f"; the points fill {filled} of the disk's radius, its edge is infinitely far"
    blocks = (
        Picture(
            "latent_space",
            f"Seed {run.card.seed}, {_SPACES[space.geometry]}. The distance from the centre is exact (circles: "
            f"geodesic distance{edge}); the angle is that of the two leading principal directions of "
            f"{found.nodes.shape[1]}, which hold {percent(plane.share)} of the squared length. Distances between drawn "
            f"points agree with the true ones to a rank correlation of {plane.agreement:.2f}: read neighbourhoods with "
            "care.",
            f"Classes, attributes and images in the latent space. Mean distance from the origin: {summary}.",
            partial(_disk, drawn, tree, space),
            wide=True,
            finder=True,
        ),
        Picture(
            "radii",
            "Distance of every point from the origin; the bar is the median.",
            f"Radii by kind of point. Mean: {summary}.",
            partial(_radii, kinds, space.max_radius),
        ),
        _radii_sheet(kinds, space.max_radius),
    )
    return _latent_lead(found, tree, kinds), blocks


def _thinned(count: int, most: int) -> slice:
    return slice(None, None, max(1, math.ceil(count / most)))


def _kinds(found: Embeddings, run: FinishedRun) -> list[Points]:
    """From the first drawn to the last."""
    tree, some = run.reading.taxonomy, _thinned(len(found.indices), _IMAGES_SHOWN)
    kinds = [Points("images", found.images[some], run.labels(found.indices[some]))]
    for depth in reversed(range(tree.num_levels)):
        nodes = torch.arange(tree.num_nodes)[tree.level_slices[depth]]
        nodes = nodes[_thinned(len(nodes), _NODES_SHOWN)]
        kinds.append(Points(tree.levels[depth], found.nodes[nodes], nodes))
    if found.attributes is not None:
        kinds.append(Points("attributes", found.attributes, torch.full((len(found.attributes),), -1)))
    return kinds


def _point_names(points: Points, tree: Taxonomy) -> list[str]:
    if points.kind == "attributes":
        return [str(i + 1) for i in range(len(points.nodes))]
    return [tree.names[node] if node >= 0 else "an unknown class" for node in points.nodes.tolist()]


def _latent_lead(found: Embeddings, tree: Taxonomy, kinds: Sequence[Points]) -> str:
    order = sorted(kinds, key=lambda each: float(each.lengths.mean()))
    text = f"From the centre outward, by mean distance: {', '.join(each.kind for each in order)}."
    nodes, join = torch.arange(tree.num_nodes)[_thinned(tree.num_nodes, _NODES_SHOWN)], " D"
    if tree.num_levels > 1:
        shown = _CORRELATION.number(_spearman(tree.level[nodes].double(), found.nodes[nodes].norm(dim=1)))
        text += f" Depth in the tree and distance correlate to {shown} (Spearman),"
        join = " and d"
    rows, columns = torch.triu_indices(len(nodes), len(nodes), offset=1)
    edges = tree.distance(nodes[rows], nodes[columns])
    if len(edges.unique()) > 1:
        shown = _CORRELATION.number(_spearman(edges.double(), _distances(found.nodes[nodes], found.space)))
        text += f"{join}istances between classes correlate with those in the tree to {shown}."
    return text


def _radii_sheet(kinds: Sequence[Points], cap: float) -> Sheet:
    rows = []
    for each in reversed(kinds):
        x = each.lengths
        at_cap = float((x >= 0.995 * cap).float().mean()) if math.isfinite(cap) else None
        rows.append((each.kind, len(x), float(x.mean()), float(x.min()), float(x.max()), at_cap))
    figures = (Column(header, "", 2) for header in ("mean", "least", "most"))
    table = Table.of(
        "Geodesic distance from the origin, and the share of points in % at the cap, beyond which features are clipped",
        ("points", Column("drawn", "count"), *figures, Column("% at cap", "%", 0)),
        rows,
        "Where many lie there, the space no longer tells near from far.",
    )
    return Sheet("radii", table, narrow=True)


class Plane(NamedTuple):
    """Points in polar form: the radius is theirs, the angle that of their shadow on two principal directions."""

    places: Mapping[str, Tensor]  # by kind of point, two normal coordinates ``[n, 2]``: their length is the true radius
    share: float  # part of the points' squared length, kinds weighing alike, that lies in the two directions (0–1)
    agreement: float  # spearman's rank correlation of the distances between drawn points with those in the space


def to_plane(kinds: Mapping[str, Tensor], space: Space) -> Plane:
    """Chooses directions and turns every point, in normal coordinates ``[n, m]`` by kind, none empty, into their plane.

    O(n·m² + m³), and O(k²) distances of k ≤ 600.
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
    rows = _thinned(len(before), _COMPARED)
    return Plane(places, share, _spearman(_distances(before[rows], space), _distances(after[rows], space)))


def _distances(x: Tensor, space: Space) -> Tensor:
    """Of all pairs of points, given by normal coordinates ``[n, m]``: ``[n·(n − 1)/2]``, row by row."""
    points = space.from_normal(x)
    rows, columns = torch.triu_indices(len(x), len(x), offset=1)
    return space.pairwise_distance(points, points)[rows, columns]


def _spearman(a: Tensor, b: Tensor) -> float:
    from scipy.stats import spearmanr  # takes a second to import

    return float(spearmanr(a.numpy(), b.numpy()).statistic)


def on_disk(places: Tensor, space: Space) -> Tensor:
    """Normal coordinates ``[n, 2]`` to points of the unit Poincaré disk; in flat space to where they are."""
    if space.geometry == "euclidean":
        return places
    radius = places.norm(dim=1, keepdim=True)
    return places * (torch.tanh(space.curvature**0.5 * radius / 2) / radius.clamp_min(1e-12))


def _disk(drawn: Sequence[Points], tree: Taxonomy, space: Space) -> Drawing:
    """Images small and pale, classes larger the higher they stand in the tree, attributes as stars.

    The coarsest classes have the colours; those past the sixth share grey.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Circle

    figure, axes = style.new_axes(style.FULL, style.FULL * 0.93)
    farthest = max(float(points.lengths.max()) for points in drawn)
    radii = torch.tensor([farthest, *range(1, math.floor(farthest) + 1)])
    edge, *circles = on_disk(torch.stack([radii, torch.zeros_like(radii)], dim=1), space)[:, 0].tolist()
    edge *= 1.1
    for radius, at in enumerate(circles, 1):
        axes.add_patch(Circle((0, 0), at, fill=False, edgecolor=GRID, linewidth=0.8, zorder=0))
        axes.text(0, -at, f"{radius}", fontsize=SMALL - 1, color=MUTED, va="top", ha="center", zorder=1)
    if space.geometry != "euclidean" and edge >= 1:
        axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor=INK, linewidth=1.1, zorder=0))
    branches, hues = tree.names[: tree.level_sizes[0]], [*_HUES, MUTED, MUTED]  # past the sixth branch, and of none: −1
    texts, handles, written = {}, [], list[tuple[float, float, str]]()
    for rank, points in enumerate(drawn):
        star, image, names = points.kind == "attributes", points.kind == "images", _point_names(points, tree)
        branch = tree.paths(points.nodes)[:, 0].tolist()
        marker = "*" if star else "o" if image else style.MARKERS[rank % len(style.MARKERS)]
        x, y = on_disk(points.where, space).T.tolist()
        colours = [INK if star else hues[min(each, len(_HUES))] for each in branch]
        size = 9 if image else 62 if star else 14 + 16 * rank
        look: dict[str, Any] = {"alpha": 0.95, "linewidths": 0.7, "edgecolors": style.PAPER}
        look = {"alpha": 0.4, "linewidths": 0, "edgecolors": "none"} if image else look
        axes.scatter(x, y, s=size, c=colours, marker=marker, zorder=2 + rank, gid=f"kind{rank}", **look)
        one = points.kind.rstrip("s") if star or image else points.kind
        words = "image of " if image else "attribute " if star else ""
        at = zip(names, points.lengths.tolist(), strict=True)
        texts[f"kind{rank}"] = [f"{words}{name}: {one} at {length:.2f}" for name, length in at]
        key: dict[str, Any] = {"color": INK if star else MUTED, "markersize": 3 if image else 7}
        handles.append(Line2D([], [], linestyle="", label=points.kind, marker=marker, **key))
        if points.kind == tree.levels[0] and len(names) <= _MOST_NAMES:
            written += zip(y, x, names, strict=True)
    placed: list[tuple[float, float]] = []
    gap = 0.05 * edge
    for top, left, name in sorted(written):  # moved up until each stands free of those below it
        for other_top, other_left in placed:
            if abs(left - other_left) < 8 * gap and top < other_top + gap:
                top = other_top + gap
        placed.append((top, left))
        axes.text(left + 0.025 * edge, top, name, fontsize=SMALL, color=INK, zorder=20, va="center")
    named = list(zip(_HUES, branches, strict=False))
    named += [(MUTED, "other branches")] if len(branches) > len(_HUES) else []
    handles += [Line2D([], [], marker="o", linestyle="", color=hue, label=name, markersize=6) for hue, name in named]
    axes.set_xlim(-edge, edge)
    axes.set_ylim(-edge, edge)
    axes.set_aspect("equal")
    axes.set_axis_off()
    style.legend_below(figure, 6, handles=handles, columnspacing=1.2)
    return figure, texts


def _radii(kinds: Sequence[Points], cap: float) -> Drawing:
    """Radius of every point, a row a kind; the bar is the median, the dashed line the largest a feature can have."""
    figure, axes = style.new_axes(style.COLUMN, 0.9 + 0.36 * len(kinds))
    generator = torch.Generator().manual_seed(0)
    for row, values in enumerate(each.lengths for each in kinds):
        jitter = (torch.rand(len(values), generator=generator) - 0.5) * 0.55
        colour = style.PALETTE[row % len(style.PALETTE)]
        axes.scatter(values.tolist(), (row + jitter).tolist(), s=5, color=colour, alpha=0.5, linewidths=0, zorder=2)
        axes.plot([float(values.median())] * 2, [row - 0.36, row + 0.36], color=INK, linewidth=1.6, zorder=3)
    if math.isfinite(cap):
        axes.axvline(cap, color=MUTED, dashes=style.DASHES, linewidth=1)
        axes.text(cap, -0.62, "cap ", fontsize=SMALL - 1, color=MUTED, ha="right", va="bottom")
    axes.set_ylim(len(kinds) - 0.4, -0.7)
    axes.set_xlim(left=0)
    axes.set_yticks(range(len(kinds)), [each.kind for each in kinds])
    style.furnish(axes, x="geodesic distance from the origin", grid="x")
    axes.tick_params(axis="y", length=0)
    return figure, {}
