"""HXE: hierarchical cross-entropy, a weighted sum of the decisions from the root to the label."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hierfit.losses.cuts import constant
from hierfit.losses.levels import deepest_label, mean_over_samples
from hierfit.losses.options import check_number
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.upward import leaf_marginals


def hierarchical_cross_entropy(logits: Tensor, paths: Tensor, taxonomy: Taxonomy, *, alpha: float = 0.1) -> Tensor:
    """Σ over the path of exp(−α·d(v))·(−log p(v | parent of v)), in nats.

    Source: Bertinetto et al., "Making Better Mistakes", CVPR 2020, without its normalisation of the weights.
    Probabilities are sums of one softmax over the leaves; d(v) is the depth of the edge into v, counted from the root
    down: 0 for the first decision, between the children of the root (of a virtual one in a forest). A greater α makes
    fine decisions count less, so that of two mistakes the one nearby costs less; α = 0 is leaf cross-entropy. The path
    ends at the finest known node.

    Args:
        logits: Scores ``[B, N]``; those of internal nodes are not read.
        paths: Node ids ``[B, L]`` coarse to fine, −1 where unknown or where a branch has ended.
        taxonomy: The tree; a leaf may lie at any level.
        alpha: α ≥ 0.

    Returns:
        A scalar, the mean over samples with a label; 0, still attached to the graph, if none has. O(B·N).

    Raises:
        UserError: ``alpha`` is no such number.
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
    decisions = (constant(weights, (mass.dtype, mass.device)) * (above - below)).masked_fill(path < 0, 0)
    return mean_over_samples(decisions.sum(dim=1), paths)
