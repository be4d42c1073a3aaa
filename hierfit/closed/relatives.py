"""Sums up the tree over what the classes have, and who is next of kin."""

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


def mean_of_kin(means: Tensor, seen: Tensor, taxonomy: Taxonomy, itself: bool) -> Tensor:
    """Mean over the classes below `nearest_with_company`, each class weighing 1: ``[C, d]``.

    Args:
        means: Of the classes ``[C, d]``.
        seen: Which of them have one ``[C]`` bool.
        taxonomy: The tree.
        itself: Whether a class counts among its own kin.
    """
    means = torch.where(seen[:, None], means, 0)
    node = nearest_with_company(seen, taxonomy)
    count = torch.cat([sums_below(seen.to(means.dtype), taxonomy), seen.sum().to(means.dtype)[None]])  # −1 wraps round
    total = torch.cat([sums_below(means, taxonomy), means.sum(dim=0, keepdim=True)])
    count, total = count[node], total[node]
    if not itself:
        count, total = count - seen.to(count), total - means
    return total / count.clamp_min(1)[:, None]
