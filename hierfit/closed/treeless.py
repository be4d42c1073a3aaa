"""What a tree has to beat: the same closed forms without one, or with another."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hierfit.closed.statistics import Statistics
from hierfit.closed.tree_gda import NOISE_SHARE, CovarianceKind, GaussianClasses, Labelled, averages, fit_tree
from hierfit.taxonomy import Taxonomy


def without_tree(num_classes: int) -> Taxonomy:
    """C classes, each a root of its own."""
    return Taxonomy(tuple(map(str, range(num_classes))), ("class",), torch.full((num_classes,), -1))


def fit_treeless(
    statistics: Statistics,
    taxonomy: Taxonomy,
    *,
    kind: CovarianceKind = "within",
    shrink: bool = False,
    noise_share: float = NOISE_SHARE,
    val: Labelled | None = None,
) -> GaussianClasses:
    """The rows that know of no tree.

    ``identity`` without shrinking: nearest mean. ``total``: GDA with the covariance of all images. ``within``: flat GDA
    (at one shot there is nothing within, and it is nearest mean). Shrunk: one common prior for all classes.

    The tree given serves for its inner nodes alone, each of which gets the average of its classes' means.
    """
    flat = without_tree(taxonomy.num_leaves)
    found = fit_tree(statistics, flat, kind=kind, shrink=shrink, noise_share=noise_share, val=val)
    return _over_nodes(found, found.nodes, taxonomy, statistics.seen)


def fit_shuffled(
    statistics: Statistics,
    taxonomy: Taxonomy,
    places: Tensor,
    *,
    kind: CovarianceKind = "within",
    noise_share: float = NOISE_SHARE,
    val: Labelled | None = None,
) -> GaussianClasses:
    """The tree as it is, with class k tied to the relatives of leaf ``places[k]``; labels and scoring stay true."""
    moved = statistics.at(places, taxonomy.num_leaves)
    val = None if val is None else Labelled(val.features, places[val.labels])
    found = fit_tree(moved, taxonomy, kind=kind, noise_share=noise_share, val=val)
    return _over_nodes(found, found.nodes[taxonomy.leaves[places]], taxonomy, statistics.seen)


def shuffled_places(taxonomy: Taxonomy, seed: int) -> Tensor:
    """A leaf for each leaf to stand at ``[C]``, at random among leaves of equal depth."""
    generator = torch.Generator().manual_seed(seed)
    places, start = torch.arange(taxonomy.num_leaves), 0
    for count in taxonomy.leaf_counts:  # leaves of one depth follow each other
        places[start : start + count] = start + torch.randperm(count, generator=generator)
        start += count
    return places.to(taxonomy.leaves.device)


def _over_nodes(found: GaussianClasses, leaves: Tensor, taxonomy: Taxonomy, seen: Tensor) -> GaussianClasses:
    nodes = averages(leaves, seen, taxonomy)
    nodes[taxonomy.leaves] = leaves
    return replace(found, nodes=nodes, variance=None)
