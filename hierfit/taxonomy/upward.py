"""What flows along the tree: masses, sums and heights from the leaves up, sums from the roots down.

Children are contiguous in the next level, so one pass a level adds them into their parents: O(B·N) in all,
whatever the shape of the tree, and no matrix of nodes by leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from hierfit.taxonomy import Taxonomy
from hierfit.tensors import at_least_float32


class LevelStep(NamedTuple):
    """Two neighbouring levels: the upper one's depth, and of each node of the lower its parent's position there
    ``[n]``."""

    upper: int
    parent: Tensor


def steps_up(taxonomy: Taxonomy) -> Iterator[LevelStep]:
    """The pairs of neighbouring levels, from the finest up."""
    slices = taxonomy.level_slices
    for upper in reversed(range(len(slices) - 1)):
        yield LevelStep(upper, taxonomy.parent[slices[upper + 1]] - slices[upper].start)


def segment_logsumexp(own: Tensor, below: Tensor, parent: Tensor) -> Tensor:
    """Log of exp(own) plus the sum of exp(below) over each node's children.

    Args:
        own: ``[B, m]``; −inf for a node that has nothing but its children.
        below: ``[B, n]``; −inf for a child that has nothing.
        parent: Position in ``own`` of each column of ``below`` ``[n]``.

    Returns:
        ``[B, m]``.
    """
    with torch.no_grad():
        top = own.scatter_reduce(1, parent.expand_as(below), below, "amax")
        top = top.clamp_min(torch.finfo(top.dtype).min)  # of a family that has nothing −inf comes out, and not NaN
    children = (below - top.index_select(1, parent)).exp()
    return (own - top).exp().index_add(1, parent, children).log() + top


def leaf_marginals(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Logit of each node as the leaves have it: the logsumexp over the leaves below, a leaf keeping its own.

    A softmax over the leaves gives node v the probability Σ p(leaf) over the leaves below v, and these are its
    log-probabilities up to one constant a sample. So a model that was trained on leaves alone is read at every
    level: decode this instead of the logits.

    Args:
        logits: Scores ``[B, N]``; those of internal nodes are not read.
        taxonomy: The tree.

    Returns:
        ``[B, N]``, at least float32; differentiable. O(B·N).
    """
    taxonomy = taxonomy.to(logits.device)
    logits = at_least_float32(logits)
    only_leaves = logits.where(taxonomy.num_children == 0, -torch.inf)
    levels = list(only_leaves.split(taxonomy.level_sizes, dim=1))
    for upper, parent in steps_up(taxonomy):
        levels[upper] = segment_logsumexp(levels[upper], levels[upper + 1], parent)
    return torch.cat(levels, dim=1)


def leaf_sums(values: Tensor, taxonomy: Taxonomy) -> Tensor:
    """The sum of ``values [B, N]`` over the leaves below each node, a leaf keeping its own ``[B, N]``."""
    levels = list(values.masked_fill(taxonomy.num_children > 0, 0).split(taxonomy.level_sizes, dim=1))
    for upper, parent in steps_up(taxonomy):
        levels[upper] = levels[upper].index_add(1, parent, levels[upper + 1])
    return torch.cat(levels, dim=1)


def sums_along_paths(values: Tensor, taxonomy: Taxonomy, dim: int) -> Tensor:
    """The sum of a value a node, of which there are N along ``dim``, over each node and its ancestors. O(N) of them."""
    levels = list(values.split(taxonomy.level_sizes, dim))
    for upper, parent in reversed(list(steps_up(taxonomy))):
        levels[upper + 1] = levels[upper + 1] + levels[upper].index_select(dim, parent)
    return torch.cat(levels, dim)


def node_heights(taxonomy: Taxonomy) -> Tensor:
    """Edges from each node down to the deepest leaf below it ``[N]`` int64; 0 for leaves. O(N)."""
    levels = list(torch.zeros_like(taxonomy.parent).split(taxonomy.level_sizes))
    for upper, parent in steps_up(taxonomy):
        levels[upper] = levels[upper].scatter_reduce(0, parent, levels[upper + 1] + 1, "amax")
    return torch.cat(levels)
