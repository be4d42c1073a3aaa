"""TreeGDA beside a text tower: the tree ties what the images add to their class's text."""

from __future__ import annotations

import torch
from torch import Tensor

from hierfit.closed.prior import posterior, variances
from hierfit.closed.statistics import Statistics, whitener
from hierfit.closed.tree_gda import NOISE_SHARE, GaussianClasses, averages, few, within_noise
from hierfit.taxonomy import Taxonomy

RIDGE = 0.3
WEIGHT = 0.2
"""Of the images' logits/s² beside zero-shot's, where no validation image tells. Strong text (Caltech-101) wants 0.05
and loses 0.3 points by 0.2; weak text (fieldguide) wants 1, and loses 2 points by 0.2 but 15 by 0.05."""


def fit_with_text(
    statistics: Statistics,
    text: Tensor,
    taxonomy: Taxonomy,
    *,
    ridge: float = RIDGE,
    shrink: bool = True,
    noise_share: float = NOISE_SHARE,
) -> GaussianClasses:
    """Means about x̄ + c·(t_k − t̄), c by least squares; the prior of the tree acts on what is left.

    The covariance is that of the images about their class's text, which one shot is enough for. A class without images
    lies where its text and its relatives put it.

    Args:
        statistics: Of the training images, class k at the k-th leaf.
        text: Text feature of each leaf ``[C, d]``.
        taxonomy: The tree; without one (`without_tree`), a common prior.
        ridge: How far the covariance is drawn to the identity.
        shrink: Whether means are drawn along the tree.
        noise_share: See `fit_tree`.

    Returns:
        Its logits, divided by s² and weighted, are to be added to zero-shot's.

    Raises:
        ValueError: There is no image.
    """
    seen, means = statistics.seen, statistics.means
    if not seen.any():
        raise ValueError("there is no image of any class")
    middle = means[seen].mean(dim=0)
    text = text.to(means)
    text = text - text[seen].mean(dim=0)
    away = means[seen] - middle
    scale = float((away * text[seen]).sum() / text[seen].square().sum().clamp_min(1e-12))
    expected = middle + scale * text
    root = whitener(statistics.about(expected) / statistics.images, ridge)
    z = torch.where(seen[:, None], (means - expected) @ root, 0)
    one_shot = few(statistics)
    noise = noise_share * float(z[seen].square().mean()) if one_shot else within_noise(statistics, root)
    noise = max(noise, 1e-6)
    by_text = averages(scale * text @ root, torch.ones_like(seen), taxonomy)
    if not shrink:
        return GaussianClasses(root, middle @ root, by_text + averages(z, seen, taxonomy), None, noise, None, one_shot)
    counts = torch.where(seen, statistics.counts, 0)
    prior = variances(z, counts, noise, taxonomy)
    found = posterior(z, counts / noise, prior.step, taxonomy)
    return GaussianClasses(root, middle @ root, by_text + found.mean, found.variance, noise, prior, one_shot)
