"""HiSCE: cross-entropy within each level, the label smoothed among its siblings only."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from hierfit.errors import UserError
from hierfit.losses.levels import (
    LevelReading,
    OverLevels,
    PerLevel,
    check_choice,
    mean_over_labels,
    per_level,
    read_levels,
)
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.cuts import once_a_tree, sibling_families
from hierfit.taxonomy.shuffle import shuffled_places
from hierfit.tensors import at_least_float32

Roots: TypeAlias = Literal["siblings", "unsmoothed"]
"""Whether the roots of the tree are siblings of each other or have none."""

Families: TypeAlias = Literal["tree"] | int
"""Whether the siblings are those of the tree, or strangers: the control that tells the tree from smoothing."""


def sibling_smoothed_cross_entropy(
    logits: Tensor,
    paths: Tensor,
    taxonomy: Taxonomy,
    *,
    epsilon: PerLevel = 0.1,
    roots: Roots = "siblings",
    families: Families = "tree",
    over_levels: OverLevels = "mean",
    reading: LevelReading | None = None,
) -> Tensor:
    """Hierarchy-sibling smoothed cross-entropy: a label gives ε to its siblings, in equal parts.

    Source: Li et al., arXiv 2512.21529, 2025; a reconstruction from its published formula, which is the sum
    over levels (``over_levels="sum"``). A label without siblings keeps all its mass. Smoothing adds to
    cross-entropy ε·(the label's logit − the mean of its siblings'), so only the label's family is read besides.

    Levels are cuts: a label that is a leaf counts at its own level and, as itself, at every deeper one. Below its own
    level it is its own only child, and so is not smoothed: a chain of only children costs what its end alone does.

    Args:
        epsilon: ε in [0, 1): one number, a list of one a level, or numbers by level name (others: 0). Under the name
            ``leaf``, ε of the leaves at whatever depth, while the level names hold for inner nodes only; but where a
            level is called ``leaf``, that is what the name means.
        roots: ``siblings``: the roots smooth among each other; ``unsmoothed``: their ε is 0.
        families: ``tree``, or the seed of a shuffle: families of the same sizes, but of nodes that have changed places
            (see `shuffled_places`). Labels stay as they are. `data.tree: shuffled` sets it to the run's seed.
        over_levels: ``mean`` or ``sum`` over the labelled levels of a sample. The mean is `level_cross_entropy` at
            ε = 0.
    """
    check_choice("over_levels", over_levels, ("mean", "sum"))
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
    return mean_over_labels(torch.stack(loss, dim=1), padded, over_levels)


def describe_hisce(
    taxonomy: Taxonomy,
    *,
    epsilon: PerLevel = 0.1,
    roots: Roots = "siblings",
    families: Families = "tree",
    **_: object,
) -> str:
    """One line on how many classes the loss acts on with these options: those with siblings where ε is positive."""
    inner, leaf = _rates(taxonomy, epsilon, roots)
    is_leaf = taxonomy.num_children == 0
    has_siblings = sibling_families(taxonomy).size[taxonomy.group] > 1
    shares = []
    for level, nodes in enumerate(taxonomy.level_slices):
        kinds = [("", torch.ones_like(is_leaf[nodes]), inner[level])]
        if leaf[level] != inner[level]:
            kinds = [(" inner nodes", ~is_leaf[nodes], inner[level]), (" leaves", is_leaf[nodes], leaf[level])]
        for what, chosen, rate in kinds:
            acted_on = has_siblings[nodes][chosen]
            if rate > 0 and len(acted_on):
                level_name = taxonomy.levels[level]
                shares.append(f"{int(acted_on.sum())} of {len(acted_on)}{what} at {level_name} (ε {rate:g})")
    which = "" if families == "tree" else f", families shuffled (seed {families})"
    return f"HiSCE acts on {', '.join(shares)}{which}" if shares else "HiSCE smooths no level: it is level_ce"


def _rates(taxonomy: Taxonomy, epsilon: PerLevel, roots: Roots) -> tuple[list[float], list[float]]:
    """ε by level ``[L]`` of inner nodes, and of leaves."""
    check_choice("roots", roots, ("siblings", "unsmoothed"))
    inner, of_leaves = per_level("epsilon", epsilon, taxonomy, below=1.0, leaves=True)
    leaf = inner if of_leaves is None else [of_leaves] * taxonomy.num_levels
    return (inner, leaf) if roots == "siblings" else ([0.0, *inner[1:]], [0.0, *leaf[1:]])


def _leads(
    logits: Tensor, label: Tensor, padded: Tensor, taxonomy: Taxonomy, levels: list[int], families: Families
) -> dict[int, Tensor]:
    """The label's logit over the mean of its siblings' ``[B]`` for every asked level, 0 for an only child; of labels
    that are unknown or ended above it is any number.

    Siblings are neighbours: a family is a window of the node axis, as wide here as the widest of its level.
    """
    if not levels:
        return {}
    known = sibling_families(taxonomy)
    place, occupant = (None, None) if families == "tree" else _places(taxonomy, families)
    windows, sizes, outside = [], [], []
    for level in levels:
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
        for level, family, size in zip(levels, parted, sizes, strict=True)
    }


@once_a_tree
def _places(taxonomy: Taxonomy, seed: int) -> tuple[Tensor, Tensor]:
    """Where each node stands ``[N]``, and who stands there ``[N]``."""
    place = shuffled_places(taxonomy, seed)
    return place, place.argsort()
