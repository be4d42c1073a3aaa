"""`Statistics`: all that a closed form needs of its images, as sums, so that more can be added without the old ones.
And a covariance from few of them: its ridge, without tuning, and what makes it the identity."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

_BLOCK, _STRIP = 4096, 128
_NO_IMAGE = 1e-6
"""A class with fewer images than this (responsibilities add up to any number) has none."""


@dataclass(frozen=True)
class Statistics:
    """Sums over images, in float64.

    Attributes:
        counts: Images of each class ``[C]``; fractions where labels are shared out among classes.
        sums: Sum of their features ``[C, d]``.
        second: Sum of x xᵀ over all images ``[d, d]``.
        spare: Degrees of freedom left in ``second`` by classes that were dropped without their images.
    """

    counts: Tensor
    sums: Tensor
    second: Tensor
    spare: float = 0.0

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, num_classes: int) -> Statistics:
        """The sums of images ``[n, d]`` of known classes ``[n]``. O(n·d²)."""
        counts = torch.bincount(labels, minlength=num_classes).double()
        sums = torch.zeros(num_classes, features.shape[1], dtype=torch.float64, device=features.device)
        for rows, classes in zip(features.split(_BLOCK), labels.split(_BLOCK), strict=True):
            sums.index_add_(0, classes, rows.double())
        return cls(counts, sums, second_moment(features))

    def __add__(self, other: Statistics) -> Statistics:
        """Of both sets of images together."""
        second, spare = self.second + other.second, self.spare + other.spare
        return Statistics(self.counts + other.counts, self.sums + other.sums, second, spare)

    def dropped(self, label: int) -> Statistics:
        """Without a class whose images are not at hand: how they lay about their mean stays in the covariance."""
        count, total = float(self.counts[label]), self.sums[label]
        if count <= _NO_IMAGE:
            return self
        counts, sums = self.counts.clone(), self.sums.clone()
        counts[label], sums[label] = 0, 0
        return Statistics(counts, sums, self.second - total.outer(total) / count, self.spare + max(count - 1, 0))

    def at(self, places: Tensor, num_classes: int) -> Statistics:
        """The same sums with class k at row ``places[k]`` of ``num_classes``: for a larger tree, or a shuffled one."""
        counts = self.counts.new_zeros(num_classes).index_copy_(0, places, self.counts)
        sums = self.sums.new_zeros(num_classes, self.sums.shape[1]).index_copy_(0, places, self.sums)
        return replace(self, counts=counts, sums=sums)

    @property
    def seen(self) -> Tensor:
        """Classes that have images ``[C]`` bool."""
        return self.counts > _NO_IMAGE

    @property
    def images(self) -> float:
        return float(self.counts.sum())

    @property
    def dof(self) -> float:
        """Degrees of freedom of `within`: images less classes."""
        return self.images - int(self.seen.sum()) + self.spare

    @property
    def few(self) -> bool:
        """Whether the images are too few (about one a class) for a covariance within classes."""
        return self.dof < max(int(self.seen.sum()) / 2, 1)

    @cached_property
    def means(self) -> Tensor:
        """Mean feature of each class ``[C, d]``, 0 for one without images."""
        return torch.where(self.seen[:, None], self.sums / self.counts.clamp_min(_NO_IMAGE)[:, None], 0)

    @cached_property
    def within(self) -> Tensor:
        """Scatter of the images about the mean of their class ``[d, d]``."""
        return self.second - self.sums.T @ self.means

    def about(self, points: Tensor) -> Tensor:
        """Scatter of the images about a point for each class ``[C, d]``, or about one for all ``[d]``: ``[d, d]``."""
        away = torch.where(self.seen[:, None], self.means - points, 0)
        return self.within + (away * self.counts[:, None]).T @ away


def second_moment(features: Tensor) -> Tensor:
    """Sum of x xᵀ over the rows ``[d, d]``, in float64. O(n·d²).

    Of few images every digit counts, for what lies within classes is left after subtracting what lies between. Above
    8192 rows the products within a block are float32's, in less than half the time: some 1e-6 of the logits.
    """
    width = features.shape[1]
    dtype = torch.float64 if len(features) <= 2 * _BLOCK else torch.float32
    total = torch.zeros(width, width, dtype=torch.float64, device=features.device)
    for rows in features.split(_BLOCK):
        rows = rows.to(dtype)
        for start in range(0, width, _STRIP):  # the upper triangle is enough
            total[start : start + _STRIP, start:] += rows[:, start : start + _STRIP].T @ rows[:, start:]
    return total.triu() + total.triu(1).T


def ridge(width: int, dof: float) -> float:
    """How far a covariance of ``dof`` degrees of freedom is drawn to a multiple of the identity: q/(1+q), q = d/dof."""
    ratio = width / dof
    return ratio / (1 + ratio)


def whitener(covariance: Tensor, share: float) -> Tensor:
    """W ``[d, d]`` under which (1−r)·S + r·(tr S/d)·I, of S ``[d, d]`` and a share r, is the identity: z = x W.

    Distances and inner products of z are all that is read of it, and a rotation leaves them: so Cholesky's factor
    serves as well as the symmetric root, in a tenth of the time.
    """
    width = len(covariance)
    mean = float(covariance.trace()) / width
    eye = torch.eye(width, dtype=covariance.dtype, device=covariance.device)
    if not mean > 1e-12:  # all images of a class alike: nothing to whiten by
        return eye
    blended = (1 - share) * covariance + max(share, 1e-6) * mean * eye
    factor = torch.linalg.cholesky((blended + blended.T) / 2)
    return torch.linalg.solve_triangular(factor, eye, upper=False).T.contiguous()
