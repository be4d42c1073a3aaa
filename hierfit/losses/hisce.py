"""HiSCE: cross-entropy within each level, the label smoothed among its siblings only."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from hierfit.errors import UserError
from hierfit.losses.levels import LevelReading, OverLevels, at_least_float32, mean_over_labels, read_levels
from hierfit.losses.options import PerLevel, check_choice, per_level
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.shuffle import shuffled_places

Roots: TypeAlias = Literal["siblings", "unsmoothed"]
"""Whether the roots of the tree are siblings of each other or have none."""

Families: TypeAlias = Literal["tree"] | int
"""Siblings of the tree, or strangers, drawn by a seed: the control that tells the tree from smoothing."""


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
    """Hierarchy-sibling smoothed cross-entropy, in nats: a label gives ε to its siblings, in equal parts.

    Source: Li et al., arXiv 2512.21529, 2025; a reconstruction from its published formula, which is the sum
    over levels (``over_levels="sum"``). A label without siblings keeps all its mass. Smoothing adds to
    cross-entropy ε·(the label's logit − the mean of its siblings'), so only the label's family is read besides.

    Args:
        logits: Scores ``[B, N]``.
        paths: Node ids ``[B, L]`` coarse to fine, −1 where unknown or where a branch has ended.
        taxonomy: The tree.
        epsilon: ε in [0, 1): one number, a list of one a level, or numbers by level name (others: 0).
        roots: ``siblings``: the roots smooth among each other; ``unsmoothed``: their ε is 0.
        families: ``tree``, or the seed of a shuffle: families of the same sizes, but of nodes that have changed places
            (see `shuffled_places`). Labels stay as they are. `data.tree: shuffled` sets it to the run's seed.
        over_levels: ``mean`` or ``sum`` over the labelled levels of a sample; then the mean over samples with
            a label. The mean is `level_cross_entropy` at ε = 0.
        reading: ``read_levels(logits, paths, taxonomy)`` where it is at hand.

    Returns:
        A scalar; 0, still attached to the graph, if nothing is labelled. O(B·N).

    Raises:
        UserError: An option is outside its range, or ``epsilon`` does not fit the levels.
    """
    check_choice("over_levels", over_levels, ("mean", "sum"))
    if families != "tree" and (type(families) is not int or families < 0):
        raise UserError(f"families is {families!r}; it must be tree, or the seed of a shuffle")
    rates = _rates(taxonomy, epsilon, roots)
    lse, label = reading or read_levels(logits, paths, taxonomy)
    loss = list((lse - label).unbind(dim=1))
    smoothed = [level for level, rate in enumerate(rates) if rate > 0]
    if smoothed:
        means = _family_means(logits, paths, taxonomy.to(logits.device), smoothed, families)
        for level, (mean, size) in zip(smoothed, means, strict=True):
            # The lead over the siblings' mean; a family of one leaves exactly 0.
            lead = (label[:, level] - mean) * (size / (size - 1).clamp_min(1))
            loss[level] = loss[level] + rates[level] * lead
    return mean_over_labels(torch.stack(loss, dim=1), paths, over_levels)


def describe_hisce(
    taxonomy: Taxonomy,
    *,
    epsilon: PerLevel = 0.1,
    roots: Roots = "siblings",
    families: Families = "tree",
    **_: object,
) -> str:
    """One line on how many classes the loss acts on with these options: those with siblings where ε is positive."""
    rates = _rates(taxonomy, epsilon, roots)
    shares = [
        f"{acted_on} of {size} at {level} (ε {rate:g})"
        for acted_on, size, level, rate in zip(
            nodes_with_siblings(taxonomy), taxonomy.level_sizes, taxonomy.levels, rates, strict=True
        )
        if rate > 0
    ]
    which = "" if families == "tree" else f", families shuffled (seed {families})"
    return f"HiSCE acts on {', '.join(shares)}{which}" if shares else "HiSCE smooths no level: it is level_ce"


def nodes_with_siblings(taxonomy: Taxonomy) -> list[int]:
    """The number of nodes of each level that have a sibling ``[L]``; roots are siblings of each other."""
    lonely = taxonomy.group.bincount()[taxonomy.group] == 1
    return [int((~lonely[nodes]).sum()) for nodes in taxonomy.level_slices]


def _rates(taxonomy: Taxonomy, epsilon: PerLevel, roots: Roots) -> list[float]:
    check_choice("roots", roots, ("siblings", "unsmoothed"))
    rates = per_level("epsilon", epsilon, taxonomy, below=1.0)
    return rates if roots == "siblings" else [0.0, *rates[1:]]


def _family_means(
    logits: Tensor, paths: Tensor, taxonomy: Taxonomy, levels: list[int], families: Families
) -> list[tuple[Tensor, Tensor]]:
    """Mean logit and size of the labels' families ``[B]`` each, for every asked level.

    Siblings are neighbours: a family is a window of the node axis, as wide here as the widest of its level.
    """
    windows, sizes, outside = [], [], []
    place, occupant = (None, None) if families == "tree" else _places(taxonomy, taxonomy.parent.device, families)
    for level in levels:
        nodes = taxonomy.level_slices[level]
        label = paths[:, level].clamp_min(nodes.start)  # any node for an unknown one: it is masked later
        label = label if place is None else place[label]
        if level == 0:
            first, size, widest = torch.zeros_like(label), torch.full_like(label, nodes.stop), nodes.stop
        else:
            parent = taxonomy.parent[label]
            first, size = taxonomy.first_child[parent], taxonomy.num_children[parent]
            widest = int(taxonomy.num_children[taxonomy.level_slices[level - 1]].max())
        offset = torch.arange(widest, device=label.device)
        windows.append((first[:, None] + offset).clamp_max(taxonomy.num_nodes - 1))
        outside.append(offset >= size[:, None])
        sizes.append(size.to(torch.promote_types(logits.dtype, torch.float32)))
    # One gather for all levels: the backward of each fills a [B, N] with zeros.
    columns = torch.cat(windows, dim=1)
    members = at_least_float32(logits.gather(1, columns if occupant is None else occupant[columns]))
    parted = members.masked_fill(torch.cat(outside, dim=1), 0).split([w.shape[1] for w in windows], dim=1)
    return [(family.sum(dim=1) / size, size) for family, size in zip(parted, sizes, strict=True)]


@lru_cache(maxsize=8)
def _places(taxonomy: Taxonomy, device: torch.device, seed: int) -> tuple[Tensor, Tensor]:
    """Where each node stands ``[N]``, and who stands there ``[N]``."""
    place = shuffled_places(taxonomy, seed).to(device)
    return place, place.argsort()
