"""A tree as lines in the terminal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from hierfit.errors import UserError
from hierfit.taxonomy.build import Plan
from hierfit.taxonomy.index import level_bounds, tree_index
from hierfit.taxonomy.lookup import Lookup

_MOST_LINES = 200


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


def print_tree(plan: Plan, depth: int | None, console: Console) -> None:
    """Prints a tree with the number of leaves below each inner node.

    Args:
        plan: The tree.
        depth: Levels to draw; None for as many as fit 200 lines.
        console: Where to.
    """
    view = View.of(plan, depth, _MOST_LINES)
    sizes = np.bincount(np.array(view.level)).tolist()
    console.print(Text(" · ".join(f"{n} {name}" for n, name in zip(sizes, plan.levels, strict=True)), "bold"))
    top = Tree("", hide_root=True, guide_style="dim")
    grown: dict[int, Tree] = {}
    stack = [*reversed(view.roots)]
    while stack:
        node = stack.pop()
        parent = int(plan.parent[node])
        grown[node] = (top if parent < 0 else grown[parent]).add(_line(view, node))
        stack += reversed(view.children(node))
    console.print(top)
    if view.depth < len(sizes):
        rest = f"{len(sizes) - view.depth} more levels below" if len(sizes) - view.depth > 1 else "1 more level below"
        console.print(Text(f"{rest}: --depth {view.depth + 1} draws more, --below NODE one branch", "dim"))


def _line(view: View, node: int) -> Text:
    line = Text(view.plan.names[node])
    if view.num_children[node]:
        leaves = view.num_leaves_below[node]
        line.append(f"  {leaves} {'leaf' if leaves == 1 else 'leaves'}", "dim")
    return line


def branch(plan: Plan, label: str) -> Plan:
    """A node and everything below it.

    Args:
        plan: The tree.
        label: Name of the node, or its path joined by "/".

    Raises:
        UserError: No node is called so (with the nearest names), or several are.
    """
    _, arrays = tree_index(plan.parent)
    parents = plan.parent.tolist()
    try:
        node = Lookup(plan.names, parents, (arrays["num_children"] == 0).tolist()).nodes([label])[0]
    except UserError as error:
        raise UserError(f"--below: {error.summary}", error.problems, error.hint) from None
    kept = [node]
    place = {node: 0}
    for child in range(node + 1, len(parents)):
        if parents[child] in place:
            place[child] = len(kept)
            kept.append(child)
    links = np.array([-1, *(place[parents[v]] for v in kept[1:])], dtype=np.int64)
    level = arrays["level"]
    levels = plan.levels[int(level[node]) : int(level[kept].max()) + 1]
    return Plan(tuple(plan.names[v] for v in kept), levels, links)
