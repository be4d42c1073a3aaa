"""The latent space of a run: classes, attributes and images on a disk, and how far out they lie."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from hierfit.errors import UserError
from hierfit.geometry.embeddings import Embeddings
from hierfit.report.blocks import Block, Picture, Sheet
from hierfit.report.disk import Points, disk, distances, radii, spearman, to_plane
from hierfit.report.evidence import Evidence, Run
from hierfit.results.table import Column, Table

_NODES_SHOWN, _IMAGES_SHOWN = 400, 600
_NAMES = 24  # classes that have room for their names
_CORRELATION = Column("", "", 2, signed=True)
_SPACES = {
    "poincare": "Poincaré disk",
    "lorentz": "hyperboloid, projected onto the Poincaré disk",
    "euclidean": "flat space (the control without curvature)",
}


def section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs of methods with a latent space."""
    run = evidence.focus
    found = run.embeddings
    if found is None:
        raise UserError(f"{run.card.row} left no embeddings; LatHAdapter with its hierarchy does.")
    taxonomy = run.reading.taxonomy
    if len(found.nodes) != taxonomy.num_nodes:
        raise UserError(f"the embeddings of {run.card.row} are of another tree.")
    kinds = _kinds(found, run)
    plane = to_plane({name: points for name, (points, _) in kinds.items()}, found.space)
    lengths = {name: points.norm(dim=1) for name, (points, _) in kinds.items()}
    shown = [_points(name, plane.places[name], lengths[name], nodes, run) for name, (_, nodes) in kinds.items()]
    summary = "; ".join(f"{name} {float(x.mean()):.2f}" for name, x in lengths.items())
    cap = found.space.max_radius
    blocks = (
        Picture(
            "latent_space",
            f"Seed {run.card.seed}, {_SPACES[found.space.geometry]}. The distance from the centre is exact (circles: "
            f"geodesic distance{_edge(found, lengths)}); the angle is that of the two leading principal directions of "
            f"{found.nodes.shape[1]}, which hold {plane.share:.0%} of the squared length. Distances between drawn "
            f"points agree with the true ones to a rank correlation of {plane.agreement:.2f}: read neighbourhoods "
            "with care.",
            f"Classes, attributes and images in the latent space. Mean distance from the origin: {summary}.",
            partial(disk, shown, taxonomy.names[: taxonomy.level_sizes[0]], found.space),
            wide=True,
            finder=True,
        ),
        Picture(
            "radii",
            "Distance of every point from the origin; the bar is the median.",
            f"Radii by kind of point. Mean: {summary}.",
            partial(radii, lengths, cap),
        ),
        _sheet(lengths, cap),
    )
    return _lead(found, run, lengths), blocks


def _edge(found: Embeddings, lengths: Mapping[str, Tensor]) -> str:
    """How much of a disk the points fill, for its edge may lie out of the picture."""
    if found.space.geometry == "euclidean":
        return ""
    farthest = max(float(x.max()) for x in lengths.values())
    filled = math.tanh(math.sqrt(found.space.curvature) * farthest / 2)
    return f"; the points fill {filled:.0%} of the disk's radius, its edge is infinitely far"


def _thinned(count: int, most: int) -> slice:
    return slice(None, None, max(1, math.ceil(count / most)))


def _kinds(found: Embeddings, run: Run) -> dict[str, tuple[Tensor, Tensor]]:
    """Points by kind, from the first drawn to the last, with what each is: a node of the tree, −1 for an attribute."""
    taxonomy = run.reading.taxonomy
    row = {index: i for i, index in enumerate(run.reading.indices)}
    some = _thinned(len(found.indices), _IMAGES_SHOWN)
    of_images = torch.tensor([row.get(index, -1) for index in found.indices[some].tolist()])
    labels = torch.where(of_images >= 0, run.reading.target.amax(1)[of_images.clamp_min(0)], -1)
    kinds = {"images": (found.images[some], labels)}
    for depth in reversed(range(taxonomy.num_levels)):
        nodes = torch.arange(taxonomy.num_nodes)[taxonomy.level_slices[depth]]
        nodes = nodes[_thinned(len(nodes), _NODES_SHOWN)]
        kinds[taxonomy.levels[depth]] = found.nodes[nodes], nodes
    if found.attributes is not None:
        kinds["attributes"] = found.attributes, torch.full((len(found.attributes),), -1)
    return kinds


def _points(name: str, places: Tensor, lengths: Tensor, nodes: Tensor, run: Run) -> Points:
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


def _lead(found: Embeddings, run: Run, lengths: Mapping[str, Tensor]) -> str:
    order = sorted(lengths, key=lambda name: float(lengths[name].mean()))
    text = f"From the centre outward, by mean distance: {', '.join(order)}."
    taxonomy = run.reading.taxonomy
    nodes = torch.arange(taxonomy.num_nodes)[_thinned(taxonomy.num_nodes, _NODES_SHOWN)]
    join = " D"
    if taxonomy.num_levels > 1:
        depth, radius = taxonomy.level[nodes].double(), found.nodes[nodes].norm(dim=1)
        correlation = _CORRELATION.number(spearman(depth, radius))
        text += f" Depth in the tree and distance correlate to {correlation} (Spearman),"
        join = " and d"
    rows, columns = torch.triu_indices(len(nodes), len(nodes), offset=1)
    edges = taxonomy.distance(nodes[rows], nodes[columns])
    if len(edges.unique()) > 1:
        correlation = _CORRELATION.number(spearman(edges.double(), distances(found.nodes[nodes], found.space)))
        text += f"{join}istances between classes correlate with those in the tree to {correlation}."
    return text


def _sheet(lengths: Mapping[str, Tensor], cap: float) -> Sheet:
    def row(name: str, x: Tensor) -> tuple[object, ...]:
        at_cap = float((x >= 0.995 * cap).float().mean()) if math.isfinite(cap) else None
        return name, len(x), float(x.mean()), float(x.min()), float(x.max()), at_cap

    table = Table.of(
        "Geodesic distance from the origin, and the share of points in % at the cap, beyond which features are clipped",
        (
            *("points", Column("drawn", "count")),
            *(Column(header, "", 2) for header in ("mean", "least", "most")),
            Column("% at cap", "%", 0),
        ),
        [row(*each) for each in reversed(list(lengths.items()))],
        "Where many lie there, the space no longer tells near from far.",
    )
    return Sheet("radii", table, narrow=True)
