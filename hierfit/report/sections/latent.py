"""The latent space of a run: classes, attributes and images on a disk, and how far out they lie."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from hierfit.geometry.embeddings import Embeddings
from hierfit.report.analysis.disk import spearman, to_plane
from hierfit.report.blocks import Omitted, Picture, Section, Table
from hierfit.report.drawing.disk import Points, disk, radii
from hierfit.report.evidence import Evidence, Run
from hierfit.report.sections.summary import signed

TITLE = "The latent space"

_NODES_SHOWN, _IMAGES_SHOWN = 400, 600
_NAMES = 24  # classes that have room for their names
_SPACES = {
    "poincare": "Poincaré disk",
    "lorentz": "hyperboloid, projected onto the Poincaré disk",
    "euclidean": "flat space (the control without curvature)",
}


def section(evidence: Evidence) -> Section | Omitted:
    """Of runs of methods with a latent space."""
    run = evidence.focus
    found = run.embeddings
    if found is None:
        return Omitted(TITLE, f"{run.card.row} left no embeddings; LatHAdapter with its hierarchy does.")
    if len(found.nodes) != run.reading.taxonomy.num_nodes:
        return Omitted(TITLE, f"the embeddings of {run.card.row} are of another tree.")
    kinds = _kinds(found, run)
    plane = to_plane({name: points for name, (points, _) in kinds.items()}, found.space)
    lengths = {name: points.norm(dim=1) for name, (points, _) in kinds.items()}
    shown = [_points(name, plane.places[name], lengths[name], nodes, run) for name, (_, nodes) in kinds.items()]
    taxonomy = run.reading.taxonomy
    roots = [taxonomy.names[v] for v in range(taxonomy.level_sizes[0])]
    caption = (
        f"Seed {run.card.seed}, {_SPACES[found.space.geometry]}. The distance from the centre is exact (circles: "
        f"geodesic distance{_edge(found, lengths)}); the angle is that of the two leading principal directions of "
        f"{found.nodes.shape[1]}, which hold {plane.share:.0%} of the squared length. Distances between drawn points "
        f"agree with the true ones to a rank correlation of {plane.agreement:.2f}: read neighbourhoods with care."
    )
    spoken = "; ".join(f"{name} {float(x.mean()):.2f}" for name, x in lengths.items())
    pictures = (
        Picture(
            "latent_space",
            caption,
            f"Classes, attributes and images in the latent space. Mean distance from the origin: {spoken}.",
            partial(disk, shown, roots, found.space),
            wide=True,
            finder=True,
        ),
        Picture(
            "radii",
            "Distance of every point from the origin; the bar is the median.",
            f"Radii by kind of point. Mean: {spoken}.",
            partial(radii, lengths, found.space.max_radius),
        ),
        _table(lengths, found.space.max_radius),
    )
    return Section("latent-space", TITLE, _lead(found, run, lengths), pictures)


def _edge(found: Embeddings, lengths: dict[str, Tensor]) -> str:
    """How much of a disk the points fill, for its edge may lie out of the picture."""
    if found.space.geometry == "euclidean":
        return ""
    farthest = max(float(x.max()) for x in lengths.values())
    filled = math.tanh(math.sqrt(found.space.curvature) * farthest / 2)
    return f"; the points fill {filled:.0%} of the disk's radius, its edge is infinitely far"


def _kinds(found: Embeddings, run: Run) -> dict[str, tuple[Tensor, Tensor]]:
    """Points by kind, from the first drawn to the last, with what each is: a node of the tree, −1 for an attribute."""
    taxonomy = run.reading.taxonomy
    row = {index: i for i, index in enumerate(run.indices)}
    every = max(1, math.ceil(len(found.indices) / _IMAGES_SHOWN))
    of_images = torch.tensor([row.get(index, -1) for index in found.indices.tolist()[::every]])
    labels = torch.where(of_images >= 0, run.reading.target.amax(1)[of_images.clamp_min(0)], -1)
    kinds = {"images": (found.images[::every], labels)}
    for depth in reversed(range(taxonomy.num_levels)):
        nodes = torch.arange(taxonomy.level_slices[depth].start, taxonomy.level_slices[depth].stop)
        nodes = nodes[:: max(1, math.ceil(len(nodes) / _NODES_SHOWN))]
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
    texts = [
        f"{words}{each}: {name if not words else name.rstrip('s')} at {r:.2f}"
        for each, r in zip(called, lengths.tolist(), strict=True)
    ]
    written = called if name == taxonomy.levels[0] and len(called) <= _NAMES else ()
    return Points(name, places, branch, texts, written)


def _lead(found: Embeddings, run: Run, lengths: dict[str, Tensor]) -> str:
    order = sorted(lengths, key=lambda name: float(lengths[name].mean()))
    said = f"From the centre outward, by mean distance: {', '.join(order)}."
    taxonomy = run.reading.taxonomy
    nodes = torch.arange(taxonomy.num_nodes)[:: max(1, math.ceil(taxonomy.num_nodes / _NODES_SHOWN))]
    depth = taxonomy.level[nodes]
    if taxonomy.num_levels > 1:
        radius = found.nodes[nodes].norm(dim=1)
        said += f" Depth in the tree and distance correlate to {signed(spearman(depth.double(), radius))} (Spearman),"
    points = found.space.from_normal(found.nodes[nodes])
    pairs = torch.triu_indices(len(nodes), len(nodes), offset=1)
    apart = found.space.pairwise_distance(points, points)[pairs[0], pairs[1]]
    edges = taxonomy.distance(nodes[pairs[0]], nodes[pairs[1]])
    if len(edges.unique()) > 1:
        join = " and d" if taxonomy.num_levels > 1 else " D"
        said += (
            f"{join}istances between classes correlate with those in the tree to "
            f"{signed(spearman(edges.double(), apart))}."
        )
    return said


def _table(lengths: dict[str, Tensor], cap: float) -> Table:
    rows = []
    for name, x in reversed(lengths.items()):
        at_cap = f"{100 * float((x >= 0.995 * cap).float().mean()):.0f}" if math.isfinite(cap) else "–"
        rows.append(
            (name, str(len(x)), f"{float(x.mean()):.2f}", f"{float(x.min()):.2f}", f"{float(x.max()):.2f}", at_cap)
        )
    return Table(
        "radii",
        "Geodesic distance from the origin, and the share of points in % at the cap, beyond which features are "
        "clipped. Where many lie there, the space no longer tells near from far.",
        ("points", "drawn", "mean", "least", "most", "% at cap"),
        tuple(rows),
        narrow=True,
    )
