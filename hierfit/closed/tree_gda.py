"""TreeGDA: Gaussian classes of one covariance, their means tied along the tree; fitted from sums, in closed form.

Beside a text tower the tree ties what the images add to their class's text. And what a tree has to beat: the same forms
without one, or with another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from hierfit.closed.prior import mean_of_kin, posterior, sums_below, variances
from hierfit.closed.statistics import Statistics, ridge, whitener
from hierfit.taxonomy import Taxonomy

Prior = Literal["tree", "shuffled", "common", "flat"]
CovarianceKind = Literal["within", "total", "identity"]

NOISE_SHARE = 0.5
"""Of the energy of one-shot class means, what is noise: where there is no validation image to tell. Real features want
0.5 to 0.7."""
NOISE_CAP = 0.6
"""Most that validation images may say of it."""
TEXT_RIDGE = 0.3
"""Beside text one shot is enough for a covariance; this far it is drawn to the identity."""


class Labelled(NamedTuple):
    """A few labelled images: features ``[m, d]`` and positions of their classes ``[m]``."""

    features: Tensor
    labels: Tensor


@dataclass(frozen=True)
class TiedForm:
    """How a fit is made.

    Attributes:
        prior: What draws the means together: the ``tree``; the same tree with classes at other ``places``
            (``shuffled``); one ``common`` prior for all; nothing (``flat``): then each leaf has its own mean, each
            inner node that of its classes, and a class without images its nearest ancestor's with one.
        kind: Of the covariance, see `covariance`.
        noise_share: At one shot alone, where noise and a class's own variance cannot be told apart.
        places: Leaf that each class stands at under the ``shuffled`` prior ``[C]``.
    """

    prior: Prior = "tree"
    kind: CovarianceKind = "within"
    noise_share: float = NOISE_SHARE
    places: Tensor | None = None


@dataclass(frozen=True)
class GaussianClasses:
    """z = x W − c, and a mean for every node there.

    Attributes:
        whitener: W ``[d, d]``.
        center: c ``[d]``.
        nodes: Means in the whitened space ``[N, d]``.
        variance: What is not known of them, a dimension ``[N]``; None where no prior says.
        noise: s², of an image about its class's mean, a dimension.
        within_share: Share of the scatter within classes in what was whitened by; 0 where that is another.
    """

    whitener: Tensor
    center: Tensor
    nodes: Tensor
    variance: Tensor | None
    noise: float
    within_share: float

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


def covariance(statistics: Statistics, taxonomy: Taxonomy, kind: CovarianceKind) -> tuple[Tensor, float]:
    """The common covariance S ``[d, d]``, and how far it is drawn to the identity.

    ``within`` classes; at one shot, where there is nothing within, the scatter about the nearest ancestor that has
    another class stands in for it, the nearer to the identity the less kinship the raw means show. ``total``: about the
    mean of all. ``identity``: none.
    """
    seen, width = statistics.seen, len(statistics.second)
    if kind == "identity":
        return torch.eye(width, dtype=torch.float64, device=seen.device), 0.0
    if kind == "within" and not statistics.few:
        return statistics.within / statistics.dof, ridge(width, statistics.dof)
    means, images = statistics.means, statistics.images
    share = ridge(width, images)
    middle = means[seen].mean(dim=0)
    if kind == "total":
        return statistics.about(middle) / images, share
    raw = torch.where(seen[:, None], means - middle, 0)
    _, kinship = variances(raw, statistics.counts, 0.0, taxonomy)
    stand_in = statistics.about(mean_of_kin(means, seen, taxonomy)) / images
    return stand_in, 1 - (1 - share) * float(kinship[-1])


def fit_tree(
    statistics: Statistics,
    taxonomy: Taxonomy,
    form: TiedForm = TiedForm(),
    *,
    text: Tensor | None = None,
    text_ridge: float = TEXT_RIDGE,
    val: Labelled | None = None,
) -> GaussianClasses:
    """Fits. O(C·d² + d³ + N·d) beside the sums.

    Under another tree or none, labels and scoring stay true: only who is whose relative changes.

    Args:
        statistics: Of the training images, class k at the k-th leaf.
        taxonomy: The tree.
        form: How.
        text: Text feature of each leaf ``[C, d]``, to stand beside: means lie about x̄ + c·(t_k − t̄), c by least
            squares, and the prior acts on what is left. The logits, divided by s² and weighted, are to be added to
            zero-shot's.
        text_ridge: Beside text, how far the covariance about it is drawn to the identity.
        val: Without text, and at one shot, a few images that tell the share of noise.

    Raises:
        ValueError: There is no image.
    """
    if not statistics.seen.any():
        raise ValueError("there is no image of any class")
    if form.prior == "tree":
        return _fit_on(statistics, taxonomy, form, text, text_ridge, val)
    count = taxonomy.num_leaves
    other = taxonomy if form.prior == "shuffled" else _without_tree(count)
    places = torch.arange(count) if form.places is None else form.places
    moved = None if text is None else torch.zeros_like(text).index_copy_(0, places, text)
    told = None if val is None else Labelled(val.features, places[val.labels])
    found = _fit_on(statistics.at(places, count), other, form, moved, text_ridge, told)
    rows = other.leaves[places]
    means, variance = found.nodes[rows], found.variance
    nodes = averages(means, statistics.seen, taxonomy).index_copy_(0, taxonomy.leaves, means)
    if variance is not None:  # that of inner nodes is not known, and not asked for
        variance = variance.new_zeros(len(nodes)).index_copy_(0, taxonomy.leaves, variance[rows])
    return replace(found, nodes=nodes, variance=variance)


def _fit_on(
    statistics: Statistics,
    taxonomy: Taxonomy,
    form: TiedForm,
    text: Tensor | None,
    text_ridge: float,
    val: Labelled | None,
) -> GaussianClasses:
    """On the tree that ties the means, or on one of roots alone."""
    seen, means, few = statistics.seen, statistics.means, statistics.few
    noise_share, within_share = form.noise_share, 0.0
    if text is None:
        spread, share = covariance(statistics, taxonomy, form.kind)
        root = whitener(spread, share)
        white = means @ root
        center = white[seen].mean(dim=0)
        z = torch.where(seen[:, None], white - center, 0)
        if not few and form.kind == "within":
            within_share = 1 - share
        elif few and val is not None and seen[val.labels].any():  # half of how far images of one class lie apart
            rows = seen[val.labels]
            away = val.features[rows].to(root) @ root - center - z[val.labels[rows]]
            energy = max(float(z[seen].square().mean()), 1e-12)
            noise_share = min(NOISE_CAP, float(away.square().mean()) / 2 / energy)
    else:
        middle = means[seen].mean(dim=0)
        text = text.to(means)
        text = text - text[seen].mean(dim=0)
        scale = float(((means[seen] - middle) * text[seen]).sum() / text[seen].square().sum().clamp_min(1e-12))
        expected = middle + scale * text
        root = whitener(statistics.about(expected) / statistics.images, text_ridge)
        center = middle @ root
        z = torch.where(seen[:, None], (means - expected) @ root, 0)
    noise = max(noise_share * float(z[seen].square().mean()) if few else _noise_within(statistics, root), 1e-6)
    variance = None
    if form.prior == "flat":
        nodes = averages(z, seen, taxonomy)
    else:
        counts = torch.where(seen, statistics.counts, 0)
        step, _ = variances(z, counts, noise, taxonomy)
        nodes, variance = posterior(z, counts / noise, step, taxonomy)
    if text is not None:
        nodes = averages(scale * text @ root, torch.ones_like(seen), taxonomy) + nodes
    return GaussianClasses(root, center, nodes, variance, noise, within_share)


def _noise_within(statistics: Statistics, root: Tensor) -> float:
    """s²: variance of an image about its class's mean in the whitened space, a dimension."""
    return float(((statistics.within / statistics.dof @ root) * root).sum()) / len(root)


def averages(z: Tensor, seen: Tensor, taxonomy: Taxonomy) -> Tensor:
    """A mean for every node without a prior ``[N, d]``: its classes' average; without any, its parent's, or 0."""
    count = sums_below(seen.to(z.dtype), taxonomy)
    means = sums_below(torch.where(seen[:, None], z, 0), taxonomy) / count.clamp_min(1)[:, None]
    for here in taxonomy.level_slices[1:]:
        means[here] = torch.where(count[here, None] > 0, means[here], means[taxonomy.parent[here]])
    return means


def _without_tree(count: int) -> Taxonomy:
    """Classes that are all roots."""
    return Taxonomy(tuple(map(str, range(count))), ("class",), torch.full((count,), -1))
