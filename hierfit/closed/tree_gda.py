"""TreeGDA: Gaussian classes of one covariance, their means tied along the tree; fitted from sums, in closed form.

Beside a text tower the tree ties what the images add to their class's text. And what a tree has to beat: the same forms
without one, or with another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from hierfit.closed.prior import Variances, mean_of_kin, posterior, sums_below, variances
from hierfit.closed.statistics import Statistics, ridge, whitener
from hierfit.taxonomy import Taxonomy

CovarianceKind = Literal["within", "total", "identity"]

NOISE_SHARE = 0.5
"""Of the energy of one-shot class means, what is noise: where there is no validation image to tell. Real features want
0.5 to 0.7."""
NOISE_CAP = 0.6
"""Most that validation images may say of it."""
RIDGE = 0.3
WEIGHT = 0.2
"""Beside text, of the images' logits/s² where no validation image tells. Strong text (Caltech-101) wants 0.05 and loses
0.3 points by 0.2; weak text (fieldguide) wants 1, and loses 2 points by 0.2 but 15 by 0.05."""


class Labelled(NamedTuple):
    """A few labelled images: features ``[m, d]`` and positions of their classes ``[m]``."""

    features: Tensor
    labels: Tensor


@dataclass(frozen=True)
class GaussianClasses:
    """z = x W − c, and a mean for every node there.

    Attributes:
        whitener: W ``[d, d]``.
        center: c ``[d]``.
        nodes: Means in the whitened space ``[N, d]``.
        variance: What is not known of them, a dimension ``[N]``; None where no prior says.
        noise: s², of an image about its class's mean, a dimension.
        variances: Of the prior; None without one.
        one_shot: Whether there were too few images for a covariance within classes.
        within_share: Share of the scatter within classes in what was whitened by; 0 where that is another.
    """

    whitener: Tensor
    center: Tensor
    nodes: Tensor
    variance: Tensor | None
    noise: float
    variances: Variances | None
    one_shot: bool
    within_share: float = 0.0

    def whiten(self, features: Tensor) -> Tensor:
        """z ``[B, d]``."""
        return features.to(self.whitener) @ self.whitener - self.center

    def logits(self, features: Tensor) -> Tensor:
        """``z·m − |m|²/2`` for every node ``[B, N]``: up to s² the log-density under equal priors."""
        return self.whiten(features) @ self.nodes.T - self.nodes.square().sum(dim=1) / 2

    @cached_property
    def affine(self) -> tuple[Tensor, Tensor]:
        """The same as weights ``[N, d]`` and biases ``[N]`` on the features themselves."""
        bias = -self.nodes @ self.center - self.nodes.square().sum(dim=1) / 2
        return self.nodes @ self.whitener.T, bias


class Covariance(NamedTuple):
    """What is whitened by: S ``[d, d]`` and how far it is drawn to the identity."""

    matrix: Tensor
    ridge: float


def few(statistics: Statistics) -> bool:
    """Whether the images are too few (about one a class) for a covariance within classes."""
    return statistics.dof < max(int(statistics.seen.sum()) / 2, 1)


def covariance(statistics: Statistics, taxonomy: Taxonomy, kind: CovarianceKind) -> Covariance:
    """The common covariance.

    ``within`` classes; at one shot, where there is nothing within, the scatter about the nearest ancestor that has
    another class stands in for it, the nearer to the identity the less kinship the raw means show. ``total``: about the
    mean of all. ``identity``: none.
    """
    seen, width = statistics.seen, statistics.width
    if kind == "identity":
        return Covariance(torch.eye(width, dtype=torch.float64, device=seen.device), 0.0)
    if kind == "within" and not few(statistics):
        return Covariance(statistics.within / statistics.dof, ridge(width, statistics.dof))
    means, images = statistics.means, statistics.images
    share = ridge(width, images)
    middle = means[seen].mean(dim=0)
    if kind == "total":
        return Covariance(statistics.about(middle) / images, share)
    raw = torch.where(seen[:, None], means - middle, 0)
    kinship = float(variances(raw, statistics.counts, 0.0, taxonomy).kinship[-1])
    stand_in = statistics.about(mean_of_kin(means, seen, taxonomy)) / images
    return Covariance(stand_in, 1 - (1 - share) * kinship)


def fit_tree(
    statistics: Statistics,
    taxonomy: Taxonomy,
    *,
    kind: CovarianceKind = "within",
    shrink: bool = True,
    noise_share: float = NOISE_SHARE,
    val: Labelled | None = None,
) -> GaussianClasses:
    """Fits. O(C·d² + d³ + N·d) beside the sums.

    Args:
        statistics: Of the training images, class k at the k-th leaf.
        taxonomy: The tree.
        kind: See `covariance`.
        shrink: Whether means are drawn along the tree; else each leaf has its own, each inner node the mean of its
            classes' and a class without images that of its nearest ancestor with one.
        noise_share: At one shot alone, where noise and a class's own variance cannot be told apart.
        val: At one shot, a few images that tell the share.

    Raises:
        ValueError: There is no image.
    """
    seen, means = statistics.seen, statistics.means
    if not seen.any():
        raise ValueError("there is no image of any class")
    spread = covariance(statistics, taxonomy, kind)
    root = whitener(spread.matrix, spread.ridge)
    white = means @ root
    center = white[seen].mean(dim=0)
    z = torch.where(seen[:, None], white - center, 0)
    if few(statistics):
        told = None if val is None else _share_on_val(val, z, seen, root, center)
        noise_share, within_share = noise_share if told is None else told, 0.0
    else:
        within_share = 1 - spread.ridge if kind == "within" else 0.0
    return _tied(statistics, taxonomy, root, center, z, noise_share, shrink, within_share)


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
    found = _tied(statistics, taxonomy, root, middle @ root, z, noise_share, shrink)
    by_text = averages(scale * text @ root, torch.ones_like(seen), taxonomy)
    return replace(found, nodes=by_text + found.nodes)


def _tied(
    statistics: Statistics,
    taxonomy: Taxonomy,
    root: Tensor,
    center: Tensor,
    z: Tensor,
    noise_share: float,
    shrink: bool,
    within_share: float = 0.0,
) -> GaussianClasses:
    """From class means z about what was expected of them to a mean for every node, with a prior or without."""
    seen, one_shot = statistics.seen, few(statistics)
    noise = noise_share * float(z[seen].square().mean()) if one_shot else within_noise(statistics, root)
    noise = max(noise, 1e-6)
    if not shrink:
        return GaussianClasses(root, center, averages(z, seen, taxonomy), None, noise, None, one_shot, within_share)
    counts = torch.where(seen, statistics.counts, 0)
    prior = variances(z, counts, noise, taxonomy)
    found = posterior(z, counts / noise, prior.step, taxonomy)
    return GaussianClasses(root, center, found.mean, found.variance, noise, prior, one_shot, within_share)


def within_noise(statistics: Statistics, root: Tensor) -> float:
    """s²: variance of an image about its class's mean in the whitened space, a dimension."""
    spread = statistics.within / statistics.dof
    return float(((spread @ root) * root).sum()) / statistics.width


def averages(z: Tensor, seen: Tensor, taxonomy: Taxonomy) -> Tensor:
    """A mean for every node without a prior ``[N, d]``: its classes' average; without any, its parent's, or 0."""
    count = sums_below(seen.to(z.dtype), taxonomy)
    means = sums_below(torch.where(seen[:, None], z, 0), taxonomy) / count.clamp_min(1)[:, None]
    for here in taxonomy.level_slices[1:]:
        means[here] = torch.where(count[here, None] > 0, means[here], means[taxonomy.parent[here]])
    return means


def _share_on_val(val: Labelled, z: Tensor, seen: Tensor, root: Tensor, center: Tensor) -> float | None:
    """Half of how far images of one class lie apart, as a share of the means' energy; None of no class with a mean."""
    rows = seen[val.labels]
    if not rows.any():
        return None
    away = val.features[rows].to(root) @ root - center - z[val.labels[rows]]
    return min(NOISE_CAP, float(away.square().mean()) / 2 / max(float(z[seen].square().mean()), 1e-12))


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
