"""A space of many dimensions on a disk: what can be kept is kept, and what is lost is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hierfit.geometry.space import Space

_COMPARED = 600  # points whose distances are compared: 180 000 pairs


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
    places = {name: _turned(x.double(), directions).float() for name, x in kinds.items()}
    share = float(values[-2:].sum() / values.sum().clamp_min(1e-30))
    return Plane(places, share, _agreement(kinds, places, space))


def on_disk(places: Tensor, space: Space) -> Tensor:
    """Normal coordinates ``[n, 2]`` to points of the unit Poincaré disk; in flat space to where they are."""
    if space.geometry == "euclidean":
        return places
    radius = places.norm(dim=1, keepdim=True)
    return places * (torch.tanh(space.curvature**0.5 * radius / 2) / radius.clamp_min(1e-12))


def spearman(a: Tensor, b: Tensor) -> float:
    """Rank correlation of two vectors ``[n]``, ties sharing their mean rank; NaN where one does not vary."""
    ranks = [_ranks(x) for x in (a, b)]
    x, y = (rank - rank.mean() for rank in ranks)
    return float((x @ y) / (x.norm() * y.norm()))


def _ranks(x: Tensor) -> Tensor:
    _, place, count = x.unique(return_inverse=True, return_counts=True)
    last = count.cumsum(0).double()
    return (last - (count - 1) / 2)[place]


def _turned(x: Tensor, directions: Tensor) -> Tensor:
    shadow = x @ directions
    return shadow * (x.norm(dim=1, keepdim=True) / shadow.norm(dim=1, keepdim=True).clamp_min(1e-12))


def _agreement(kinds: Mapping[str, Tensor], places: Mapping[str, Tensor], space: Space) -> float:
    before, after = torch.cat(list(kinds.values())), torch.cat(list(places.values()))
    rows = torch.arange(0, len(before), max(1, -(-len(before) // _COMPARED)))
    pairs = torch.triu_indices(len(rows), len(rows), offset=1)
    distances = []
    for x in (before[rows], after[rows]):
        points = space.from_normal(x)
        distances.append(space.pairwise_distance(points, points)[pairs[0], pairs[1]])
    return spearman(distances[0], distances[1])
