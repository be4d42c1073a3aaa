"""Losses with a softmax over the cut of each level: cross-entropy, TP-KL, consistency of neighbouring levels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hierfit.errors import UserError
from hierfit.losses.levels import (
    LevelReading,
    OverLevels,
    PerLevel,
    check_choice,
    constant,
    mean_over_labels,
    mean_over_samples,
    per_level,
    read_levels,
)
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.upward import segment_logsumexp, steps_up
from hierfit.tensors import at_least_float32


def level_cross_entropy(
    logits: Tensor,
    paths: Tensor,
    taxonomy: Taxonomy,
    *,
    over_levels: OverLevels = "mean",
    reading: LevelReading | None = None,
) -> Tensor:
    """Cross-entropy within each level. A label that is a leaf counts at its own level and, as itself, at deeper ones.

    Args:
        over_levels: ``mean`` or ``sum`` over the labelled levels of a sample.
    """
    check_choice("over_levels", over_levels, ("mean", "sum"))
    padded, lse, label = reading or read_levels(logits, paths, taxonomy)
    return mean_over_labels(lse - label, padded, over_levels)


def tree_path_kl(
    logits: Tensor,
    paths: Tensor,
    taxonomy: Taxonomy,
    *,
    level_weights: PerLevel = 1.0,
    reading: LevelReading | None = None,
) -> Tensor:
    """Tree-path KL divergence KL(q‖P): q puts 1/L on each node of the path, P is the softmax over all levels.

    Source: H-CAST (Park et al., ICLR 2025) and Li et al., arXiv 2512.21529. It equals the mean cross-entropy
    within the levels plus KL(uniform‖M), where M_l is the mass of level l under P: beyond level cross-entropy
    it reads no edge of the tree, and only evens out the levels' logsumexp. So levels should share one logit
    scale (see `level_logit_spread`).

    Levels are cuts, side by side: a leaf that ended above stands in P once for each level from its own on, and a label
    that is a leaf has its share of q at each of them. A sample's unlabelled levels take part in neither q nor P, as if
    the tree had its labelled levels only: they would otherwise be pushed towards no mass at all.

    Args:
        level_weights: q of each level, before it is made to sum to 1 over a sample's labelled levels: one number
            (uniform, as published), a list of one a level, or numbers by level name (others: 0). A level of weight 0
            stays in P, and is pushed towards no mass. One at least must be positive.
    """
    weights = tuple(per_level("level_weights", level_weights, taxonomy)[0])
    if not any(weights):
        raise UserError("level_weights are all 0; at least one must be positive")
    if reading is None and taxonomy.is_even and paths.device.type == "cpu" and len(paths) and (paths >= 0).all():
        share = constant(tuple(weight / sum(weights) for weight in weights), logits)
        log_p = at_least_float32(logits).log_softmax(dim=1).gather(1, paths)
        return -torch.special.entr(share).sum() - (log_p @ share.to(log_p.dtype)).mean()
    padded, lse, label = reading or read_levels(logits, paths, taxonomy)
    known = padded >= 0
    # A sample without labels keeps all levels: the logsumexp of nothing has no gradient.
    left_out = ~known & known.any(dim=1, keepdim=True)
    share = known * constant(weights, label)
    total = share.sum(dim=1, keepdim=True)
    share = share / total.where(total > 0, 1.0)
    entropy = torch.special.entr(share).sum(dim=1)
    mean_logit = (share * label.masked_fill(~known, 0)).sum(dim=1)
    divergence = lse.masked_fill(left_out, -torch.inf).logsumexp(dim=1) - mean_logit - entropy
    return mean_over_samples(divergence.masked_fill(total[:, 0] == 0, 0), paths)


@torch.no_grad()
def level_logit_spread(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Scale of each level's logits ``[L]``: their standard deviation over the nodes at its depth, averaged over the
    batch of at least one; NaN for a level of one node, which has no scale. O(B·N)."""
    levels = at_least_float32(logits).split(taxonomy.level_sizes, dim=1)
    return torch.stack(
        [level.std(dim=1).mean() if level.shape[1] > 1 else level.new_tensor(torch.nan) for level in levels]
    )


def level_consistency(logits: Tensor, paths: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Jensen–Shannon divergence between each level's softmax and the level below summed into it.

    At most log 2; the mean over pairs of neighbouring levels and over samples. Levels are cuts, so every node has its
    counterpart: an inner node the sum of its children, a leaf that has ended itself. It reads no labels, so every
    sample counts. 0 for a tree of one level.

    Near HAF (Garg et al., "Learning Hierarchy Aware Features for Reducing Mistake Severity", ECCV 2022), where
    the sums of the leaves' softmax teach each coarser level.
    """
    taxonomy = taxonomy.to(logits.device)
    levels = at_least_float32(logits).split(taxonomy.level_sizes, dim=1)
    is_leaf, ended = taxonomy.num_children == 0, None
    total = logits.new_zeros(())
    for upper, parent in reversed(list(steps_up(taxonomy))):
        here = levels[upper]
        leaves = here.where(is_leaf[taxonomy.level_slices[upper]], -torch.inf)
        below = segment_logsumexp(leaves, levels[upper + 1], parent)
        if ended is not None:  # what ended above both cuts is one column of both, whose divergence is that of its sum
            here, below = torch.cat([ended, here], dim=1), torch.cat([ended, below], dim=1)
        total = total + _jensen_shannon(here.log_softmax(dim=1), below.log_softmax(dim=1)).sum()
        if taxonomy.leaf_counts[upper]:
            leaves = leaves if ended is None else torch.cat([ended, leaves], dim=1)
            ended = leaves.logsumexp(dim=1, keepdim=True)
    return total / max(1, len(logits) * (taxonomy.num_levels - 1))


def _jensen_shannon(log_p: Tensor, log_q: Tensor) -> Tensor:
    """``[B]`` from log-probabilities ``[B, n]``."""
    log_middle = torch.logaddexp(log_p, log_q) - math.log(2)
    halves = [F.kl_div(log_middle, x, reduction="none", log_target=True) for x in (log_p, log_q)]
    return (halves[0] + halves[1]).sum(dim=1) / 2
