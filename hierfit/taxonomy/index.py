"""Everything about a tree that follows from its parent links alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def tree_index(parent: Ints) -> tuple[list[int], dict[str, Ints]]:
    """Derive the index arrays of a canonically ordered tree in O(N) time and memory.

    Breadth-first numbering makes `parent` non-decreasing, so that levels, sibling groups and children are
    all contiguous ranges and every array below is a sorted search or a running sum.

    Args:
        parent: [N] parent of each node, −1 for roots; non-decreasing and smaller than the node itself.

    Returns:
        The bounds of the levels (see `level_bounds`), and the `Taxonomy` attributes `level`, `leaves`,
        `leaf_index`, `first_child`, `num_children`, `group` and `num_leaves_below`.

    Raises:
        ValueError: `parent` is empty or not in canonical order.
    """
    nodes = np.arange(len(parent))
    if not len(parent) or parent[0] != -1 or (parent >= nodes).any() or (np.diff(parent) < 0).any():
        raise ValueError("parent links are not in breadth-first order: build with Taxonomy.from_parents")
    first_child = np.searchsorted(parent, nodes)
    num_children = np.searchsorted(parent, nodes, side="right") - first_child
    bounds = level_bounds(parent)
    leaves = np.flatnonzero(num_children == 0)
    leaf_index = np.full(len(parent), -1)
    leaf_index[leaves] = np.arange(len(leaves))

    below = (num_children == 0).astype(np.int64).tolist()
    # A plain loop: a vectorised one goes level by level, and a chain has as many levels as nodes.
    for node, above in zip(range(len(below) - 1, -1, -1), parent[::-1].tolist(), strict=True):
        if above >= 0:
            below[above] += below[node]
    return bounds, {
        "level": np.repeat(np.arange(len(bounds) - 1), np.diff(bounds)),
        "leaves": leaves,
        "leaf_index": leaf_index,
        "first_child": first_child,
        "num_children": num_children,
        "group": np.cumsum(np.diff(parent, prepend=-1) > 0),
        "num_leaves_below": np.array(below, dtype=np.int64),
    }


def level_bounds(parent: Ints) -> list[int]:
    """[L + 1] first node of each level of a canonically ordered tree, then N."""
    after_children = np.searchsorted(parent, np.arange(len(parent)), side="right").tolist()
    bounds = [0, int(np.searchsorted(parent, 0))]
    while (end := after_children[bounds[-1] - 1]) > bounds[-1]:
        bounds.append(end)
    return bounds
