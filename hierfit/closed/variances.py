"""How far a node's mean strays from its parent's: variances by moments, without a matrix of classes by classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hierfit.closed.relatives import sums_below
from hierfit.taxonomy import Taxonomy


@dataclass(frozen=True)
class Variances:
    """Of the means in the whitened space, a dimension.

    Attributes:
        step: τ², of each node about its parent ``[N]``; of a root about the middle of all.
        kinship: What two classes that share h nodes have in common, as a share of a class's variance
            ``[L + 1]``, h from 0 (then 0) to L.
    """

    step: Tensor
    kinship: Tensor


def pair_covariances(means: Tensor, seen: Tensor, taxonomy: Taxonomy) -> tuple[Tensor, Tensor]:
    """Mean of z_i·z_j/d over ordered pairs of classes whose paths share exactly h nodes, h = 0 … L.

    The sum over all pairs below a node is |Σz|² − Σ|z|². O(N·d).

    Args:
        means: z ``[C, d]``.
        seen: Classes that have a mean ``[C]`` bool.
        taxonomy: The tree.

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


def variances(means: Tensor, counts: Tensor, noise: float, taxonomy: Taxonomy) -> Variances:
    """Variances along the tree from how much relatives resemble each other.

    Args:
        means: Class means z in the whitened space, about the middle of all ``[C, d]``.
        counts: Images of each class ``[C]``, 0 for one that has no mean.
        noise: Variance of an image about its class's mean, a dimension.
        taxonomy: The tree.
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
    return Variances(step, shared / top)
