"""Other trees over the same leaves: the controls for "does my tree help?"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from hierfit.data.text import from_leaves
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

Tree = Literal["true", "shuffled", "flat", "truncated", "induced"]
"""``true``: the data set's own. ``shuffled``: its own too, but what a method shares along it is shared among strangers
(`Task.shuffle`). ``flat``: leaves only. ``truncated``: without the levels between the coarsest and the leaves.
``induced``: grown from the leaves' text."""


@dataclass(frozen=True)
class StandIn:
    """A tree in the place of a data set's own, over the same leaves.

    Attributes:
        taxonomy: The tree that is used, of N nodes and C leaves.
        true: The data set's own, of C leaves too.
        origin: For each node the one of the true tree whose name and text it bears ``[N]``, −1 for a new one; a leaf
            comes from a leaf, and each from another.
    """

    taxonomy: Taxonomy
    true: Taxonomy
    origin: Tensor

    @cached_property
    def true_leaf(self) -> Tensor:
        """For each leaf, in the order of `taxonomy.leaves`, its place among `true.leaves` ``[C]``."""
        return self.true.leaf_index[self.origin[self.taxonomy.leaves]]

    def nodes(self, true_nodes: Tensor) -> Tensor:
        """Where the leaves of the true tree are now; −1 for −1, and for inner nodes unless the tree is the true one.

        Args:
            true_nodes: Node ids of the true tree ``[...]``.
        """
        if self.taxonomy is self.true:
            return true_nodes
        here = torch.full((self.true.num_nodes + 1,), -1)
        here[self.origin[self.taxonomy.leaves]] = self.taxonomy.leaves
        return here[true_nodes]

    def text(self, true_text: Tensor) -> Tensor:
        """Text features ``[N, d]`` from the true tree's: each node's own; a new one's, the mean of its children's."""
        text = true_text[self.origin]
        return from_leaves(text, self.taxonomy) if (self.origin < 0).any() else text


def stand_in(kind: Tree, true: Taxonomy, text: Tensor | None) -> StandIn:
    """The tree of a kind.

    Args:
        kind: See `Tree`.
        true: The data set's tree.
        text: Text feature of each node ``[N, d]``, L2-normalised; only an induced tree needs it.

    Raises:
        UserError: The tree is too flat to give another of that kind, or has no text to grow one from.
    """
    if kind == "true":
        return StandIn(true, true, torch.arange(true.num_nodes))
    if true.num_levels == 1:
        raise UserError(f"data.tree: {kind}: the data set's tree has one level only, so there is no other to try")
    if kind == "shuffled":  # labels, candidates and scoring are the true tree's
        return StandIn(true, true, torch.arange(true.num_nodes))
    if kind == "flat":
        return flat(true)
    if kind == "truncated":
        return truncated(true)
    if text is None:
        raise UserError(
            "data.tree: induced: the data set has no text features to grow a tree from",
            hint="Choose a card with pictures or with text features, or another tree.",
        )
    return induced(true, text)


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
    stands where the normalised mean of its members does. Time and memory: O(n²) for n nodes of a level.

    Args:
        true: The data set's tree.
        text: Text feature of each node ``[N, d]``; only the leaves' are read.
    """
    parent = torch.full((true.num_nodes,), -1)
    # What all texts share (a photo of a …) tells no two apart, and makes one group swallow most of them.
    text = text.double()
    text = normalize(text - text[true.leaves].mean(dim=0), dim=-1)
    for upper, lower in reversed(list(zip(true.level_slices, true.level_slices[1:], strict=False))):
        inner = torch.arange(upper.start, upper.stop)[true.num_children[upper] > 0]
        group = torch.from_numpy(grouped(text[lower].numpy(), len(inner)))
        parent[lower] = inner[group]
        sums = torch.zeros(len(inner), text.shape[1], dtype=text.dtype).index_add_(0, group, text[lower])
        text[inner] = normalize(sums, dim=-1)
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


def counterparts(here: Taxonomy, there: Taxonomy) -> Tensor:
    """For each node ``here`` the node ``there`` at the same full path, −1 where there is none ``[N]``; O(N)."""
    found = torch.full((here.num_nodes + 1,), -1)
    at = {key: v for v, key in enumerate(zip(there.parent.tolist(), there.names, strict=True))}
    for node, (parent, name) in enumerate(zip(here.parent.tolist(), here.names, strict=True)):
        if parent < 0 or found[parent] >= 0:
            found[node] = at.get((int(found[parent]), name), -1)
    return found[:-1]


def same_nodes(here: Taxonomy, there: Taxonomy) -> Tensor | None:
    """`counterparts` of trees with the same levels and paths, in whatever order; None for others."""
    if here.levels != there.levels or here.num_nodes != there.num_nodes:
        return None
    columns = counterparts(here, there)
    return columns if (columns >= 0).all() else None


def _planted(true: Taxonomy, nodes: Sequence[int], parents: Sequence[int], levels: Sequence[str]) -> StandIn:
    """A tree of nodes in any order.

    Args:
        true: The data set's tree.
        nodes: The true tree's node that each stands for; −1 for a new one.
        parents: Position of each one's parent in ``nodes``, −1 for a root.
        levels: Level names.
    """
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
