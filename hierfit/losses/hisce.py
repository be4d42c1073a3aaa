"""HiSCE: cross-entropy within each level, the label smoothed among its siblings only."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from hierfit.errors import UserError
from hierfit.losses.cuts import ended_leaves, sibling_families
from hierfit.losses.levels import LevelReading, OverLevels, at_least_float32, mean_over_labels, read_levels
from hierfit.losses.options import PerLevel, check_choice, per_level_and_leaves
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

    Levels are cuts: a label that is a leaf counts at its own level and, as itself, at every deeper one. Its siblings
    are the nodes *of that cut* with its parent: at its own level all of them, on deeper levels those that are leaves
    too, since an inner sibling is there no longer, but what is below it. ε is that of the level in question.

    Args:
        logits: Scores ``[B, N]``.
        paths: Node ids ``[B, L]`` coarse to fine, −1 where unknown or where a branch has ended.
        taxonomy: The tree; a leaf may lie at any level.
        epsilon: ε in [0, 1): one number, a list of one a level, or numbers by level name (others: 0). Under the name
            ``leaf``, ε of the leaves at whatever depth, on all their levels, while the level names hold for inner nodes
            only; but where a level is called ``leaf``, that is what the name means.
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
    check_choice("roots", roots, ("siblings", "unsmoothed"))
    rates = _rates(taxonomy, epsilon, roots)
    taxonomy = taxonomy.to(logits.device)
    padded, lse, label = reading or read_levels(logits, paths, taxonomy)
    loss = list((lse - label).unbind(dim=1))
    at_depth = [level for level in range(taxonomy.num_levels) if _smooths_at_depth(level, rates, taxonomy)]
    above = ended_leaves(taxonomy).above
    deeper = [level for level in range(taxonomy.num_levels) if above[level] and rates.leaf[level] > 0]
    leads, lead_of_ended = _leads(logits, label, padded, taxonomy, at_depth, bool(deeper), families)
    if lead_of_ended is not None and roots == "unsmoothed":
        lead_of_ended = lead_of_ended.where(padded[:, -1] >= taxonomy.level_sizes[0], 0)
    for level in sorted({*at_depth, *deeper}):
        smoothing: Tensor | float = 0.0
        if level in leads:
            smoothing = _rate_at_depth(level, padded, rates, taxonomy, label.dtype) * leads[level]
        if above[level]:
            ended = padded[:, level] < taxonomy.level_slices[level].start
            of_ended = rates.leaf[level] * lead_of_ended if lead_of_ended is not None else torch.zeros_like(lse[:, 0])
            smoothing = of_ended.where(ended, smoothing)
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
    rates = _rates(taxonomy, epsilon, roots)
    acted_on = nodes_with_siblings(taxonomy, inner_only=rates.apart, roots=roots)
    what = " inner nodes" if rates.apart else ""
    shares = [
        f"{count} of {size}{what} at {level} (ε {rate:g})"
        for (count, size), level, rate in zip(acted_on, taxonomy.levels, rates.inner, strict=True)
        if rate > 0 and size
    ]
    if rates.apart and (rate := max(rates.leaf)) > 0:
        lonely = sibling_families(taxonomy).size[taxonomy.group[taxonomy.leaves]] == 1
        if roots == "unsmoothed":
            lonely |= taxonomy.level[taxonomy.leaves] == 0
        shares.append(f"{int((~lonely).sum())} of {taxonomy.num_leaves} leaves (ε {rate:g})")
    which = "" if families == "tree" else f", families shuffled (seed {families})"
    return f"HiSCE acts on {', '.join(shares)}{which}" if shares else "HiSCE smooths no level: it is level_ce"


def nodes_with_siblings(
    taxonomy: Taxonomy, *, inner_only: bool = False, roots: Roots = "siblings"
) -> list[tuple[int, int]]:
    """How many nodes of each level's cut have a sibling in it, and how many there are ``[L]``.

    Args:
        taxonomy: The tree.
        inner_only: Count inner nodes only.
        roots: Whether roots are siblings of each other.
    """
    families, counts = sibling_families(taxonomy), []
    for level in range(taxonomy.num_levels):
        nodes = taxonomy.cut(level)
        ended = taxonomy.level[nodes] < level
        group = taxonomy.group[nodes]
        siblings = torch.where(ended, families.leaves[group], families.size[group]) > 1
        if roots == "unsmoothed":
            siblings &= taxonomy.level[nodes] > 0
        if inner_only:
            siblings = siblings[taxonomy.num_children[nodes] > 0]
        counts.append((int(siblings.sum()), len(siblings)))
    return counts


class _Rates(NamedTuple):
    """ε by level ``[L]`` of inner nodes and of leaves, and whether leaves have one of their own."""

    inner: list[float]
    leaf: list[float]
    apart: bool


def _rates(taxonomy: Taxonomy, epsilon: PerLevel, roots: Roots) -> _Rates:
    inner, of_leaves = per_level_and_leaves("epsilon", epsilon, taxonomy, below=1.0)
    leaf = inner if of_leaves is None else [of_leaves] * taxonomy.num_levels
    if roots == "unsmoothed":
        inner = [0.0, *inner[1:]]
        leaf = [0.0, *leaf[1:]]
    return _Rates(inner, leaf, of_leaves is not None)


def _smooths_at_depth(level: int, rates: _Rates, taxonomy: Taxonomy) -> bool:
    has_inner, has_leaves = sibling_families(taxonomy).kinds[level]
    return (has_inner and rates.inner[level] > 0) or (has_leaves and rates.leaf[level] > 0)


def _rate_at_depth(level: int, padded: Tensor, rates: _Rates, taxonomy: Taxonomy, dtype: torch.dtype) -> Tensor | float:
    """ε of the labels at a level's depth: one number, or ``[B]`` where its leaves and inner nodes differ in it."""
    has_inner, has_leaves = sibling_families(taxonomy).kinds[level]
    inner, leaf = rates.inner[level], rates.leaf[level]
    if inner == leaf or not has_leaves:
        return inner
    if not has_inner:
        return leaf
    is_leaf = (taxonomy.num_children[padded[:, level].clamp_min(0)] == 0).to(dtype)
    return inner + (leaf - inner) * is_leaf


def _leads(
    logits: Tensor,
    label: Tensor,
    padded: Tensor,
    taxonomy: Taxonomy,
    at_depth: list[int],
    deeper: bool,
    families: Families,
) -> tuple[dict[int, Tensor], Tensor | None]:
    """The label's logit over the mean of its siblings' ``[B]``, 0 for an only child: for labels at the depth of each
    asked level, and for labels that ended above the last level, among the leaves.

    Siblings are neighbours: a family is a window of the node axis, as wide here as the widest of its level; its leaves
    are a window of the leaf axis.
    """
    known = sibling_families(taxonomy)
    place, occupant = (None, None) if families == "tree" else _places(taxonomy, taxonomy.parent.device, families)
    windows, sizes, outside, heads = [], [], [], []

    def add(node: Tensor, head: Tensor, first: Tensor, size: Tensor, widest: int, axis: Tensor | None) -> None:
        group = taxonomy.group[node if place is None else place[node]]
        offset = torch.arange(widest, device=node.device)
        columns = first[group][:, None] + offset
        columns = columns.clamp_max(taxonomy.num_nodes - 1) if axis is None else axis[columns.clamp_max(len(axis) - 1)]
        windows.append(columns if occupant is None else occupant[columns])
        outside.append(offset >= size[group][:, None])
        sizes.append(size[group].to(label.dtype))
        heads.append(head)

    for level in at_depth:  # any node stands for an unknown label, and for one that ended above: they are masked later
        node = padded[:, level].clamp_min(taxonomy.level_slices[level].start)
        add(node, label[:, level], known.first, known.size, known.widest[level], None)
    if deeper:
        leaf = padded[:, -1].clamp_min(0)
        add(leaf, label[:, -1], known.first_leaf, known.leaves, known.most_ended, taxonomy.leaves)
    if not windows:
        return {}, None
    # One gather for all levels: the backward of each fills a [B, N] with zeros.
    members = at_least_float32(logits.gather(1, torch.cat(windows, dim=1)))
    parted = members.masked_fill(torch.cat(outside, dim=1), 0).split([w.shape[1] for w in windows], dim=1)
    leads = [
        (head - family.sum(dim=1) / size.clamp_min(1)) * (size / (size - 1).clamp_min(1))
        for head, family, size in zip(heads, parted, sizes, strict=True)
    ]
    return dict(zip(at_depth, leads, strict=False)), leads[-1] if deeper else None


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _places(taxonomy: Taxonomy, device: torch.device, seed: int) -> tuple[Tensor, Tensor]:
    """Where each node stands ``[N]``, and who stands there ``[N]``.

    Leaves change with leaves and inner nodes with inner nodes, so that a leaf's strangers are on every deeper level
    where its siblings were.
    """
    place = shuffled_places(taxonomy, seed).to(device)
    return place, place.argsort()
