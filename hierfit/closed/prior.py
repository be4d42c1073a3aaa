"""The prior that ties the means of classes along a tree: who is kin, how far a mean strays from its parent's, and the
exact posterior, by one pass up and one down. No matrix of classes by classes."""

from __future__ import annotations

import torch
from torch import Tensor

from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.upward import steps_up


def sums_below(values: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Sum over the leaves at or below each node: ``[C, …]`` to ``[N, …]``. O(N·d)."""
    total = values.new_zeros(taxonomy.num_nodes, *values.shape[1:]).index_copy_(0, taxonomy.leaves, values)
    for upper, parent in steps_up(taxonomy):
        total[taxonomy.level_slices[upper]].index_add_(0, parent, total[taxonomy.level_slices[upper + 1]])
    return total


def nearest_with_company(seen: Tensor, taxonomy: Taxonomy) -> Tensor:
    """For each leaf the nearest ancestor with two ``seen [C]`` classes or more below it ``[C]``; −1: all's root."""
    company = sums_below(seen.long(), taxonomy)
    paths = taxonomy.leaf_paths
    return torch.where(company[paths] > 1, paths, -1).amax(dim=1).where(seen, -1)  # ids grow with depth


def mean_of_kin(means: Tensor, seen: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Mean over the ``seen [C]`` classes below `nearest_with_company`, itself among them, each weighing 1:
    ``[C, d]`` of ``[C, d]``."""
    means = torch.where(seen[:, None], means, 0)
    node = nearest_with_company(seen, taxonomy)
    count = torch.cat([sums_below(seen.to(means.dtype), taxonomy), seen.sum().to(means.dtype)[None]])  # −1 wraps round
    total = torch.cat([sums_below(means, taxonomy), means.sum(dim=0, keepdim=True)])
    return total[node] / count[node].clamp_min(1)[:, None]


def pair_covariances(means: Tensor, seen: Tensor, taxonomy: Taxonomy) -> tuple[Tensor, Tensor]:
    """Mean of z_i·z_j/d over ordered pairs of ``seen [C]`` classes whose paths share exactly h nodes, h = 0 … L.

    The sum over all pairs below a node is ``|Σz|² − Σ|z|²``, of means z ``[C, d]``. O(N·d).

    Returns:
        The means ``[L + 1]``, 0 where there is no pair, and the number of pairs ``[L + 1]``.
    """
    z = torch.where(seen[:, None], means, 0)
    own, one = z.pow(2).sum(dim=1), seen.to(z.dtype)
    total, squares, count = sums_below(z, taxonomy), sums_below(own, taxonomy), sums_below(one, taxonomy)
    products, pairs = total.pow(2).sum(dim=1) - squares, count * (count - 1)
    # Pairs that share h nodes or more lie below a node at depth h − 1; those that share any number lie anywhere.
    products = torch.stack([z.sum(dim=0).pow(2).sum() - own.sum(), *(products[s].sum() for s in taxonomy.level_slices)])
    pairs = torch.stack([one.sum() * (one.sum() - 1), *(pairs[s].sum() for s in taxonomy.level_slices)])
    products[:-1] -= products[1:].clone()
    pairs[:-1] -= pairs[1:].clone()
    return torch.where(pairs > 0, products / pairs.clamp_min(1) / z.shape[1], 0), pairs


def increasing(values: Tensor, weights: Tensor) -> Tensor:
    """The nearest sequence in weighted squares that never falls (pool adjacent violators) ``[n]``.

    Values without weight take the one before them; at the start, the first that has one; 0 where none has.
    """
    blocks: list[tuple[float, float, int]] = []  # mean, weight, values in it
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        if weight <= 0:
            mean, heavy, length = blocks[-1] if blocks else (float("nan"), 0.0, 0)
            blocks[-1:] = [(mean, heavy, length + 1)]
            continue
        last = (value, weight, 1)
        while blocks and not blocks[-1][0] <= last[0]:
            mean, heavy, length = blocks.pop()
            both = heavy + last[1]
            last = ((mean * heavy if heavy else 0) / both + last[0] * last[1] / both, both, length + last[2])
        blocks.append(last)
    return values.new_tensor([0.0 if mean != mean else mean for mean, _, length in blocks for _ in range(length)])


def variances(means: Tensor, counts: Tensor, noise: float, taxonomy: Taxonomy) -> tuple[Tensor, Tensor]:
    """Variances along the tree, a dimension, from how much relatives resemble each other.

    Args:
        means: Class means z in the whitened space, about the middle of all ``[C, d]``.
        counts: Images of each class ``[C]``, 0 for one that has no mean.
        noise: s², variance of an image about its class's mean, a dimension.
        taxonomy: The tree.

    Returns:
        τ² of each node about its parent ``[N]``, of a root about the middle of all; and kinship, what two classes that
        share h nodes have in common as a share of a class's variance ``[L + 1]``, h from 0 (then 0) to L.
    """
    seen = counts > 0
    energy = float(means[seen].pow(2).mean())
    shared = increasing(*pair_covariances(means, seen, taxonomy))
    base = float(shared[0])
    top = max(energy - noise * float((1 / counts[seen]).mean()), 0.05 * energy)
    top = max(top - base, 1e-6)
    shared = (shared - base).clamp(0, 0.98 * top)
    depth = taxonomy.level
    step = (shared[depth + 1] - shared[depth]).clamp_min(0)
    step[taxonomy.leaves] = top - shared[depth[taxonomy.leaves]]
    return step, shared / top


def posterior(observed: Tensor, precision: Tensor, step: Tensor, taxonomy: Taxonomy) -> tuple[Tensor, Tensor]:
    """m_v | parent ~ N(m_parent, τ_v² I), the roots about 0; leaf k was observed at z_k with some precision. O(N·d).

    A leaf without observation takes its parent's mean; inner nodes have a mean without having been observed.

    Args:
        observed: z ``[C, d]``; not read where the precision is 0.
        precision: Of each observation, a dimension ``[C]``: n_k/s².
        step: τ² ``[N]``.
        taxonomy: The tree.

    Returns:
        The mean of every node ``[N, d]``, and its variance, a dimension ``[N]``.
    """
    n, levels = taxonomy.num_nodes, taxonomy.level_slices
    weight = precision.new_zeros(n).index_copy_(0, taxonomy.leaves, precision)
    # Up: the sum of weight·mean of what is known from below; divided by weight it is the mean.
    total = observed.new_zeros(n, observed.shape[1])
    total.index_copy_(0, taxonomy.leaves, observed * precision[:, None])
    for upper, parent in steps_up(taxonomy):
        here = levels[upper + 1]
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
    return mean, variance
