"""What learned attributes respond to, and whether they agree with attributes that are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from hierfit.geometry.embeddings import Embeddings


def distances(embeddings: Embeddings) -> tuple[Tensor, Tensor]:
    """Geodesic distances of images ``[k, M]`` and of nodes ``[N, M]`` to each attribute."""
    assert embeddings.attributes is not None
    space = embeddings.space
    attributes = space.from_normal(embeddings.attributes)
    images, nodes = space.from_normal(embeddings.images), space.from_normal(embeddings.nodes)
    return space.pairwise_distance(images, attributes), space.pairwise_distance(nodes, attributes)


def to_landmarks(embeddings: Embeddings, draws: int = 5, seed: int = 0) -> list[Tensor]:
    """Distances of images ``[k, M']`` to as many images drawn at random as there are attributes: what any points do."""
    assert embeddings.attributes is not None
    images = embeddings.space.from_normal(embeddings.images)
    generator = torch.Generator().manual_seed(seed)
    chosen = [torch.randperm(len(images), generator=generator)[: len(embeddings.attributes)] for _ in range(draws)]
    return [embeddings.space.pairwise_distance(images, images[rows]) for rows in chosen]


def mutual_information(a: Tensor, b: Tensor) -> float:
    """Normalised mutual information of two labellings ``[n]``: I(a; b) over the mean of their entropies, 0–1.

    0 where both hold a single label. Source: Strehl & Ghosh, JMLR 2002 (there the geometric mean).
    """
    width = int(b.max()) + 1
    joint = (a * width + b).bincount(minlength=(int(a.max()) + 1) * width).view(-1, width).double() / len(a)
    entropies = [_entropy(joint.sum(axis)) for axis in (0, 1)]
    information = sum(entropies) - _entropy(joint.flatten())
    return max(0.0, 2 * information / sum(entropies)) if sum(entropies) > 0 else 0.0


def best_precision(order: Tensor, labels: Tensor) -> float:
    """Mean over label values of the best attribute's average precision (AP) in finding the images of that value.

    Args:
        order: Images from nearest to farthest, for each attribute ``[k, M]``.
        labels: Value of each image ``[k]``.
    """
    rank = torch.arange(1, len(order) + 1, dtype=torch.float64)[:, None]
    best = []
    for value in labels.unique():
        hit = labels[order] == value
        precision = (hit.cumsum(0) / rank * hit).sum(0) / hit.sum(0)
        best.append(precision.max())
    return float(torch.stack(best).mean())


@dataclass(frozen=True)
class Agreement:
    """How far learned attributes tell a known one, against the same with the classes' values shuffled.

    Attributes:
        name: Of the known attribute.
        values: How many it has.
        information: NMI of the nearest learned attribute with it.
        information_shuffled: Mean of the shuffles.
        information_p: Share of shuffles that reach it (the observed one counted among them).
        information_landmarks: Mean of random landmarks in the place of the learned attributes.
        precision: Mean best AP of its values.
        precision_shuffled: Mean of the shuffles.
        precision_p: As above.
        precision_landmarks: As above.
    """

    name: str
    values: int
    information: float
    information_shuffled: float
    information_p: float
    information_landmarks: float
    precision: float
    precision_shuffled: float
    precision_p: float
    precision_landmarks: float


def agreement(
    to_attributes: Tensor,
    leaf: Tensor,
    known: Mapping[str, Tensor],
    landmarks: Sequence[Tensor],
    shuffles: int = 99,
    seed: int = 0,
) -> list[Agreement]:
    """Holds learned attributes against known ones. Cost: shuffles · values · k·M.

    A shuffle deals the known values out to other leaves, whole leaves at a time: images of one leaf lie together
    anyway, so shuffling single images would call everything significant.

    Args:
        to_attributes: Distance of each image to each learned attribute ``[k, M]``.
        leaf: Leaf index of each image ``[k]``.
        known: For each known attribute its value at each leaf ``[C]``, as numbers from 0.
        landmarks: Distances to random landmarks ``[k, M']``, a draw each; see `to_landmarks`.
        shuffles: Random deals.
        seed: Of the deals.
    """
    nearest, order = to_attributes.argmin(1), to_attributes.argsort(0)
    generator = torch.Generator().manual_seed(seed)
    count = len(next(iter(known.values())))
    deals = [torch.arange(count), *(torch.randperm(count, generator=generator) for _ in range(shuffles))]
    found = []
    for name, values in known.items():
        labels = [values[deal][leaf] for deal in deals]
        figures: list[float] = []
        for measure, learned, drawn in (
            (mutual_information, nearest, [x.argmin(1) for x in landmarks]),
            (best_precision, order, [x.argsort(0) for x in landmarks]),
        ):
            x = torch.tensor([measure(learned, each) for each in labels])
            by_landmarks = fmean(measure(each, labels[0]) for each in drawn)
            figures += [float(x[0]), float(x[1:].mean()), _p(x), by_landmarks]
        found.append(Agreement(name, int(values.unique().numel()), *figures))
    return found


def _p(figures: Tensor) -> float:
    return float((figures >= figures[0] - 1e-9).double().mean())


def _entropy(p: Tensor) -> float:
    p = p[p > 0]
    return float(-(p * p.log()).sum())
