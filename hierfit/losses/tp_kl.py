"""TP-KL: divergence from a sample's path in the tree to one softmax over all levels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hierfit.errors import UserError
from hierfit.losses.cuts import constant
from hierfit.losses.levels import LevelReading, mean_over_samples, read_levels
from hierfit.losses.options import PerLevel, per_level
from hierfit.taxonomy import Taxonomy
from hierfit.tensors import at_least_float32


def tree_path_kl(
    logits: Tensor,
    paths: Tensor,
    taxonomy: Taxonomy,
    *,
    level_weights: PerLevel = 1.0,
    reading: LevelReading | None = None,
) -> Tensor:
    """Tree-path KL divergence KL(q‖P), in nats: q puts 1/L on each node of the path, P is the softmax over all levels.

    Source: H-CAST (Park et al., ICLR 2025) and Li et al., arXiv 2512.21529. It equals the mean cross-entropy
    within the levels plus KL(uniform‖M), where M_l is the mass of level l under P: beyond level cross-entropy
    it reads no edge of the tree, and only evens out the levels' logsumexp. So levels should share one logit
    scale (see `level_logit_spread`).

    Levels are cuts, side by side: a leaf that ended above stands in P once for each level from its own on, and a label
    that is a leaf has its share of q at each of them.

    A sample's unlabelled levels take part in neither q nor P, as if the tree had its labelled levels only:
    they would otherwise be pushed towards no mass at all.

    Args:
        logits: Scores ``[B, N]``.
        paths: Node ids ``[B, L]`` coarse to fine, −1 where unknown or where a branch has ended.
        taxonomy: The tree; a leaf may lie at any level.
        level_weights: q of each level, before it is made to sum to 1 over a sample's labelled levels: one number
            (uniform, as published), a list of one a level, or numbers by level name (others: 0). A level of weight 0
            stays in P, and is pushed towards no mass.
        reading: ``read_levels(logits, paths, taxonomy)`` where it is at hand.

    Returns:
        A scalar ≥ 0, the mean over samples with a label; 0, still attached to the graph, if none has. O(B·N).

    Raises:
        UserError: ``level_weights`` does not fit the levels, or none is positive.
    """
    weights = tuple(per_level("level_weights", level_weights, taxonomy))
    if not any(weights):
        raise UserError("level_weights are all 0; at least one must be positive")
    padded, lse, label = reading or read_levels(logits, paths, taxonomy)
    known = padded >= 0
    # A sample without labels keeps all levels: the logsumexp of nothing has no gradient.
    left_out = ~known & known.any(dim=1, keepdim=True)
    log_normaliser = lse.masked_fill(left_out, -torch.inf).logsumexp(dim=1)
    as_label = label.dtype, label.device
    weight = constant(weights, as_label)
    of_known = known * weight
    total = of_known.sum(dim=1)
    has_share = total > 0
    total = total.where(has_share, 1.0)
    mean_logit = (label * weight).masked_fill(~known, 0).sum(dim=1) / total
    # Σ q·log q of q = w/Σw.
    scatter = known * constant(tuple(w * math.log(w) if w > 0 else 0.0 for w in weights), as_label)
    negative_entropy = scatter.sum(dim=1) / total - total.log()
    divergence = log_normaliser - mean_logit + negative_entropy
    return mean_over_samples(divergence.masked_fill(~has_share, 0), paths)


@torch.no_grad()
def level_logit_spread(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Scale of each level's logits: their standard deviation over the nodes at its depth, averaged over the batch.

    Args:
        logits: Scores ``[B, N]``, B ≥ 1.
        taxonomy: The tree.

    Returns:
        ``[L]``; NaN for a level of one node, which has no scale. O(B·N).
    """
    levels = at_least_float32(logits).split(taxonomy.level_sizes, dim=1)
    return torch.stack(
        [level.std(dim=1).mean() if level.shape[1] > 1 else level.new_tensor(torch.nan) for level in levels]
    )
