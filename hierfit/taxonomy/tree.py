"""`Taxonomy`: the frozen class tree and its index tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hierfit.taxonomy import build
from hierfit.taxonomy.index import tree_index

if TYPE_CHECKING:
    from hierfit.taxonomy.lookup import Lookup


@dataclass(frozen=True, eq=False, repr=False)
class Taxonomy:
    """A class tree (or forest) whose N nodes are numbered once, coarse to fine.

    The numbering is breadth-first: each of the L levels is a contiguous slice of the node axis, and siblings
    are neighbours in the order in which they were given. A branch may end above the last level. Build one by
    `from_paths`, `from_parents` or `from_csv`; the constructor takes only links already in this order.
    Equality and hash go by content. Index tensors are int64, O(N) together, on one device (see `to`).

    Attributes:
        names: [N] node names; unique among siblings, not necessarily in the whole tree.
        levels: [L] level names, coarse to fine.
        parent: [N] parent of each node, −1 for roots.
        level: [N] depth of each node, 0 for roots.
        leaves: [C] node ids of the leaves, ascending.
        leaf_index: [N] position of a leaf in `leaves`, −1 for internal nodes.
        first_child: [N] the children of v are the ids first_child[v] … first_child[v] + num_children[v] − 1.
        num_children: [N] number of children, 0 for leaves.
        group: [N] sibling group: equal for nodes of the same parent; the roots are group 0.
        num_leaves_below: [N] leaves in the subtree of each node, itself included.
        level_sizes: [L] number of nodes in each level.
        level_slices: [L] where each level lies on the node axis.
    """

    names: tuple[str, ...]
    levels: tuple[str, ...]
    parent: Tensor
    level: Tensor = field(init=False)
    leaves: Tensor = field(init=False)
    leaf_index: Tensor = field(init=False)
    first_child: Tensor = field(init=False)
    num_children: Tensor = field(init=False)
    group: Tensor = field(init=False)
    num_leaves_below: Tensor = field(init=False)
    level_sizes: tuple[int, ...] = field(init=False)
    level_slices: tuple[slice, ...] = field(init=False)

    # Index tensors are saved for backward; one made in inference mode (say, in a validation loop) cannot be.
    @torch.inference_mode(False)
    def __post_init__(self) -> None:
        parent = self.parent.cpu().numpy()
        bounds, arrays = tree_index(parent)
        for name, array in (arrays | {"parent": parent}).items():
            object.__setattr__(self, name, torch.from_numpy(array).to(self.parent.device))
        object.__setattr__(self, "level_slices", tuple(map(slice, bounds, bounds[1:])))
        object.__setattr__(self, "level_sizes", tuple(stop - start for start, stop in pairwise(bounds)))

    @classmethod
    def from_paths(cls, rows: Iterable[Sequence[str]], levels: Sequence[str] | None = None) -> Taxonomy:
        """Build from one row of names per leaf, coarse to fine; a node is identified by its whole path.

        Rows may differ in length; empty cells at the end are dropped. Levels are called `level0`, `level1`, … unless
        they have names, coarse to fine. The `UserError` names every faulty row (empty, with a gap, repeated, or ending
        at another row's parent), every bad name, and level names that do not fit.
        """
        return cls.of_plan(build.from_rows(rows, levels))

    @classmethod
    def from_parents(
        cls, names: Sequence[str], parents: Sequence[int | None] | Sequence[str | None],
        levels: Sequence[str] | None = None,
    ) -> Taxonomy:  # fmt: skip
        """Build from names [N] and parent links [N], in any order.

        A link is the position of the node's parent in `names` (None or −1 for a root), or its parent's name (None or ""
        for a root; then names must be unique in the whole tree). Levels as in `from_paths`. The `UserError` names every
        cycle with the nodes along it, every node with two parents, every unknown parent, duplicate siblings, and so on.
        """
        if isinstance(parents, np.ndarray | Tensor):
            parents = parents.tolist()
        return cls.of_plan(build.from_links(names, parents, levels))

    @classmethod
    def from_csv(cls, path: str | PathLike[str]) -> Taxonomy:
        """Read a table: UTF-8, commas, with or without BOM, any line ends.

        The header decides the form. Under `name,parent` comes one row for each node, with an empty parent for
        a root. Any other header names the levels, coarse to fine, and each row is the path of one leaf; cells
        after a leaf above the last level are empty or missing. Raises as `from_paths` and `from_parents`, with the
        lines.
        """
        from hierfit.taxonomy.readers import read_csv

        return cls.of_plan(read_csv(path))

    @classmethod
    def of_plan(cls, plan: build.Plan) -> Taxonomy:
        """The tree of names and links that are in order already."""
        return cls(plan.names, plan.levels, torch.from_numpy(plan.parent))

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write one row for each leaf under the level names; `from_csv` reads an equal tree from it."""
        from hierfit.taxonomy.writers import leaf_rows, write_csv

        plan = build.Plan(self.names, self.levels, self.parent.cpu().numpy())
        write_csv(path, plan.levels, leaf_rows(plan))

    def shuffled(self, seed: int) -> Taxonomy:
        """A control tree of the same shape: see `hierfit.taxonomy.shuffle.shuffled_names`."""
        from hierfit.taxonomy.shuffle import shuffled_names

        return type(self)(shuffled_names(self, seed), self.levels, self.parent)

    def keeping(self, nodes: Tensor) -> tuple[Taxonomy, Tensor]:
        """The part of the tree above nodes [m], one at least: they and their ancestors, in the order they have here.

        Returns the smaller tree, without levels it no longer reaches, and the id here of each of its nodes [M]. A node
        of whose children none is kept is a leaf of it. Raises ValueError where `nodes` is empty or holds a −1.
        """
        if not len(nodes) or (nodes < 0).any():
            raise ValueError("keeping() takes at least one node id, and no −1")
        kept = self.paths(nodes).unique()
        kept = kept[kept >= 0]
        position = torch.full((self.num_nodes + 1,), -1, device=kept.device)  # −1 wraps round to the last entry
        position[kept] = torch.arange(len(kept), device=kept.device)
        levels = self.levels[: int(self.level[kept].max()) + 1]
        names = tuple(self.names[node] for node in kept.tolist())
        return type(self)(names, levels, position[self.parent[kept]]), kept

    def to(self, device: torch.device | str) -> Taxonomy:
        """The same tree with its tensors on `device`; itself when it is already there."""
        parent = self.parent.to(device)
        return self if parent is self.parent else type(self)(self.names, self.levels, parent)

    @property
    def num_nodes(self) -> int:
        """N."""
        return len(self.names)

    @property
    def num_levels(self) -> int:
        """L."""
        return len(self.levels)

    @property
    def num_leaves(self) -> int:
        """C."""
        return len(self.leaves)

    @cached_property
    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 of names, links and level names."""
        digest = hashlib.sha256(json.dumps([self.levels, self.names]).encode())
        digest.update(self.parent.cpu().numpy().astype("<i8").tobytes())
        return digest.hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Taxonomy):
            return NotImplemented
        same = self.levels == other.levels and self.names == other.names
        return self is other or (same and torch.equal(self.parent.cpu(), other.parent.cpu()))

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"Taxonomy({'/'.join(map(str, self.level_sizes))} nodes, levels {'/'.join(self.levels)})"

    def __reduce__(self) -> tuple[type[Taxonomy], tuple[tuple[str, ...], tuple[str, ...], Tensor]]:
        return type(self), (self.names, self.levels, self.parent)

    def __deepcopy__(self, memo: dict[int, object]) -> Taxonomy:
        return self

    @cached_property
    @torch.inference_mode(False)
    def leaf_paths(self) -> Tensor:
        """[C, L] node ids from root to each leaf, −1 past the leaf. Made on first use: C·L numbers."""
        return self.paths(self.leaves)

    @cached_property
    def _up(self) -> Tensor:
        """[N + 1] `parent`, then −1: index −1 wraps round to the last entry and stays −1."""
        return torch.cat([self.parent, self.parent.new_tensor([-1])])

    @cached_property
    def _depth(self) -> Tensor:
        """[N + 1] `level`, then −1: the virtual root lies one above the roots."""
        return torch.cat([self.level, self.level.new_tensor([-1])])

    def paths(self, nodes: Tensor) -> Tensor:
        """Ancestors-or-self of nodes [...] by level [..., L], −1 below the node and for an unknown −1. O(L) each."""
        columns = []
        for depth in reversed(range(self.num_levels)):
            here = self._depth[nodes] == depth
            columns.append(torch.where(here, nodes, -1))
            nodes = torch.where(here, self._up[nodes], nodes)
        return torch.stack(columns[::-1], dim=-1)

    @cached_property
    def is_even(self) -> bool:
        """Whether all leaves lie on the last level; then every level is a cut of its own."""
        return bool((self.level[self.leaves] == self.num_levels - 1).all())

    @cached_property
    def leaf_counts(self) -> tuple[int, ...]:
        """[L] number of leaves on each level; they follow each other in `leaves`."""
        return tuple(torch.bincount(self.level[self.leaves], minlength=self.num_levels).tolist())

    def cut(self, level: int) -> Tensor:
        """Node ids [m] of a level as a cut through the tree, ascending: leaves that ended above it, and its own nodes.

        Every leaf lies at or below exactly one of them. What is normalised or compared "within a level" is so over
        these: a leaf that ended above takes part in every deeper level. On an even tree simply the level's nodes.
        """
        nodes = self.level_slices[level]
        ended = self.leaves[self.leaves < nodes.start]
        return torch.cat([ended, torch.arange(nodes.start, nodes.stop, device=ended.device)])

    def padded(self, paths: Tensor) -> Tensor:
        """Paths [..., L] that go on with their leaf below it, down to the last level; nothing that is named is changed.

        A path whose last node is a leaf has ended: it stands for that leaf on all deeper levels. One whose last node is
        an inner node is unknown below, and stays so. On an even tree the same. O(L) per path.
        """
        if self.is_even:
            return paths
        column = torch.arange(self.num_levels, device=paths.device)
        last = torch.where(paths >= 0, column, -1).amax(dim=-1, keepdim=True)
        node = torch.where(last >= 0, paths.gather(-1, last.clamp_min(0)), -1)
        ended = (node >= 0) & (self.num_children[node] == 0)
        return torch.where(ended & (column > last), node, paths)

    def lca(self, a: Tensor, b: Tensor) -> Tensor:
        """Lowest common ancestor of nodes [...], broadcast, a node being its own; −1 for none or of −1. O(L) a pair."""
        a, b = torch.broadcast_tensors(a, b)
        for depth in reversed(range(self.num_levels)):
            differ = a != b
            a, b = (torch.where(differ & (self._depth[v] == depth), self._up[v], v) for v in (a, b))
        return a

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Edges between nodes [...], broadcast; roots hang on a virtual root, which −1 stands for. O(L) per pair."""
        return self._depth[a] + self._depth[b] - 2 * self._depth[self.lca(a, b)]

    def children(self, node: int) -> Tensor:
        """Ids of the node's children, empty for a leaf; −1 stands for the virtual root above the roots."""
        first, count = (0, self.level_sizes[0]) if node < 0 else (self.first_child[node], self.num_children[node])
        return torch.arange(int(first), int(first + count), device=self.parent.device)

    def siblings(self, node: int) -> Tensor:
        """Ids of the other nodes with the same parent; the roots are siblings of each other."""
        peers = self.children(int(self.parent[node]))
        return peers[peers != node]

    def full_name(self, node: int, sep: str = "/") -> str:
        """Names from the root to the node, joined by `sep`."""
        ancestors = []
        while node >= 0:
            ancestors.append(self.names[node])
            node = int(self.parent[node])
        return sep.join(reversed(ancestors))

    def find(self, label: str | Sequence[str]) -> int:
        """The node that a label names.

        A text is looked up as a name first; a leaf goes before internal nodes of the same name. If no node
        has this name, it is read as a path from the root, "family/genus/species". Names may hold a "/"
        themselves ("F/A-18"), also in a path. A sequence is always a path from the root, never ambiguous.

        Raises:
            UserError: No node matches (with the nearest names), or several do (with their paths).
        """
        return self._lookup.nodes([label])[0]

    def resolve(self, labels: Sequence[str | Sequence[str]]) -> Tensor:
        """[n] node ids: `find` for n labels at once; the `UserError` lists all that match no node, or several."""
        return torch.tensor(self._lookup.nodes(labels), dtype=torch.int64, device=self.parent.device)

    @cached_property
    def _lookup(self) -> Lookup:
        from hierfit.taxonomy.lookup import Lookup

        return Lookup(self.names, self.parent.tolist(), (self.num_children == 0).tolist())
