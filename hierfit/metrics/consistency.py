"""Do a model's scores hold together over the tree: HCA and MTA (ProTeCt, Wu et al., CVPR 2024), from logits.

Both ask more than the best leaf: HCA for every choice among siblings on the way to it, MTA for label sets that mix
levels. They read the scores of inner nodes as they are, so they mean something only where an objective trained those.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hierfit.metrics.functional import ShareTally
from hierfit.taxonomy import Taxonomy

_CLOSED = (0.1, 0.3, 0.5, 0.7, 0.9)


def consistent_right(logits: Tensor, target: Tensor, taxonomy: Taxonomy) -> Tensor:
    """[B] bool: the leaf is right among all leaves, and each node of its path best among its siblings.

    Roots are siblings of each other. False where the label is no leaf; of equal scores the first node counts. O(B·N).
    """
    leaf = taxonomy.padded(target)[:, -1]
    family = (taxonomy.parent + 1).expand_as(logits)
    best = logits.new_full(logits.shape, -torch.inf).scatter_reduce_(1, family, logits, "amax")
    nodes = torch.arange(taxonomy.num_nodes, device=logits.device)
    rivals = torch.where(logits == best.gather(1, family), nodes, taxonomy.num_nodes)
    first = torch.full_like(rivals, taxonomy.num_nodes).scatter_reduce_(1, family, rivals, "amin")
    path = taxonomy.paths(leaf)
    chosen = first.gather(1, taxonomy.parent[path] + 1)
    best_leaf = taxonomy.leaves[logits.index_select(1, taxonomy.leaves).argmax(dim=1)]
    return ((chosen == path) | (path < 0)).all(dim=1) & (best_leaf == leaf)


def consistent_leaves(logits: Tensor, target: Tensor, taxonomy: Taxonomy) -> ShareTally:
    """Samples labelled with a leaf, and those of them that are right all the way."""
    return ShareTally(consistent_right(logits, target, taxonomy).sum(), (taxonomy.padded(target)[:, -1] >= 0).sum())


def random_cuts(taxonomy: Taxonomy, count: int = 25, seed: int = 0) -> Tensor:
    """[count, N] bool: random cuts through the tree; every leaf lies at or below exactly one node of each.

    Top down: the virtual root is open; a node whose parent is open is, unless it is a leaf, opened with probability
    1 − p, and otherwise stands in the cut for all below it. p is 0.1, 0.3, 0.5, 0.7 and 0.9 in turn, as in ProTeCt's
    code; unlike there, cuts may repeat, which on small trees they must. The same on every device.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    inner, parent = taxonomy.num_children.cpu() > 0, taxonomy.parent.cpu()
    p = torch.tensor(_CLOSED, device="cpu").repeat(-(-count // len(_CLOSED)))[:count, None]
    opened = (torch.rand(count, taxonomy.num_nodes, generator=generator, device="cpu") >= p) & inner
    reached = torch.ones_like(opened)
    for level in taxonomy.level_slices[1:]:
        reached[:, level] = opened[:, parent[level]]
        opened[:, level] &= reached[:, level]
    return (reached & ~opened).to(taxonomy.parent.device)


def treecut_right(logits: Tensor, target: Tensor, taxonomy: Taxonomy, cuts: Tensor) -> tuple[Tensor, Tensor]:
    """How often the best node of each cut ``[K, N]`` bool is the true one: ``[K]`` right, of ``[K]`` counted samples.

    Counted at a cut are the samples of which a labelled node stands in it: a coarse label has none in cuts that run
    below it. O(B·K·N).
    """
    right, counted = [], []
    for cut in cuts:
        nodes = cut.nonzero()[:, 0]
        best = nodes[logits.index_select(1, nodes).argmax(dim=1)]
        labels = (target >= 0) & cut[target]
        right.append((labels & (target == best[:, None])).any(dim=1).sum())
        counted.append(labels.any(dim=1).sum())
    return torch.stack(right), torch.stack(counted)
