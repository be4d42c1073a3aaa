"""What a tree has to beat: the same closed forms without one, or with another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from hierfit.closed.statistics import Statistics
from hierfit.closed.tree_gda import GaussianClasses, averages
from hierfit.taxonomy import Taxonomy


def without_tree(num_classes: int) -> Taxonomy:
    """C classes, each a root of its own."""
    return Taxonomy(tuple(map(str, range(num_classes))), ("class",), torch.full((num_classes,), -1))


def fit_elsewhere(
    statistics: Statistics,
    taxonomy: Taxonomy,
    other: Taxonomy,
    places: Tensor,
    fit: Callable[[Statistics, Taxonomy], GaussianClasses],
) -> GaussianClasses:
    """A fit on another tree, read on this one: labels and scoring stay true, only who is whose relative changes.

    Args:
        statistics: Of the training images, class k at the k-th leaf of ``taxonomy``.
        taxonomy: The true tree. Each of its inner nodes gets the average of its classes' means.
        other: The tree that ties the means.
        places: Leaf of ``other`` that each class stands at ``[C]``.
        fit: Of statistics whose classes stand there.
    """
    found = fit(statistics.at(places, other.num_leaves), other)
    rows = other.leaves[places]
    nodes = averages(found.nodes[rows], statistics.seen, taxonomy).index_copy_(0, taxonomy.leaves, found.nodes[rows])
    variance = found.variance
    if variance is not None:  # that of inner nodes is not known, and not asked for
        variance = variance.new_zeros(len(nodes)).index_copy_(0, taxonomy.leaves, variance[rows])
    return replace(found, nodes=nodes, variance=variance)
