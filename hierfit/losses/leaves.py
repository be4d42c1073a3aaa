"""Losses with one softmax over the leaves: inner nodes are the sums of the leaves below, their own logits not read.

The logits of inner nodes get no gradient; `leaf_marginals` reads them from the leaves.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from hierfit.losses.levels import check_number, constant, deepest_label, mean_over_samples
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.cuts import once_a_tree
from hierfit.taxonomy.upward import node_heights, steps_up
from hierfit.tensors import at_least_float32


def leaf_cross_entropy(logits: Tensor, paths: Tensor, taxonomy: Taxonomy) -> Tensor:
    """−log p(the finest known node), whose probability is the sum over the leaves below it.

    Plain leaf cross-entropy for a leaf, and for a coarser label no preference among its leaves.
    """
    taxonomy = taxonomy.to(logits.device)
    deepest = deepest_label(paths)
    label = deepest.clamp_min(0)
    # Masses of inner nodes take four times as long as all the rest, and leaves do without. On an accelerator it would
    # take longer to ask whether there are other labels.
    if logits.device.type != "cpu" or ((taxonomy.num_children[label] > 0) & (deepest >= 0)).any():
        return hierarchy_aware_cross_entropy(logits, paths, taxonomy, dilution=0.0)
    logits = at_least_float32(logits)
    total = logits.index_select(1, taxonomy.leaves).logsumexp(dim=1)
    return mean_over_samples(total - logits.gather(1, label[:, None])[:, 0], paths)


def hierarchical_cross_entropy(logits: Tensor, paths: Tensor, taxonomy: Taxonomy, *, alpha: float = 0.1) -> Tensor:
    """Σ over the path of exp(−α·d(v))·(−log p(v | parent of v)), down to the finest known node.

    Source: Bertinetto et al., "Making Better Mistakes", CVPR 2020, without its normalisation of the weights.
    d(v) is 0 for the first decision, between the children of the root (of a virtual one in a forest), and grows
    downwards: with a greater α ≥ 0, of two mistakes the one nearby costs less; α = 0 is leaf cross-entropy.
    """
    alpha, logits = check_number("alpha", alpha), at_least_float32(logits)
    places = _places_of(paths, taxonomy)
    # A single root is certain, so the edge into it decides nothing.
    first = int(taxonomy.level_sizes[0] == 1)
    weights = tuple(math.exp(-alpha * max(0, level - first)) for level in range(taxonomy.num_levels))
    weight = (places[1:] > 0) * constant(weights, logits)[:, None]
    # Each decision costs the mass above it less the one below.
    return _weighted_masses(logits, places, F.pad(weight, (0, 0, 0, 1)) - F.pad(weight, (0, 0, 1, 0)), taxonomy)


def hierarchy_aware_cross_entropy(
    logits: Tensor, paths: Tensor, taxonomy: Taxonomy, *, dilution: float = 0.5
) -> Tensor:
    """Σ over the path of w(v)·(−log p(v)); w sums to 1 and falls by the factor ``dilution`` in [0, 1) a step up.

    Source: Chan et al., "When Labels Have Structure", arXiv 2605.06274, 2026, from its abstract and its public code
    (0.2, 0.5 and 0.7 are tried there; 0 is leaf cross-entropy). That w sums to 1 over the path is our reading. A single
    root, which is certain, costs nothing but has its share.
    """
    dilution, logits = check_number("dilution", dilution, below=1.0), at_least_float32(logits)
    places = _places_of(paths, taxonomy)
    known = places[1:] > 0
    powers = constant(tuple(dilution**step for step in range(taxonomy.num_levels)), logits)
    weight = powers[(known.sum(dim=0) - known.cumsum(dim=0)).clamp_min(0)].masked_fill(~known, 0)
    weight = weight / weight.sum(dim=0).clamp_min(1)
    return _weighted_masses(logits, places, torch.cat([weight.sum(dim=0, keepdim=True), -weight]), taxonomy)


def soft_label_cross_entropy(logits: Tensor, paths: Tensor, taxonomy: Taxonomy, *, beta: float = 10.0) -> Tensor:
    """Cross-entropy with targets ∝ exp(−β·d(leaf, label)), β ≥ 0.

    Source: Bertinetto et al., "Making Better Mistakes", CVPR 2020. d is the height of the two nodes' lowest
    common ancestor over the height of the tree; a virtual root joins a forest. β → ∞ is leaf cross-entropy,
    β = 0 the uniform target. A label above the leaves is equally near to all leaves below it.
    """
    beta, logits = check_number("beta", beta), at_least_float32(logits)
    taxonomy, label = taxonomy.to(logits.device), deepest_label(paths)
    nodes = label.clamp_min(0)
    if taxonomy.num_nodes * taxonomy.num_leaves <= _TABLE:
        targets = _all_soft_labels(taxonomy, beta, logits.dtype).index_select(0, nodes)
    else:
        targets = _soft_labels(nodes, taxonomy, beta, logits.dtype)
    own = logits[:, -taxonomy.num_leaves :] if taxonomy.is_even else logits.index_select(1, taxonomy.leaves)
    return -torch.linalg.vecdot(targets, own.log_softmax(dim=1)) @ _shares(label >= 0, logits)


_TABLE = 2**23  # most numbers of a table of nodes by leaves that is kept


@once_a_tree
def _all_soft_labels(taxonomy: Taxonomy, beta: float, dtype: torch.dtype) -> Tensor:
    """The targets of each node ``[N, C]``."""
    return _soft_labels(torch.arange(taxonomy.num_nodes, device=taxonomy.parent.device), taxonomy, beta, dtype)


def _soft_labels(nodes: Tensor, taxonomy: Taxonomy, beta: float, dtype: torch.dtype) -> Tensor:
    """The targets of some nodes ``[n, C]``. O(n·C·L)."""
    path = taxonomy.paths(nodes)
    height = _heights(taxonomy)[path].masked_fill(path < 0, taxonomy.num_levels)
    # Distances count from the label's own height up, or a coarse label's targets would all be 0 at a large β.
    height = F.pad(height, (1, 0), value=taxonomy.num_levels) - height.amin(dim=1, keepdim=True)
    tree_height = taxonomy.num_levels - (taxonomy.level_sizes[0] == 1)
    closeness = (-beta / max(1, tree_height) * height.to(dtype)).exp()
    targets = closeness[:, :1].expand(-1, taxonomy.num_leaves)
    for level, of_leaves in enumerate(taxonomy.padded(taxonomy.leaf_paths).T):
        targets = torch.where(path[:, level, None] == of_leaves, closeness[:, level + 1, None], targets)
    return targets / targets.sum(dim=1, keepdim=True)


_heights = once_a_tree(node_heights)


def _shares(known: Tensor, like: Tensor) -> Tensor:
    """What each sample weighs in the mean over samples with a label ``[B]``: 0 without one."""
    known = known.to(like.dtype)
    return known / known.sum().clamp_min(1)


@once_a_tree
def _all_places(taxonomy: Taxonomy) -> Tensor:
    """Rows of the root and of each node's path, last of −1's ``[1 + L, N + 1]``; 0 below its end. Row 0 is the virtual
    root's, which has all leaves below it, row v + 1 that of node v."""
    nodes = torch.arange(taxonomy.num_nodes, device=taxonomy.parent.device)
    return F.pad(taxonomy.paths(nodes).T + 1, (0, 1, 1, 0)).contiguous()


def _places_of(paths: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Rows of the root, and of each label and its ancestors ``[1 + L, B]``; 0 below the label."""
    return _all_places(taxonomy.to(paths.device))[:, deepest_label(paths)]


def _weighted_masses(logits: Tensor, places: Tensor, weight: Tensor, taxonomy: Taxonomy) -> Tensor:
    """The mean over samples of Σ ``weight [1 + L, B]`` · mass (logsumexp over the leaves below a node, as
    `leaf_marginals` has it) in rows ``places [1 + L, B]``; the weight is 0 where a label knows nothing."""
    weight = weight * _shares(places[1:].any(dim=0), weight)
    loss: Tensor = _WeightedMasses.apply(logits, places, weight, taxonomy.to(logits.device))
    return loss


class _WeightedMasses(torch.autograd.Function):
    # Rows are nodes, so that adding up runs along memory: on a CPU twenty times as fast as columns. On the way back a
    # node's gradient is its own and its parent's times its share of the parent.

    @staticmethod
    def forward(ctx: Any, logits: Tensor, places: Tensor, weight: Tensor, taxonomy: Taxonomy) -> Tensor:
        rows = logits.new_empty(1 + taxonomy.num_nodes, len(logits))
        rows[1:].copy_(logits.T)
        rows.index_fill_(0, _inner_rows(taxonomy), -torch.inf)
        levels, kept = rows.split((1, *taxonomy.level_sizes)), []
        for upper, parent in _steps_to_root(taxonomy):
            own, below = levels[upper], levels[upper + 1]
            top = own.scatter_reduce(0, parent[:, None].expand_as(below), below, "amax")
            top.clamp_min_(torch.finfo(top.dtype).min)  # of a family that has nothing −inf comes out, and not NaN
            children = top.index_select(0, parent)
            torch.sub(below, children, out=children).exp_()
            total = (own - top).exp_().index_add_(0, parent, children)
            torch.add(total.log(), top, out=own)
            kept += [children, total]
        ctx.save_for_backward(places, weight, *kept)
        ctx.taxonomy = taxonomy
        return rows.gather(0, places).mul_(weight).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        places, weight, *kept = ctx.saved_tensors
        gradient = weight.new_zeros(1 + ctx.taxonomy.num_nodes, weight.shape[1]).scatter_add_(0, places, weight * grad)
        levels = gradient.split((1, *ctx.taxonomy.level_sizes))
        steps = zip(_steps_to_root(ctx.taxonomy), kept[::2], kept[1::2], strict=True)
        for (upper, parent), children, total in reversed(list(steps)):
            share = levels[upper].div_(total).index_select(0, parent)
            levels[upper + 1].addcmul_(share, children)
        return gradient.index_fill_(0, _inner_rows(ctx.taxonomy), 0.0)[1:].T, None, None, None


@once_a_tree
def _inner_rows(taxonomy: Taxonomy) -> Tensor:
    return F.pad(taxonomy.num_children.nonzero()[:, 0] + 1, (1, 0))


@once_a_tree
def _steps_to_root(taxonomy: Taxonomy) -> list[tuple[int, Tensor]]:
    """`steps_up` with the virtual root as the level above all others."""
    steps = [(upper + 1, parent) for upper, parent in steps_up(taxonomy)]
    return [*steps, (0, taxonomy.parent.new_zeros(taxonomy.level_sizes[0]))]
