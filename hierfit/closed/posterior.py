"""The exact posterior of means tied along a tree, by one pass up and one down."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from hierfit.taxonomy import Taxonomy


class Posterior(NamedTuple):
    """Of the mean of every node.

    Attributes:
        mean: ``[N, d]``.
        variance: A dimension ``[N]``.
    """

    mean: Tensor
    variance: Tensor


def posterior(observed: Tensor, precision: Tensor, step: Tensor, taxonomy: Taxonomy) -> Posterior:
    """m_v | parent ~ N(m_parent, τ_v² I), the roots about 0; leaf k was observed at z_k with some precision. O(N·d).

    A leaf without observation takes its parent's mean; inner nodes have a mean without having been observed.

    Args:
        observed: z ``[C, d]``; not read where the precision is 0.
        precision: Of each observation, a dimension ``[C]``: n_k/s².
        step: τ² ``[N]``.
        taxonomy: The tree.
    """
    n, levels = taxonomy.num_nodes, taxonomy.level_slices
    weight = precision.new_zeros(n).index_copy_(0, taxonomy.leaves, precision)
    # Up: the sum of weight·mean of what is known from below; divided by weight it is the mean.
    total = observed.new_zeros(n, observed.shape[1])
    total.index_copy_(0, taxonomy.leaves, observed * precision[:, None])
    for upper in reversed(range(len(levels) - 1)):
        here = levels[upper + 1]
        parent = taxonomy.parent[here] - levels[upper].start
        passed = 1 / (1 + step[here] * weight[here])
        weight[levels[upper]].index_add_(0, parent, weight[here] * passed)
        total[levels[upper]].index_add_(0, parent, total[here] * passed[:, None])
    # Down: each between what is known from below and its parent.
    mean, variance = total, weight.new_zeros(n)
    for depth, here in enumerate(levels):
        above = taxonomy.parent[here]
        passed = 1 / (1 + step[here] * weight[here])
        mean[here] *= (step[here] * passed)[:, None]
        variance[here] = step[here] * passed
        if depth:
            mean[here] += passed[:, None] * mean[above]
            variance[here] += passed.square() * variance[above]
    return Posterior(mean, variance)
