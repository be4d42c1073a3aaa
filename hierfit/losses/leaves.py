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
from hierfit.taxonomy.upward import leaf_marginals, node_heights, steps_up
from hierfit.tensors import at_least_float32


def leaf_cross_entropy(logits: Tensor, paths: Tensor, taxonomy: Taxonomy) -> Tensor:
    """−log p(the finest known node), whose probability is the sum over the leaves below it.

    Plain leaf cross-entropy for a leaf, and for a coarser label no preference among its leaves.
    """
    taxonomy = taxonomy.to(logits.device)
    logits = at_least_float32(logits)
    deepest = deepest_label(paths)
    label = deepest.clamp_min(0)
    total = logits.index_select(1, taxonomy.leaves).logsumexp(dim=1)
    # Marginals take four times as long as all the rest, and leaves do without. On an accelerator it would take longer
    # to ask whether there are other labels.
    only_leaves = logits.device.type == "cpu" and bool(((taxonomy.num_children[label] == 0) | (deepest < 0)).all())
    mass = logits if only_leaves else leaf_marginals(logits, taxonomy)
    return mean_over_samples(total - mass.gather(1, label[:, None])[:, 0], paths)


def hierarchical_cross_entropy(logits: Tensor, paths: Tensor, taxonomy: Taxonomy, *, alpha: float = 0.1) -> Tensor:
    """Σ over the path of exp(−α·d(v))·(−log p(v | parent of v)).

    Source: Bertinetto et al., "Making Better Mistakes", CVPR 2020, without its normalisation of the weights.
    d(v) is the depth of the edge into v, counted from the root down: 0 for the first decision, between the children of
    the root (of a virtual one in a forest). A greater α ≥ 0 makes fine decisions count less, so that of two mistakes
    the one nearby costs less; α = 0 is leaf cross-entropy. The path ends at the finest known node.
    """
    alpha, logits = check_number("alpha", alpha), at_least_float32(logits)
    path = _label_paths(paths, taxonomy)
    # A single root is certain, so the edge into it decides nothing.
    first = int(taxonomy.level_sizes[0] == 1)
    depth = taxonomy.num_levels
    weights = [math.exp(-alpha * max(0, level - first)) for level in range(depth)]
    # Each decision costs the mass above it less the one below: [1 + L, L].
    costs = [
        weights[level] * ((row == level) - (row == level + 1)) for row in range(depth + 1) for level in range(depth)
    ]
    weight = constant(tuple(costs), logits).view(-1, depth) @ (path >= 0).to(logits.dtype)
    return _weighted_masses(logits, paths, path, weight, taxonomy)


def hierarchy_aware_cross_entropy(
    logits: Tensor, paths: Tensor, taxonomy: Taxonomy, *, dilution: float = 0.5
) -> Tensor:
    """Σ over the path of w(v)·(−log p(v)); w sums to 1 and falls by the factor ``dilution`` in [0, 1) a step up.

    Source: Chan et al., "When Labels Have Structure", arXiv 2605.06274, 2026, from its abstract and its public code:
    the label's mass is spread over its path with geometrically decaying weights (0.2, 0.5 and 0.7 are tried; 0 is leaf
    cross-entropy). That they are made to sum to 1 over the path is our reading. A single root, which is certain, costs
    nothing but has its share.
    """
    dilution, logits = check_number("dilution", dilution, below=1.0), at_least_float32(logits)
    path = _label_paths(paths, taxonomy)
    known = path >= 0
    powers = constant(tuple(dilution**step for step in range(taxonomy.num_levels)), logits)
    steps_up = (known.sum(dim=0) - known.cumsum(dim=0)).clamp_min(0)
    weight = powers[steps_up].masked_fill(~known, 0)
    weight = weight / weight.sum(dim=0).clamp_min(1)
    return _weighted_masses(logits, paths, path, torch.cat([weight.sum(dim=0, keepdim=True), -weight]), taxonomy)


def soft_label_cross_entropy(logits: Tensor, paths: Tensor, taxonomy: Taxonomy, *, beta: float = 10.0) -> Tensor:
    """Cross-entropy with targets ∝ exp(−β·d(leaf, label)), β ≥ 0.

    Source: Bertinetto et al., "Making Better Mistakes", CVPR 2020. d is the height of the two nodes' lowest
    common ancestor over the height of the tree; a virtual root joins a forest. β → ∞ is leaf cross-entropy,
    β = 0 the uniform target. A label above the leaves is equally near to all leaves below it.
    """
    beta = check_number("beta", beta)
    taxonomy = taxonomy.to(logits.device)
    logits, label = at_least_float32(logits), deepest_label(paths).clamp_min(0)
    if taxonomy.num_nodes * taxonomy.num_leaves <= _TABLE:
        targets = _all_soft_labels(taxonomy, beta, logits.dtype).index_select(0, label)
    else:
        targets = _soft_labels(label, taxonomy, beta, logits.dtype)
    own = logits[:, -taxonomy.num_leaves :] if taxonomy.is_even else logits.index_select(1, taxonomy.leaves)
    return mean_over_samples(-torch.linalg.vecdot(targets, own.log_softmax(dim=1)), paths)


_TABLE = 2**23
"""Most numbers of a table of nodes by leaves that is kept."""


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


def _label_paths(paths: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Each label with its ancestors ``[L, B]``, −1 below it."""
    return _all_paths(taxonomy.to(paths.device))[:, deepest_label(paths)]


@once_a_tree
def _all_paths(taxonomy: Taxonomy) -> Tensor:
    """Of each node, and last of −1 ``[L, N + 1]``."""
    nodes = torch.arange(taxonomy.num_nodes, device=taxonomy.parent.device)
    return F.pad(taxonomy.paths(nodes).T, (0, 1), value=-1).contiguous()


def _weighted_masses(logits: Tensor, paths: Tensor, path: Tensor, weight: Tensor, taxonomy: Taxonomy) -> Tensor:
    """The mean over samples of the weighted sum ``[1 + L, B]`` of the logsumexp over all leaves and over those below
    each node of ``path [L, B]``, as `leaf_marginals` has them."""
    loss: Tensor = _WeightedMasses.apply(logits, path, weight, taxonomy.to(logits.device))
    return mean_over_samples(loss, paths)


class _WeightedMasses(torch.autograd.Function):
    # Rows are nodes, so that adding up runs along memory: on a CPU twenty times as fast as columns. On the way back a
    # node's gradient is its own and its parent's times its share of the parent.

    @staticmethod
    def forward(ctx: Any, logits: Tensor, path: Tensor, weight: Tensor, taxonomy: Taxonomy) -> Tensor:
        rows = logits.T.clone(memory_format=torch.contiguous_format).index_fill_(0, _inner(taxonomy), -torch.inf)
        levels, kept, weight = rows.split(taxonomy.level_sizes), [], weight.to(rows.dtype)
        is_leaf = (taxonomy.num_children == 0).to(rows.dtype)[:, None]
        for upper, parent in steps_up(taxonomy):
            own, below = levels[upper], levels[upper + 1]
            top = own.scatter_reduce(0, parent[:, None].expand_as(below), below, "amax")
            top.clamp_min_(torch.finfo(top.dtype).min)  # of a family that has nothing −inf comes out, and not NaN
            children = top.index_select(0, parent)
            torch.sub(below, children, out=children).exp_()
            total = is_leaf[taxonomy.level_slices[upper]].expand_as(own).clone().index_add_(0, parent, children)
            torch.add(total.log(), top, out=own)
            kept += [children, total]
        everything, unknown, place = levels[0].logsumexp(dim=0), path < 0, path.clamp_min(0)
        mass = rows.gather(0, place).masked_fill_(unknown, 0)
        ctx.save_for_backward(place, weight, (levels[0] - everything).exp_(), *kept)
        ctx.taxonomy = taxonomy
        return everything.mul_(weight[0]).add_(mass.mul_(weight[1:]).sum(dim=0))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        place, weight, roots, *kept = ctx.saved_tensors
        own = weight * grad
        gradient = own.new_zeros(ctx.taxonomy.num_nodes, own.shape[1]).scatter_add_(0, place, own[1:])
        levels = gradient.split(ctx.taxonomy.level_sizes)
        levels[0].addcmul_(roots, own[0])
        steps = zip(steps_up(ctx.taxonomy), kept[::2], kept[1::2], strict=True)
        for (upper, parent), children, total in reversed(list(steps)):
            share = levels[upper].div_(total).index_select(0, parent)
            levels[upper + 1].addcmul_(share, children)
        return gradient.index_fill_(0, _inner(ctx.taxonomy), 0.0).T, None, None, None


@once_a_tree
def _inner(taxonomy: Taxonomy) -> Tensor:
    return taxonomy.num_children.nonzero()[:, 0]
