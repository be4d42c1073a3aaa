"""HACE: leaf probabilities summed up the tree, against a label that gives its ancestors a share."""

from __future__ import annotations

from torch import Tensor

from hierfit.losses.cuts import constant
from hierfit.losses.levels import deepest_label, mean_over_samples
from hierfit.losses.options import check_number
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.upward import leaf_marginals


def hierarchy_aware_cross_entropy(
    logits: Tensor, paths: Tensor, taxonomy: Taxonomy, *, dilution: float = 0.5
) -> Tensor:
    """Σ over the path of w(v)·(−log p(v)), in nats; w sums to 1 and falls by the factor ``dilution`` a step up.

    Source: Chan et al., "When Labels Have Structure", arXiv 2605.06274, 2026, from its abstract and its public code:
    node probabilities are sums of one softmax over the leaves, and the label's mass is spread over its path with
    geometrically decaying weights. That they are made to sum to 1 over the path is our reading. A single root, which is
    certain, costs nothing but has its share.

    Args:
        logits: Scores ``[B, N]``; those of internal nodes are not read.
        paths: Node ids ``[B, L]`` coarse to fine, −1 where unknown or where a branch has ended.
        taxonomy: The tree; a leaf may lie at any level.
        dilution: In [0, 1); 0 is leaf cross-entropy. The paper tries 0.2, 0.5 and 0.7.

    Returns:
        A scalar, the mean over samples with a label; 0, still attached to the graph, if none has. O(B·N).

    Raises:
        UserError: ``dilution`` is no such number.
    """
    dilution = check_number("dilution", dilution, below=1.0)
    taxonomy = taxonomy.to(logits.device)
    mass = leaf_marginals(logits, taxonomy)
    total = mass[:, taxonomy.level_slices[0]].logsumexp(dim=1, keepdim=True)
    path = taxonomy.paths(deepest_label(paths))
    known = path >= 0
    powers = constant(tuple(dilution**step for step in range(taxonomy.num_levels)), (mass.dtype, mass.device))
    steps_up = (known.sum(dim=1, keepdim=True) - known.cumsum(dim=1)).clamp_min(0)
    weight = powers[steps_up].masked_fill(~known, 0)
    cost = (weight * (total - mass.gather(1, path.clamp_min(0)))).sum(dim=1)
    return mean_over_samples(cost / weight.sum(dim=1).clamp_min(1), paths)
