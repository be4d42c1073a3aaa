"""What stands in where a data set lacks it: other trees over its leaves, and text features of nodes without prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.data.trees import StandIn
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy


def flat(true: Taxonomy) -> StandIn:
    """The leaves alone, as one level under the name of the finest."""
    leaves = true.leaves.tolist()
    return _planted(true, leaves, [-1] * len(leaves), true.levels[-1:])


def truncated(true: Taxonomy) -> StandIn:
    """The coarsest nodes, and right below them the leaves; a leaf among the coarsest stays one.

    Raises:
        UserError: There is no level between the coarsest and the leaves: without the coarsest, too, it is `flat`.
    """
    if true.num_levels < 3:
        raise UserError(
            "data.tree: truncated: the data set's tree has no level between the coarsest and the finest",
            hint="Without its coarsest level it is the flat tree.",
        )
    roots = list(range(true.level_sizes[0]))
    below = [leaf for leaf in true.leaves.tolist() if leaf >= len(roots)]
    return _planted(
        true,
        [*roots, *below],
        [-1] * len(roots) + true.paths(torch.tensor(below))[:, 0].tolist(),
        (true.levels[0], true.levels[-1]),
    )


def induced(true: Taxonomy, text: Tensor) -> StandIn:
    """Leaves brought together by text alone: as many nodes on each level, and each leaf as deep, as in the true tree.

    From the finest level up, the nodes of a level are put into as many groups as the true tree has inner nodes above
    them: agglomerative clustering, average linkage (UPGMA, Sokal and Michener 1958) of cosine distances; a group
    stands where the normalised mean of its members does. Of the text features ``[N, d]`` only the leaves' are read.
    Time and memory: O(n²) for n nodes of a level.
    """
    parent = torch.full((true.num_nodes,), -1)
    # What all texts share (a photo of a …) tells no two apart, and makes one group swallow most of them.
    text = text.double()
    text = F.normalize(text - text[true.leaves].mean(dim=0), dim=-1)
    for upper, lower in reversed(list(zip(true.level_slices, true.level_slices[1:], strict=False))):
        inner = torch.arange(upper.start, upper.stop)[true.num_children[upper] > 0]
        group = torch.from_numpy(grouped(text[lower].numpy(), len(inner)))
        parent[lower] = inner[group]
        sums = torch.zeros(len(inner), text.shape[1], dtype=text.dtype).index_add_(0, group, text[lower])
        text[inner] = F.normalize(sums, dim=-1)
    nodes = [v if true.leaf_index[v] >= 0 else -1 for v in range(true.num_nodes)]
    return _planted(true, nodes, parent.tolist(), true.levels)


def grouped(vectors: np.ndarray, count: int) -> np.ndarray:
    """Which of ``count`` groups each of n unit vectors is in ``[n]``, groups numbered as they first come."""
    from scipy.cluster.hierarchy import linkage  # here: few who read a data set need scipy
    from scipy.spatial.distance import pdist

    n = len(vectors)
    above = np.arange(2 * n - count)
    if count < n:
        # Of unit vectors this is twice the cosine distance; of zero ones, unlike that, it is a number.
        merges = linkage(pdist(vectors, "sqeuclidean"), "average")[: n - count, :2].astype(int)
        above[merges] = np.arange(n, 2 * n - count)[:, None]
    for node in reversed(range(len(above))):  # the last merge that holds a vector names its group
        above[node] = above[above[node]]
    _, first, group = np.unique(above[:n], return_index=True, return_inverse=True)
    return first.argsort().argsort()[group]


def from_leaves(text: Tensor, taxonomy: Taxonomy) -> Tensor:
    """L2-normalised features ``[N, d]``: the leaves' as they are, of an inner node the mean of its children's.

    What stands in the rows of inner nodes is ignored. O(N·d).
    """
    inner = taxonomy.leaf_index < 0
    filled = text.masked_fill(inner[:, None], 0.0)
    for level in reversed(taxonomy.level_slices[1:]):
        # Children lie one level below their parents, which get no other summand: after the sum only length
        # is left.
        filled = filled.index_add(0, taxonomy.parent[level], filled[level])
        filled[inner] = F.normalize(filled[inner], dim=-1)
    return filled


def class_means(features: Tensor, paths: Tensor, taxonomy: Taxonomy) -> Tensor:
    """The normalised mean ``[N, d]`` of the training features ``[n, d]`` below each node, by their paths ``[n, L]``.

    A node without samples takes its parent's mean, a root without samples the mean of everything: the nearest
    thing known of it. O(n·L·d).
    """
    sums = features.new_zeros(taxonomy.num_nodes, features.shape[1])
    for column in paths.T:
        known = column >= 0
        sums.index_add_(0, column[known], features[known])
    empty = torch.bincount(paths[paths >= 0], minlength=taxonomy.num_nodes) == 0
    roots, *below = taxonomy.level_slices
    sums[roots][empty[roots]] = features.sum(0)
    for level in below:
        sums[level] = torch.where(empty[level, None], sums[taxonomy.parent[level]], sums[level])
    return F.normalize(sums, dim=-1)


def _planted(true: Taxonomy, nodes: Sequence[int], parents: Sequence[int], levels: Sequence[str]) -> StandIn:
    """A tree of nodes in any order: the true tree's node that each stands for (−1 for a new one), and the place of its
    parent among them (−1 for a root)."""
    # Numbers for names: read back from the finished tree, they say where each node went.
    numbered = Taxonomy.from_parents([str(i) for i in range(len(nodes))], parents, levels)
    order = [int(name) for name in numbered.names]
    names = _names(true, nodes, parents)
    tree = Taxonomy(tuple(names[i] for i in order), numbered.levels, numbered.parent)
    return StandIn(tree, true, torch.tensor([nodes[i] for i in order]))


def _names(true: Taxonomy, nodes: Sequence[int], parents: Sequence[int]) -> list[str]:
    """The nodes' own names, or, where siblings would share one, their whole paths in the true tree."""
    new = iter(range(1, len(nodes) + 1))
    names = [f"group {next(new)}" if v < 0 else true.names[v] for v in nodes]
    longer = [name if v < 0 else true.full_name(v) for v, name in zip(nodes, names, strict=True)]
    for forms in (longer, [f"{name} #{i}" for i, name in enumerate(longer)]):
        count = Counter(zip(parents, names, strict=True))
        clashes = [count[key] > 1 for key in zip(parents, names, strict=True)]
        names = [form if clash else name for form, clash, name in zip(forms, clashes, names, strict=True)]
    return names
