"""What each decoder believes of every node, as log-probabilities: of its answer, one wants to know its own mind.

Per-level softmax says how sure a level's own classifier is. A path that was found by looking at all levels at once is
right far more often than its family's classifier alone would have it; so it is asked on its own terms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from hierfit.decoding import level_log_softmax, path_means
from hierfit.losses.upward import leaf_marginals, segment_logsumexp
from hierfit.taxonomy import Taxonomy

Belief: TypeAlias = Callable[[Tensor, Taxonomy], Tensor]


def of_levels(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Softmax within each level."""
    return level_log_softmax(logits, taxonomy)


def of_leaves(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """One softmax over the leaves; a node has the sum of those below it."""
    return level_log_softmax(leaf_marginals(logits, taxonomy), taxonomy)


def of_descent(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """A softmax among siblings at every step down; a node has the product along its path."""
    roots, *deeper = taxonomy.level_slices
    found = [_or_nothing(logits[:, roots].log_softmax(dim=1))]
    above = roots
    for nodes in deeper:
        parents = taxonomy.parent[nodes] - above.start
        family = segment_logsumexp(torch.full_like(found[-1], -torch.inf), logits[:, nodes], parents)
        given_parent = logits[:, nodes] - family.index_select(1, parents)
        found.append(_or_nothing(found[-1].index_select(1, parents) + given_parent))
        above = nodes
    return torch.cat(found, dim=1)


def of_paths(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """A leaf has the product of its path's probabilities, each level normalised alone; a node the sum of its leaves.

    Leaves of ragged trees are compared by their mean, as `best_path` does, on the scale of a path of all levels.
    """
    leaves = taxonomy.num_levels * path_means(logits, taxonomy)
    nodes = torch.full_like(logits, -torch.inf).index_copy(1, taxonomy.leaves, leaves.to(logits.dtype))
    return level_log_softmax(leaf_marginals(nodes, taxonomy), taxonomy)


def _or_nothing(log_probabilities: Tensor) -> Tensor:
    """Where all nodes of a family are masked, −inf − (−inf) is no number."""
    return log_probabilities.nan_to_num(nan=-torch.inf, neginf=-torch.inf)


BELIEFS: dict[str, Belief] = {
    "per_level": of_levels,
    "rollup": of_leaves,
    "top_down": of_descent,
    "best_path": of_paths,
}
"""By decoder, from logits ``[B, N]`` on the tree's device to log-probabilities ``[B, N]`` within each level; O(B·N)."""
