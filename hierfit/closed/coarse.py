"""How sure a closed form may be, without a validation image: each training image judged by a mean it had no part in.
And, by that, labels that end at an inner node: shared out among the classes below it, by expectation-maximisation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hierfit.closed.statistics import Statistics, second_moment
from hierfit.closed.tree_gda import GaussianClasses
from hierfit.decoding.calibration import fit_temperature
from hierfit.taxonomy import Taxonomy

TOO_SURE = 20.0
"""Times s² is about what real features want where there are some images a class; at one shot, twice that."""
ROUNDS = 8
SHARPNESS = 0.2
"""What logits are multiplied by before the softmax where no class has two images to tell; see `fit_coarse`."""
_MOST_LOGITS = 4_000_000  # that a temperature is fitted to


def leave_one_out(
    model: GaussianClasses, statistics: Statistics, features: Tensor, labels: Tensor, taxonomy: Taxonomy
) -> tuple[Tensor, Tensor]:
    """Logits of training images over the leaves, their own class's mean taken without them. O(n·d·C).

    Of its own class an image leaves the mean that all others make: what the prior and its relatives say of it is the
    posterior less its own images. And it leaves the covariance within classes, which has learnt it by heart where
    images are few: there T would come out at half of what it should be. By Sherman and Morrison that is one more
    direction in which distances count. Ridge, noise, variances and the other classes' means stay as they are.

    Args:
        model, statistics: Of all images.
        features, labels: Of images that belong to a leaf ``[n, d]``, and its position ``[n]``.
        taxonomy: The tree.

    Returns:
        Logits ``[m, C]`` and labels ``[m]`` of those whose class has more than one image.
    """
    rows = (statistics.counts[labels] > 1.5).nonzero()[:, 0]
    most = max(1, _MOST_LOGITS // taxonomy.num_leaves)
    rows = rows[:: max(1, -(-len(rows) // most))]
    labels = labels[rows]
    z, means = model.whiten(features[rows]), model.nodes[taxonomy.leaves]
    count = statistics.counts[labels, None]
    observed = statistics.means[labels] @ model.whitener - model.center
    without = (count * observed - z) / (count - 1)
    if model.variance is not None:
        sure = 1 / model.variance[taxonomy.leaves[labels], None].clamp_min(1e-12)
        own, left = count / model.noise, (count - 1) / model.noise
        told = sure * means[labels] - own * observed  # by prior and relatives: precision times mean
        without = (told + left * without) / (sure - own + left)
    away = z - observed
    # Without the image the covariance is I − g·u uᵀ in the whitened space, and its inverse I + h·u uᵀ.
    grows = model.within_share / max(statistics.dof, 1) * count / (count - 1)
    extra = grows / (1 - grows * away.square().sum(dim=1, keepdim=True)).clamp_min(1e-3)
    along = (away * z).sum(dim=1, keepdim=True)

    def score(products: Tensor, squares: Tensor, sideways: Tensor) -> Tensor:
        return products - squares / 2 - extra * (along - sideways).square() / 2

    logits = score(z @ means.T, means.square().sum(dim=1), away @ means.T)
    mine = score(*((a * without).sum(dim=1, keepdim=True) for a in (z, without, away)))
    return logits.scatter(1, labels[:, None], mine), labels


def leave_one_out_temperature(
    model: GaussianClasses, statistics: Statistics, features: Tensor, labels: Tensor, taxonomy: Taxonomy
) -> float | None:
    """T such that logits/T are calibrated on `leave_one_out`; None where every class has one image only."""
    logits, labels = leave_one_out(model, statistics, features, labels, taxonomy)
    if not len(labels):
        return None
    right = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, labels[:, None], True)
    start = TOO_SURE * model.noise  # near where it will come out: the fit looks around 1
    return start * fit_temperature((logits / start).float(), right)


def fit_coarse(
    features: Tensor, nodes: Tensor, taxonomy: Taxonomy, fit: Callable[[Statistics], GaussianClasses]
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

    Returns:
        The last fit, and the statistics it was fitted to.
    """
    known = nodes >= 0
    features, nodes = features[known], nodes[known]
    leaf = taxonomy.leaf_index[nodes]
    exact = leaf >= 0
    statistics = Statistics.of(features[exact], leaf[exact], taxonomy.num_leaves)
    if exact.all():
        return fit(statistics), statistics
    families = []  # of each inner node, the features of its images [m, d] and the positions of the leaves below it
    for node in nodes[~exact].unique().tolist():
        leaves = (taxonomy.leaf_paths[:, taxonomy.level[node]] == node).nonzero()[:, 0]
        families.append((features[nodes == node].double(), leaves))
    both = Statistics(statistics.counts, statistics.sums, statistics.second + second_moment(features[~exact]))

    def shared_out(found: GaussianClasses | None, sharpness: float) -> Statistics:
        """By a softmax over their logits; without a fit, alike."""
        counts, sums = both.counts.clone(), both.sums.clone()
        for rows, leaves in families:
            shares = rows.new_ones(len(rows), len(leaves))
            if found is not None:
                means = found.nodes[taxonomy.leaves[leaves]]
                logits = found.whiten(rows) @ means.T - means.square().sum(dim=1) / 2
                shares = (sharpness * logits).softmax(dim=1)
            shares = shares / shares.sum(dim=1, keepdim=True)
            counts[leaves] += shares.sum(dim=0)
            sums[leaves] += shares.T @ rows
        return Statistics(counts, sums, both.second)

    if not exact.any():  # no leaf is known of any image: all classes of a family are alike
        statistics = shared_out(None, SHARPNESS)
    found = fit(statistics)
    for _ in range(ROUNDS):
        temperature = leave_one_out_temperature(found, statistics, features[exact], leaf[exact], taxonomy)
        statistics = shared_out(found, 1 / temperature if temperature else SHARPNESS)
        found = fit(statistics)
    return found, statistics
