"""Soft labels: leaf cross-entropy against targets that fall off with distance in the tree."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hierfit.losses.levels import deepest_label, mean_over_samples
from hierfit.losses.options import check_number
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.upward import leaf_sums, node_heights
from hierfit.tensors import at_least_float32


def soft_label_cross_entropy(logits: Tensor, paths: Tensor, taxonomy: Taxonomy, *, beta: float = 10.0) -> Tensor:
    """Cross-entropy over the leaves, in nats, with target ∝ exp(−β·d(leaf, label)).

    Source: Bertinetto et al., "Making Better Mistakes", CVPR 2020. d is the height of the two nodes' lowest
    common ancestor over the height of the tree; a virtual root joins a forest. β → ∞ is leaf cross-entropy,
    β = 0 the uniform target. A label above the leaves is equally near to all leaves below it.

    The leaves that part from the label's path at one ancestor are all equally far. So the expected
    log-probability is a weighted sum of the ancestors' leaf sums, and needs no table of leaf distances.

    Args:
        logits: Scores ``[B, N]``; those of internal nodes are not read.
        paths: Node ids ``[B, L]`` coarse to fine, −1 where unknown or where a branch has ended.
        taxonomy: The tree.
        beta: β ≥ 0.

    Returns:
        A scalar, the mean over samples with a label; 0, still attached to the graph, if none has. O(B·N).

    Raises:
        UserError: ``beta`` is no such number.
    """
    beta = check_number("beta", beta)
    taxonomy = taxonomy.to(logits.device)
    logits = at_least_float32(logits)
    sums = leaf_sums(logits - logits[:, taxonomy.leaves].logsumexp(dim=1, keepdim=True), taxonomy)
    path = taxonomy.paths(deepest_label(paths))
    node = path.clamp_min(0)
    # From the virtual root down the label's path: leaves below, their log-probabilities' sum, and height.
    count = F.pad(taxonomy.num_leaves_below[node], (1, 0), value=taxonomy.num_leaves)
    log_p = torch.cat([sums[:, taxonomy.level_slices[0]].sum(dim=1, keepdim=True), sums.gather(1, node)], dim=1)
    height = F.pad(node_heights(taxonomy)[node], (1, 0), value=taxonomy.num_levels)
    tree_height = taxonomy.num_levels - (taxonomy.level_sizes[0] == 1)
    # Distances count from the label's own height up, or a coarse label's targets would all be 0 at a large β.
    unknown = F.pad(path, (1, 0)) < 0
    height = height - height.masked_fill(unknown, taxonomy.num_levels).amin(dim=1, keepdim=True)
    closeness = (-beta * height.clamp_min(0).to(logits.dtype) / max(1, tree_height)).exp()
    # Each step down the path brings the leaves below it closer by this much.
    gain = closeness.diff(dim=1, prepend=torch.zeros_like(closeness[:, :1]))
    gain = gain.masked_fill(unknown, 0)
    return mean_over_samples(-(gain * log_p).sum(dim=1) / (gain * count).sum(dim=1), paths)
