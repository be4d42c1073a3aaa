"""How sure a closed form may be, without a validation image: each training image judged by a mean it had no part in."""

from __future__ import annotations

import torch
from torch import Tensor

from hierfit.closed.statistics import Statistics
from hierfit.closed.tree_gda import GaussianClasses
from hierfit.decoding.calibration import fit_temperature
from hierfit.taxonomy import Taxonomy

TOO_SURE = 20.0
"""Times s² is about what real features want where there are some images a class; at one shot, twice that."""

_MOST = 4_000_000
"""Logits that are looked at, at most."""


def leave_one_out(
    model: GaussianClasses, statistics: Statistics, features: Tensor, labels: Tensor, taxonomy: Taxonomy
) -> tuple[Tensor, Tensor]:
    """Logits of training images over the leaves, their own class's mean taken without them. O(n·d·C).

    Of its own class an image leaves the mean that all others make: what the prior and its relatives say of it is the
    posterior less its own images. And it leaves the covariance within classes, which has learnt it by heart where
    images are few: there T would come out at half of what it should be. By Sherman and Morrison that is one more
    direction in which distances count. Ridge, noise, variances and the other classes' means stay as they are.

    Args:
        model: Fitted to all images.
        statistics: Of all images.
        features: Of images that belong to a leaf ``[n, d]``.
        labels: Position of the leaf of each ``[n]``.
        taxonomy: The tree.

    Returns:
        Logits ``[m, C]`` and labels ``[m]`` of those whose class has more than one image.
    """
    rows = (statistics.counts[labels] > 1.5).nonzero()[:, 0]
    most = max(1, _MOST // taxonomy.num_leaves)
    rows = rows[:: max(1, -(-len(rows) // most))]
    labels = labels[rows]
    z, means = model.whiten(features[rows]), model.nodes[taxonomy.leaves]
    count = statistics.counts[labels, None]
    observed = statistics.means[labels] @ model.whitener - model.center
    without = (count * observed - z) / (count - 1)
    if model.variance is not None:
        sure = 1 / model.variance[taxonomy.leaves[labels], None].clamp_min(1e-12)
        own, left = count / model.noise, (count - 1) / model.noise
        said = sure * means[labels] - own * observed  # by prior and relatives: precision times mean
        without = (said + left * without) / (sure - own + left)
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
    # Near where it will come out: the fit looks around 1.
    start = TOO_SURE * model.noise
    return start * fit_temperature((logits / start).float(), right)
