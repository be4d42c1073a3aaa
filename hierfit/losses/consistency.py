"""Consistency between levels: does a level say what the level below it adds up to?"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from hierfit.losses.cuts import ended_leaves
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.upward import segment_logsumexp, steps_up
from hierfit.tensors import at_least_float32


def level_consistency(logits: Tensor, paths: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Jensen–Shannon divergence between each level's softmax and the level below summed into it.

    In nats, at most log 2; the mean over pairs of neighbouring levels and over samples. Levels are cuts, so every node
    has its counterpart: an inner node the sum of its children, a leaf that has ended itself. It reads no labels, so
    every sample counts.

    Near HAF (Garg et al., "Learning Hierarchy Aware Features for Reducing Mistake Severity", ECCV 2022), where
    the sums of the leaves' softmax teach each coarser level.

    Args:
        logits: Scores ``[B, N]``.
        paths: Node ids ``[B, L]``; not read, here so that all losses are called alike.
        taxonomy: The tree; a leaf may lie at any level.

    Returns:
        A scalar; 0 for a tree of one level or an empty batch. O(B·N).
    """
    taxonomy = taxonomy.to(logits.device)
    levels = at_least_float32(logits).split(taxonomy.level_sizes, dim=1)
    total = logits.new_zeros(())
    ended = _ended_above(levels, taxonomy)
    pairs = _counterparts(taxonomy, taxonomy.parent.device)
    for upper, (leaves, counterpart) in zip(reversed(range(taxonomy.num_levels - 1)), pairs, strict=True):
        # What ended above both cuts is the same in both but for one factor, so its divergence is that of its sum.
        here = None if leaves is None else levels[upper].index_select(1, leaves)
        said = _side_by_side(ended[upper], levels[upper])
        below = _side_by_side(ended[upper], here, levels[upper + 1])
        nothing = torch.full_like(said, -torch.inf)
        added = segment_logsumexp(nothing, below.log_softmax(dim=1), counterpart)
        total = total + _jensen_shannon(said.log_softmax(dim=1), added).sum()
    return total / max(1, len(logits) * (taxonomy.num_levels - 1))


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _counterparts(taxonomy: Taxonomy, device: torch.device) -> list[tuple[Tensor | None, Tensor]]:
    """For each pair of levels, the finest first: where the leaves of the upper one are in it, and which column of the
    upper cut each column of the lower one adds to (the leaves that ended above both are one column, the first)."""
    above, pairs = ended_leaves(taxonomy).above, []
    for upper, parent in steps_up(taxonomy):
        leaves = (taxonomy.num_children[taxonomy.level_slices[upper]] == 0).nonzero()[:, 0]
        shift = int(above[upper] > 0)
        columns = torch.cat([torch.arange(shift, device=device), leaves + shift, parent + shift])
        pairs.append((leaves if len(leaves) else None, columns))
    return pairs


def _ended_above(levels: tuple[Tensor, ...], taxonomy: Taxonomy) -> list[Tensor | None]:
    """Logsumexp of the leaves that ended above each level ``[B, 1]``, None where there are none ``[L]``."""
    found: list[Tensor | None] = [None]
    pairs = _counterparts(taxonomy, taxonomy.parent.device)
    for level, (leaves, _) in zip(levels, reversed(pairs), strict=False):
        before = found[-1]
        if leaves is None:
            found.append(before)
            continue
        here = level.index_select(1, leaves).logsumexp(dim=1, keepdim=True)
        found.append(here if before is None else torch.logaddexp(before, here))
    return found


def _side_by_side(*parts: Tensor | None) -> Tensor:
    columns = [part for part in parts if part is not None]
    return columns[0] if len(columns) == 1 else torch.cat(columns, dim=1)


def _jensen_shannon(log_p: Tensor, log_q: Tensor) -> Tensor:
    """``[B]`` from log-probabilities ``[B, n]``."""
    log_middle = torch.logaddexp(log_p, log_q) - math.log(2)
    halves = [F.kl_div(log_middle, x, reduction="none", log_target=True) for x in (log_p, log_q)]
    return (halves[0] + halves[1]).sum(dim=1) / 2
