"""The latent space of a run: classes, attributes and images on a disk, and how far out they lie.

A space of many dimensions on a disk: what can be kept is kept, and what is lost is measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

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

_NODES_SHOWN, _IMAGES_SHOWN = 400, 600
_NAMES = 24  # classes that have room for their names
_COMPARED = 600  # points whose distances are compared: 180 000 pairs
_HUES = style.PALETTE[:6]  # the seventh is that of the ink
_CORRELATION = Column("", "", 2, signed=True)
_SPACES = {
    "poincare": "Poincaré disk",
    "lorentz": "hyperboloid, projected onto the Poincaré disk",
    "euclidean": "flat space (the control without curvature)",
}


def latent_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs of methods with a latent space."""
    run, found = evidence.focus, evidence.focus.embeddings
    if found is None:
        raise UserError(f"{run.card.row} left no embeddings; LatHAdapter with its hierarchy does.")
    taxonomy, space = run.reading.taxonomy, found.space
    if len(found.nodes) != taxonomy.num_nodes:
        raise UserError(f"the embeddings of {run.card.row} are of another tree.")
    kinds = _kinds(found, run)
    plane = to_plane({name: points for name, (points, _) in kinds.items()}, space)
    lengths = {name: points.norm(dim=1) for name, (points, _) in kinds.items()}
    shown = [_points(name, plane.places[name], lengths[name], nodes, run) for name, (_, nodes) in kinds.items()]
    summary = "; ".join(f"{name} {float(x.mean()):.2f}" for name, x in lengths.items())
    edge = ""  # of a disk, which may lie out of the picture
    if space.geometry != "euclidean":
        filled = math.tanh(math.sqrt(space.curvature) * max(float(x.max()) for x in lengths.values()) / 2)
        edge = f"; the points fill {percent(filled)} of the disk's radius, its edge is infinitely far"
    blocks = (
        Picture(
            "latent_space",
            f"Seed {run.card.seed}, {_SPACES[space.geometry]}. The distance from the centre is exact (circles: "
            f"geodesic distance{edge}); the angle is that of the two leading principal directions of "
            f"{found.nodes.shape[1]}, which hold {percent(plane.share)} of the squared length. Distances between drawn "
            f"points agree with the true ones to a rank correlation of {plane.agreement:.2f}: read neighbourhoods with "
            "care.",
            f"Classes, attributes and images in the latent space. Mean distance from the origin: {summary}.",
            partial(_disk, shown, taxonomy.names[: taxonomy.level_sizes[0]], space),
            wide=True,
            finder=True,
        ),
        Picture(
            "radii",
            "Distance of every point from the origin; the bar is the median.",
            f"Radii by kind of point. Mean: {summary}.",
            partial(_radii, lengths, space.max_radius),
        ),
        _sheet(lengths, space.max_radius),
    )
    return _lead(found, run, lengths), blocks


def _thinned(count: int, most: int) -> slice:
    return slice(None, None, max(1, math.ceil(count / most)))


def _kinds(found: Embeddings, run: FinishedRun) -> dict[str, tuple[Tensor, Tensor]]:
    """Points by kind, from the first drawn to the last, with what each is: a node of the tree, −1 for an attribute."""
    taxonomy, some = run.reading.taxonomy, _thinned(len(found.indices), _IMAGES_SHOWN)
    kinds = {"images": (found.images[some], run.labels(found.indices[some]))}
    for depth in reversed(range(taxonomy.num_levels)):
        nodes = torch.arange(taxonomy.num_nodes)[taxonomy.level_slices[depth]]
        nodes = nodes[_thinned(len(nodes), _NODES_SHOWN)]
        kinds[taxonomy.levels[depth]] = found.nodes[nodes], nodes
    if found.attributes is not None:
        kinds["attributes"] = found.attributes, torch.full((len(found.attributes),), -1)
    return kinds


def _points(name: str, places: Tensor, lengths: Tensor, nodes: Tensor, run: FinishedRun) -> Points:
    taxonomy = run.reading.taxonomy
    branch = torch.where(nodes >= 0, taxonomy.paths(nodes.clamp_min(0))[:, 0], -1)
    words = {"images": "image of ", "attributes": "attribute "}.get(name, "")
    called = [
        str(i + 1) if name == "attributes" else taxonomy.names[v] if v >= 0 else "an unknown class"
        for i, v in enumerate(nodes.tolist())
    ]
    kind = name.rstrip("s") if words else name
    texts = [f"{words}{each}: {kind} at {r:.2f}" for each, r in zip(called, lengths.tolist(), strict=True)]
    written = called if name == taxonomy.levels[0] and len(called) <= _NAMES else ()
    return Points(name, places, branch, texts, written)


def _lead(found: Embeddings, run: FinishedRun, lengths: Mapping[str, Tensor]) -> str:
    order = sorted(lengths, key=lambda name: float(lengths[name].mean()))
    text = f"From the centre outward, by mean distance: {', '.join(order)}."
    taxonomy, join = run.reading.taxonomy, " D"
    nodes = torch.arange(taxonomy.num_nodes)[_thinned(taxonomy.num_nodes, _NODES_SHOWN)]
    if taxonomy.num_levels > 1:
        correlation = _spearman(taxonomy.level[nodes].double(), found.nodes[nodes].norm(dim=1))
        text += f" Depth in the tree and distance correlate to {_CORRELATION.number(correlation)} (Spearman),"
        join = " and d"
    rows, columns = torch.triu_indices(len(nodes), len(nodes), offset=1)
    edges = taxonomy.distance(nodes[rows], nodes[columns])
    if len(edges.unique()) > 1:
        correlation = _spearman(edges.double(), _distances(found.nodes[nodes], found.space))
        shown = _CORRELATION.number(correlation)
        text += f"{join}istances between classes correlate with those in the tree to {shown}."
    return text


def _sheet(lengths: Mapping[str, Tensor], cap: float) -> Sheet:
    def row(name: str, x: Tensor) -> tuple[object, ...]:
        at_cap = float((x >= 0.995 * cap).float().mean()) if math.isfinite(cap) else None
        return name, len(x), float(x.mean()), float(x.min()), float(x.max()), at_cap

    figures = (Column(header, "", 2) for header in ("mean", "least", "most"))
    table = Table.of(
        "Geodesic distance from the origin, and the share of points in % at the cap, beyond which features are clipped",
        ("points", Column("drawn", "count"), *figures, Column("% at cap", "%", 0)),
        [row(*each) for each in reversed(list(lengths.items()))],
        "Where many lie there, the space no longer tells near from far.",
    )
    return Sheet("radii", table, narrow=True)


@dataclass(frozen=True)
class Plane:
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
    """One kind of point: where (normal coordinates ``[n, 2]``), of which branch of the tree (``[n]``, −1 for none),
    what each says when it is pointed at, and what is written beside each; no names for nothing."""

    kind: str
    places: Tensor
    branch: Tensor
    texts: Sequence[str]
    names: Sequence[str] = ()


def _disk(kinds: Sequence[Points], branches: Sequence[str], space: Space) -> Drawing:
    """Images small and pale, classes larger the higher they stand in the tree, attributes as stars.

    The coarsest classes have the colours; those past the sixth share grey.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Circle

    figure, axes = style.new_axes(style.FULL, style.FULL * 0.93)
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
    texts, handles, written = {}, [], list[tuple[float, float, str]]()
    for rank, points in enumerate(kinds):
        where, star, image = on_disk(points.places, space), points.kind == "attributes", points.kind == "images"
        marker = "*" if star else "o" if image else style.MARKERS[rank % len(style.MARKERS)]
        axes.scatter(
            *(where[:, 0].tolist(), where[:, 1].tolist()),
            s=9 if image else 62 if star else 14 + 16 * rank,
            c=[INK if star else hues[min(branch, len(_HUES))] for branch in points.branch.tolist()],
            marker=marker,
            alpha=0.4 if image else 0.95,
            linewidths=0 if image else 0.7,
            edgecolors="none" if image else style.PAPER,
            zorder=2 + rank,
            gid=f"kind{rank}",
        )
        texts[f"kind{rank}"] = list(points.texts)
        key = {"marker": marker, "color": INK if star else MUTED, "markersize": 3 if image else 7}
        handles.append(Line2D([], [], linestyle="", label=points.kind, **key))  # type: ignore[arg-type]
        written += [(y, x, name) for name, (x, y) in zip(points.names, where.tolist(), strict=False)]
    placed: list[tuple[float, float]] = []
    gap = 0.05 * edge
    for y, x, name in sorted(written):  # moved up until each stands free of those below it
        for other_y, other_x in placed:
            if abs(x - other_x) < 8 * gap and y < other_y + gap:
                y = other_y + gap
        placed.append((y, x))
        axes.text(x + 0.025 * edge, y, name, fontsize=SMALL, color=INK, zorder=20, va="center")
    named = list(zip(_HUES, branches, strict=False))
    named += [(MUTED, "other branches")] if len(branches) > len(_HUES) else []
    handles += [Line2D([], [], marker="o", linestyle="", color=hue, label=name, markersize=6) for hue, name in named]
    axes.set_xlim(-edge, edge)
    axes.set_ylim(-edge, edge)
    axes.set_aspect("equal")
    axes.set_axis_off()
    style.legend_below(figure, 6, handles=handles, columnspacing=1.2)
    return figure, texts


def _radii(kinds: Mapping[str, Tensor], cap: float) -> Drawing:
    """Radius of every point, a row a kind; the bar is the median, the dashed line the largest a feature can have."""
    figure, axes = style.new_axes(style.COLUMN, 0.9 + 0.36 * len(kinds))
    generator = torch.Generator().manual_seed(0)
    for row, values in enumerate(kinds.values()):
        jitter = (torch.rand(len(values), generator=generator) - 0.5) * 0.55
        colour = style.PALETTE[row % len(style.PALETTE)]
        axes.scatter(values.tolist(), (row + jitter).tolist(), s=5, color=colour, alpha=0.5, linewidths=0, zorder=2)
        axes.plot([float(values.median())] * 2, [row - 0.36, row + 0.36], color=INK, linewidth=1.6, zorder=3)
    if math.isfinite(cap):
        axes.axvline(cap, color=MUTED, dashes=style.DASHES, linewidth=1)
        axes.text(cap, -0.62, "cap ", fontsize=SMALL - 1, color=MUTED, ha="right", va="bottom")
    axes.set_ylim(len(kinds) - 0.4, -0.7)
    axes.set_xlim(left=0)
    axes.set_yticks(range(len(kinds)), list(kinds))
    style.furnish(axes, x="geodesic distance from the origin", grid="x")
    axes.tick_params(axis="y", length=0)
    return figure, {}
