"""Slow, obvious readings of a tree, node by node, that fast code is held against; and trees to hold it on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from hierfit.taxonomy import Taxonomy

quick = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def forests(draw: st.DrawFn, max_nodes: int = 24) -> Taxonomy:
    """Any forest, ragged or even: each node picks its parent among the earlier ones, or none."""
    parents = [draw(st.integers(-1, i - 1)) for i in range(draw(st.integers(1, max_nodes)))]
    return Taxonomy.from_parents([f"n{i}" for i in range(len(parents))], parents)


def chain(tree: Taxonomy, node: int) -> list[int]:
    """The node and its ancestors, root first; nothing of −1."""
    return [*chain(tree, int(tree.parent[node])), node] if node >= 0 else []


def children(tree: Taxonomy, parent: int) -> list[int]:
    """Of −1 the roots."""
    return [v for v, above in enumerate(tree.parent.tolist()) if above == parent]


def is_leaf(tree: Taxonomy, node: int) -> bool:
    """Whether nothing lies below."""
    return node not in tree.parent.tolist()


def cut(tree: Taxonomy, level: int) -> list[int]:
    """The nodes of a level, and the leaves that ended above it."""
    depths = {node: len(chain(tree, node)) - 1 for node in range(tree.num_nodes)}
    return [v for v, depth in depths.items() if depth == level or (depth < level and is_leaf(tree, v))]


def leaves_below(tree: Taxonomy, node: int) -> list[int]:
    """A leaf itself; of −1 all."""
    leaves = [v for v in range(tree.num_nodes) if is_leaf(tree, v)]
    return [leaf for leaf in leaves if node < 0 or node in chain(tree, leaf)]


def padded(tree: Taxonomy, path: Sequence[int]) -> list[int]:
    """A path with −1 below its end."""
    return [*path, *[-1] * (tree.num_levels - len(path))]


def goes_on(tree: Taxonomy, path: Sequence[int]) -> list[int]:
    """A row of L ids, with the leaf that it ends at repeated below it."""
    row = list(path)
    last = max((i for i, node in enumerate(row) if node >= 0), default=-1)
    if last >= 0 and is_leaf(tree, row[last]):
        row[last:] = [row[last]] * (len(row) - last)
    return row


def log_share(z: Sequence[float], part: Sequence[int], whole: Sequence[int]) -> float:
    """log of the softmax mass over ``whole`` that lies on ``part``."""
    top, peak = max(z[v] for v in whole), max(z[v] for v in part)
    total = top + math.log(sum(math.exp(z[v] - top) for v in whole))
    return peak + math.log(sum(math.exp(z[v] - peak) for v in part)) - total
