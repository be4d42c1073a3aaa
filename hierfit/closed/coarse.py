"""Labels of which some end at an inner node: shared out among the classes below it, by expectation-maximisation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from hierfit.closed.statistics import Statistics, second_moment
from hierfit.closed.temperature import leave_one_out_temperature
from hierfit.closed.tree_gda import GaussianClasses
from hierfit.taxonomy import Taxonomy

ROUNDS = 8
SHARPNESS = 0.2
"""What logits are multiplied by before the softmax where no class has two images to tell; see `fit_coarse`."""


def fit_coarse(
    features: Tensor,
    nodes: Tensor,
    taxonomy: Taxonomy,
    fit: Callable[[Statistics], GaussianClasses],
    rounds: int = ROUNDS,
) -> tuple[GaussianClasses, Statistics]:
    """Fits to images that are labelled by leaves and by inner nodes.

    The first fit is to leaf-labelled images alone. Each round then shares every other image out among the leaves below
    its node, by a softmax over its logits, and fits to all. Taken at their word logits are far too sure, and a first
    guess would stay: they are taken at the temperature that leaf-labelled images left out tell of the fit at hand.

    Args:
        features: ``[n, d]``.
        nodes: Finest known node of each ``[n]``; −1, of which nothing is known, is left out.
        taxonomy: The tree.
        fit: From statistics over the leaves to means of all nodes.
        rounds: Of sharing out.

    Returns:
        The last fit, and the statistics it was fitted to.
    """
    known = nodes >= 0
    features, nodes = features[known], nodes[known]
    leaf = taxonomy.leaf_index[nodes]
    exact, classes = leaf >= 0, taxonomy.num_leaves
    statistics = Statistics.of(features[exact], leaf[exact], classes)
    if exact.all():
        return fit(statistics), statistics
    families = _families(features[~exact], nodes[~exact], taxonomy)
    both = Statistics(statistics.counts, statistics.sums, statistics.second + second_moment(features[~exact]))
    if exact.any():
        found = fit(statistics)
    else:  # no leaf is known of any image: all classes of a family are alike
        statistics = _shared_out(both, families, lambda rows, leaves: rows.new_ones(len(rows), len(leaves)))
        found = fit(statistics)
    for _ in range(rounds):
        temperature = leave_one_out_temperature(found, statistics, features[exact], leaf[exact], taxonomy)
        guess = partial(_guess, found, found.nodes[taxonomy.leaves], 1 / temperature if temperature else SHARPNESS)
        statistics = _shared_out(both, families, guess)
        found = fit(statistics)
    return found, statistics


def _guess(found: GaussianClasses, means: Tensor, sharpness: float, rows: Tensor, leaves: Tensor) -> Tensor:
    """Shares ``[m, c]`` of images in some leaves."""
    logits = found.whiten(rows) @ means[leaves].T - means[leaves].square().sum(dim=1) / 2
    return (sharpness * logits).softmax(dim=1)


def _families(features: Tensor, nodes: Tensor, taxonomy: Taxonomy) -> list[tuple[Tensor, Tensor]]:
    """Features of the images of each inner node ``[m, d]`` in float64, and the positions of the leaves below it."""
    found = []
    for node in nodes.unique().tolist():
        leaves = (taxonomy.leaf_paths[:, taxonomy.level[node]] == node).nonzero()[:, 0]
        found.append((features[nodes == node].double(), leaves))
    return found


def _shared_out(
    base: Statistics, families: list[tuple[Tensor, Tensor]], share: Callable[[Tensor, Tensor], Tensor]
) -> Statistics:
    """``base``, whose second moment counts all images, with counts and sums of those of families added."""
    counts, sums = base.counts.clone(), base.sums.clone()
    for rows, leaves in families:
        shares = share(rows, leaves)
        shares = shares / shares.sum(dim=1, keepdim=True)
        counts[leaves] += shares.sum(dim=0)
        sums[leaves] += shares.T @ rows
    return Statistics(counts, sums, base.second)
