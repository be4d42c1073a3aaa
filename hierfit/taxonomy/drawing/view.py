"""A tree down to some depth, with what is counted below."""

from __future__ import annotations

from dataclasses import dataclass

from hierfit.taxonomy.build import Plan
from hierfit.taxonomy.index import level_bounds, tree_index


@dataclass(frozen=True)
class View:
    """What is drawn of a tree; node ids are those of the whole tree.

    Attributes:
        plan: The whole tree.
        depth: Levels that are drawn.
        first_child: [N] the children of v are the ids from first_child[v] on.
        num_children: [N] number of children.
        num_leaves_below: [N] leaves in the subtree of each node.
        level: [N] depth of each node, 0 for roots.
    """

    plan: Plan
    depth: int
    first_child: list[int]
    num_children: list[int]
    num_leaves_below: list[int]
    level: list[int]

    @classmethod
    def of(cls, plan: Plan, depth: int | None, most: int) -> View:
        """The tree down to a depth.

        Args:
            plan: The tree.
            depth: Levels to draw; None for as many as have ``most`` nodes together, one at least.
            most: Nodes.
        """
        bounds, arrays = tree_index(plan.parent)
        if depth is None:
            depth = max([1, *(d for d, stop in enumerate(level_bounds(plan.parent)) if stop <= most)])
        depth = max(1, min(depth, len(bounds) - 1))
        names = ("first_child", "num_children", "num_leaves_below", "level")
        return cls(plan, depth, *(arrays[name].tolist() for name in names))

    @property
    def roots(self) -> range:
        """Ids of the roots."""
        return range(int((self.plan.parent < 0).sum()))

    def children(self, node: int) -> range:
        """Ids of the children that are drawn."""
        first = self.first_child[node]
        return range(first, first + (self.num_children[node] if self.level[node] + 1 < self.depth else 0))

    def hidden(self, node: int) -> int:
        """Leaves below a node whose children are not drawn."""
        return self.num_leaves_below[node] if self.num_children[node] and not self.children(node) else 0
