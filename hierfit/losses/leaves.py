"""Losses with one softmax over the leaves: inner nodes are the sums of the leaves below, their own logits not read.

The logits of inner nodes get no gradient; `leaf_marginals` reads them from the leaves.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hierfit.losses.levels import constant, deepest_label, mean_over_samples
from hierfit.losses.options import check_number
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.upward import leaf_marginals, leaf_sums, node_heights
from hierfit.tensors import at_least_float32


def leaf_cross_entropy(logits: Tensor, paths: Tensor, taxonomy: Taxonomy) -> Tensor:
    """−log p(the finest known node), whose probability is the sum over the leaves below it.

    Plain leaf cross-entropy for a leaf, and for a coarser label no preference among its leaves.
    """
    taxonomy = taxonomy.to(logits.device)
    logits = at_least_float32(logits)
    deepest = deepest_label(paths)
    label = deepest.clamp_min(0)
    total = logits.index_select(1, taxonomy.leaves).logsumexp(dim=1)
    # Marginals take four times as long as all the rest, and leaves do without. On an accelerator it would take longer
    # to ask whether there are other labels.
    only_leaves = logits.device.type == "cpu" and bool(((taxonomy.num_children[label] == 0) | (deepest < 0)).all())
    mass = logits if only_leaves else leaf_marginals(logits, taxonomy)
    return mean_over_samples(total - mass.gather(1, label[:, None])[:, 0], paths)


def hierarchical_cross_entropy(logits: Tensor, paths: Tensor, taxonomy: Taxonomy, *, alpha: float = 0.1) -> Tensor:
    """Σ over the path of exp(−α·d(v))·(−log p(v | parent of v)).

    Source: Bertinetto et al., "Making Better Mistakes", CVPR 2020, without its normalisation of the weights.
    d(v) is the depth of the edge into v, counted from the root down: 0 for the first decision, between the children of
    the root (of a virtual one in a forest). A greater α ≥ 0 makes fine decisions count less, so that of two mistakes
    the one nearby costs less; α = 0 is leaf cross-entropy. The path ends at the finest known node.
    """
    alpha = check_number("alpha", alpha)
    taxonomy = taxonomy.to(logits.device)
    mass = leaf_marginals(logits, taxonomy)
    total = mass[:, taxonomy.level_slices[0]].logsumexp(dim=1, keepdim=True)
    path = taxonomy.paths(deepest_label(paths))
    below = mass.gather(1, path.clamp_min(0))
    above = torch.cat([total, below[:, :-1]], dim=1)
    # A single root is certain, so the edge into it decides nothing.
    first = int(taxonomy.level_sizes[0] == 1)
    weights = tuple(math.exp(-alpha * max(0, level - first)) for level in range(taxonomy.num_levels))
    decisions = (constant(weights, mass) * (above - below)).masked_fill(path < 0, 0)
    return mean_over_samples(decisions.sum(dim=1), paths)


def hierarchy_aware_cross_entropy(
    logits: Tensor, paths: Tensor, taxonomy: Taxonomy, *, dilution: float = 0.5
) -> Tensor:
    """Σ over the path of w(v)·(−log p(v)); w sums to 1 and falls by the factor ``dilution`` in [0, 1) a step up.

    Source: Chan et al., "When Labels Have Structure", arXiv 2605.06274, 2026, from its abstract and its public code:
    the label's mass is spread over its path with geometrically decaying weights (0.2, 0.5 and 0.7 are tried; 0 is leaf
    cross-entropy). That they are made to sum to 1 over the path is our reading. A single root, which is certain, costs
    nothing but has its share.
    """
    dilution = check_number("dilution", dilution, below=1.0)
    taxonomy = taxonomy.to(logits.device)
    mass = leaf_marginals(logits, taxonomy)
    total = mass[:, taxonomy.level_slices[0]].logsumexp(dim=1, keepdim=True)
    path = taxonomy.paths(deepest_label(paths))
    known = path >= 0
    powers = constant(tuple(dilution**step for step in range(taxonomy.num_levels)), mass)
    steps_up = (known.sum(dim=1, keepdim=True) - known.cumsum(dim=1)).clamp_min(0)
    weight = powers[steps_up].masked_fill(~known, 0)
    cost = (weight * (total - mass.gather(1, path.clamp_min(0)))).sum(dim=1)
    return mean_over_samples(cost / weight.sum(dim=1).clamp_min(1), paths)


def soft_label_cross_entropy(logits: Tensor, paths: Tensor, taxonomy: Taxonomy, *, beta: float = 10.0) -> Tensor:
    """Cross-entropy with targets ∝ exp(−β·d(leaf, label)), β ≥ 0.

    Source: Bertinetto et al., "Making Better Mistakes", CVPR 2020. d is the height of the two nodes' lowest
    common ancestor over the height of the tree; a virtual root joins a forest. β → ∞ is leaf cross-entropy,
    β = 0 the uniform target. A label above the leaves is equally near to all leaves below it.

    The leaves that part from the label's path at one ancestor are all equally far. So the expected
    log-probability is a weighted sum of the ancestors' leaf sums, and needs no table of leaf distances.
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
