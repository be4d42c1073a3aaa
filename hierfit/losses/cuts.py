"""Losses with a softmax over the cut of each level: cross-entropy smoothed among siblings (HiSCE), TP-KL, and the
consistency of neighbouring levels."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from hierfit.errors import UserError
from hierfit.losses import levels
from hierfit.losses.levels import LevelReading, OverLevels, PerLevel, constant, read_levels
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.cuts import once_a_tree, sibling_families
from hierfit.taxonomy.upward import segment_logsumexp, steps_up
from hierfit.tensors import at_least_float32

RootSiblings: TypeAlias = Literal["siblings", "unsmoothed"]
"""Whether the roots of the tree are siblings of each other or have none."""

SmoothedFamilies: TypeAlias = Literal["tree"] | int
"""Whether the siblings are those of the tree, or strangers: the control that tells the tree from smoothing."""


def sibling_smoothed_cross_entropy(
    logits: Tensor,
    paths: Tensor,
    taxonomy: Taxonomy,
    *,
    epsilon: PerLevel = 0.1,
    roots: RootSiblings = "siblings",
    families: SmoothedFamilies = "tree",
    over_levels: OverLevels = "mean",
    reading: LevelReading | None = None,
) -> Tensor:
    """Hierarchy-sibling smoothed cross-entropy (HiSCE): a label gives ε to its siblings, in equal parts.

    Source: Li et al., arXiv 2512.21529, 2025; a reconstruction from its published formula, which is the sum
    over levels (``over_levels="sum"``). A label without siblings keeps all its mass; one that is a leaf is, below its
    own level, its own only child. Smoothing adds to cross-entropy ε·(the label's logit − the mean of its siblings'),
    so only the label's family is read besides.

    Args:
        epsilon: ε in [0, 1): one number, a list of one a level, or numbers by level name (others: 0). Under the name
            ``leaf``, ε of the leaves at whatever depth, while the level names hold for inner nodes only; but where a
            level is called ``leaf``, that is what the name means.
        roots: ``siblings``: the roots smooth among each other; ``unsmoothed``: their ε is 0.
        families: ``tree``, or the seed of a shuffle: families of the same sizes, but of nodes that have changed places
            (see `shuffled_places`). Labels stay as they are. `data.tree: shuffled` sets it to the run's seed.
        over_levels: As in `level_cross_entropy`, which is this at ε = 0.
    """
    levels.check_choice("over_levels", over_levels, ("mean", "sum"))
    if families != "tree" and (type(families) is not int or families < 0):
        raise UserError(f"families is {families!r}; it must be tree, or the seed of a shuffle")
    inner, leaf = _rates(taxonomy, epsilon, roots)
    taxonomy = taxonomy.to(logits.device)
    padded, lse, label = reading or read_levels(logits, paths, taxonomy)
    loss = list((lse - label).unbind(dim=1))
    smoothed = [level for level in range(taxonomy.num_levels) if max(inner[level], leaf[level]) > 0]
    for level, lead in _leads(logits, label, padded, taxonomy, smoothed, families).items():
        node = padded[:, level]
        rate: Tensor | float = inner[level]
        if leaf[level] != inner[level]:
            is_leaf = (taxonomy.num_children[node.clamp_min(0)] == 0).to(lead.dtype)
            rate = inner[level] + (leaf[level] - inner[level]) * is_leaf
        smoothing = rate * lead
        if not taxonomy.is_even:
            smoothing = smoothing.where(node >= taxonomy.level_slices[level].start, 0)
        loss[level] = loss[level] + smoothing
    return levels.mean_over_labels(torch.stack(loss, dim=1), padded, over_levels)


def describe_hisce(
    taxonomy: Taxonomy,
    *,
    epsilon: PerLevel = 0.1,
    roots: RootSiblings = "siblings",
    families: SmoothedFamilies = "tree",
    **_: object,
) -> str:
    """One line on how many classes the loss acts on with these options: those with siblings where ε is positive."""
    inner, leaf = _rates(taxonomy, epsilon, roots)
    is_leaf, has_siblings = taxonomy.num_children == 0, sibling_families(taxonomy).size[taxonomy.group] > 1
    kinds = [(" inner nodes", ~is_leaf, inner), (" leaves", is_leaf, leaf)]
    shares = []
    for level, nodes in enumerate(taxonomy.level_slices):
        for what, kind, rates in kinds if inner != leaf else [("", is_leaf | True, inner)]:
            acted_on = has_siblings[nodes][kind[nodes]]
            if rates[level] > 0 and len(acted_on):
                where = f"{what} at {taxonomy.levels[level]} (ε {rates[level]:g})"
                shares.append(f"{int(acted_on.sum())} of {len(acted_on)}{where}")
    which = "" if families == "tree" else f", families shuffled (seed {families})"
    return f"HiSCE acts on {', '.join(shares)}{which}" if shares else "HiSCE smooths no level: it is level_ce"


def _rates(taxonomy: Taxonomy, epsilon: PerLevel, roots: RootSiblings) -> tuple[list[float], list[float]]:
    """ε by level ``[L]`` of inner nodes, and of leaves."""
    levels.check_choice("roots", roots, ("siblings", "unsmoothed"))
    inner, of_leaves = levels.per_level("epsilon", epsilon, taxonomy, below=1.0, leaves=True)
    leaf = inner if of_leaves is None else [of_leaves] * taxonomy.num_levels
    return (inner, leaf) if roots == "siblings" else ([0.0, *inner[1:]], [0.0, *leaf[1:]])


def _leads(
    logits: Tensor, label: Tensor, padded: Tensor, taxonomy: Taxonomy, smoothed: list[int], families: SmoothedFamilies
) -> dict[int, Tensor]:
    """The label's logit less the mean of its siblings' ``[B]`` for every smoothed level, 0 for an only child; of labels
    that are unknown or ended above it is any number. A family is a window of the node axis, as wide as its level's
    widest."""
    if not smoothed:
        return {}
    known = sibling_families(taxonomy)
    place, occupant = (None, None) if families == "tree" else _shuffled(taxonomy, families)
    windows, sizes, outside = [], [], []
    for level in smoothed:
        node = padded[:, level].clamp_min(taxonomy.level_slices[level].start)
        group = taxonomy.group[node if place is None else place[node]]
        offset = torch.arange(known.widest[level], device=node.device)
        windows.append((known.first[group][:, None] + offset).clamp_max(taxonomy.num_nodes - 1))
        outside.append(offset >= known.size[group][:, None])
        sizes.append(known.size[group].to(label.dtype))
    # One gather for all levels: the backward of each fills a [B, N] with zeros.
    columns = torch.cat(windows, dim=1)
    members = at_least_float32(logits.gather(1, columns if occupant is None else occupant[columns]))
    parted = members.masked_fill(torch.cat(outside, dim=1), 0).split([w.shape[1] for w in windows], dim=1)
    return {
        level: (label[:, level] - family.sum(dim=1) / size) * (size / (size - 1).clamp_min(1))
        for level, family, size in zip(smoothed, parted, sizes, strict=True)
    }


@once_a_tree
def _shuffled(taxonomy: Taxonomy, seed: int) -> tuple[Tensor, Tensor]:
    """Where each node stands ``[N]``, and who stands there ``[N]``."""
    from hierfit.taxonomy.shuffle import shuffled_places

    place = shuffled_places(taxonomy, seed)
    return place, place.argsort()


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
    within the levels plus KL(uniform‖M), where M_l is the mass of level l under P: it reads no edge of the tree, and
    only evens out the levels' logsumexp, so levels should share one logit scale (see `level_logit_spread`).

    Levels are cuts, side by side: a leaf that ended above stands in P once for each level from its own on, and a label
    that is a leaf has its share of q at each of them. A sample's unlabelled levels take part in neither q nor P.

    Args:
        level_weights: q of each level, before it is made to sum to 1 over a sample's labelled levels: one number
            (uniform, as published), a list of one a level, or numbers by level name (others: 0). A level of weight 0
            stays in P, and is pushed towards no mass. One at least must be positive.
    """
    weights = tuple(levels.per_level("level_weights", level_weights, taxonomy)[0])
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
    return levels.mean_over_samples(divergence.masked_fill(total[:, 0] == 0, 0), paths)


@torch.no_grad()
def level_logit_spread(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Scale of each level's logits ``[L]``: their standard deviation over the nodes at its depth, averaged over the
    batch of at least one; NaN for a level of one node, which has no scale. O(B·N)."""
    parts = at_least_float32(logits).split(taxonomy.level_sizes, dim=1)
    return torch.stack([part.std(dim=1).mean() if part.shape[1] > 1 else part.new_tensor(torch.nan) for part in parts])


def level_consistency(logits: Tensor, paths: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Jensen–Shannon divergence between each level's softmax and the level below summed into it, at most log 2.

    The mean over pairs of neighbouring levels and over samples, labelled or not; 0 for a tree of one level. Levels are
    cuts: an inner node's counterpart is the sum of its children, that of a leaf that has ended is itself. Near HAF
    (Garg et al., ECCV 2022), where the sums of the leaves' softmax teach each coarser level.
    """
    taxonomy = taxonomy.to(logits.device)
    parts = at_least_float32(logits).split(taxonomy.level_sizes, dim=1)
    is_leaf, ended = taxonomy.num_children == 0, None
    total = logits.new_zeros(())
    for upper, parent in reversed(list(steps_up(taxonomy))):
        here = parts[upper]
        leaves = here.where(is_leaf[taxonomy.level_slices[upper]], -torch.inf)
        below = segment_logsumexp(leaves, parts[upper + 1], parent)
        if ended is not None:  # what ended above both cuts is one column of both, whose divergence is that of its sum
            here, below = torch.cat([ended, here], dim=1), torch.cat([ended, below], dim=1)
        log_p, log_q = here.log_softmax(dim=1), below.log_softmax(dim=1)
        log_middle = torch.logaddexp(log_p, log_q) - math.log(2)
        halves = [F.kl_div(log_middle, x, reduction="none", log_target=True) for x in (log_p, log_q)]
        total = total + ((halves[0] + halves[1]).sum(dim=1) / 2).sum()
        if taxonomy.leaf_counts[upper]:
            leaves = leaves if ended is None else torch.cat([ended, leaves], dim=1)
            ended = leaves.logsumexp(dim=1, keepdim=True)
    return total / max(1, len(logits) * (taxonomy.num_levels - 1))
