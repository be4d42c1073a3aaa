"""What training is not shown: classes held back, to ask what a method knows of them, and labels below some level."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from hierfit.config.schema import nearest
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

Novel = Literal["halves", "siblings", "subtrees"]
"""``halves``: the second half of the leaves in the order of their names (CoOp's base-to-new, Zhou et al. 2022).
``siblings``: half of each family, so that every novel leaf has a parent that was seen.
``subtrees``: half of the parents under each grandparent, with all their leaves: novel families, seen orders."""


def novel_leaves(taxonomy: Taxonomy, kind: Novel) -> Tensor:
    """Which leaves are novel ``[C]`` bool, by names alone: no seed, the same for every method and machine.

    Of an odd number, base gets the larger part. ``subtrees`` divides the parents of leaves among their own siblings;
    in a tree of two levels these are the roots.

    Raises:
        UserError: Nothing would be held back: no leaf has a sibling, or no parent has.
    """
    names = taxonomy.names
    if kind == "halves":
        held = _later_half(taxonomy.leaves.tolist(), names)
    elif kind == "siblings":
        held = [v for family in _families(taxonomy, taxonomy.leaves.tolist()) for v in _later_half(family, names)]
    else:
        parents = sorted(set(taxonomy.parent[taxonomy.leaves].tolist()) - {-1})
        tops = [v for family in _families(taxonomy, parents) for v in _later_half(family, names)]
        paths = taxonomy.leaf_paths
        held = taxonomy.leaves[torch.isin(paths, torch.tensor(tops, dtype=paths.dtype)).any(dim=1)].tolist()
    if not held:
        what = {"halves": "there is one leaf only", "siblings": "no leaf has a sibling"}
        raise UserError(
            f"data.novel: {kind} would hold nothing back: {what.get(kind, 'no parent of leaves has a sibling')}",
            hint="Choose another kind: halves, siblings or subtrees.",
        )
    novel = torch.zeros(taxonomy.num_leaves, dtype=torch.bool)
    novel[taxonomy.leaf_index[torch.tensor(held)]] = True
    return novel


def seen_nodes(taxonomy: Taxonomy, novel: Tensor) -> Tensor:
    """Nodes with a base leaf at or below them ``[N]`` bool, of novel leaves ``[C]`` bool."""
    seen = torch.zeros(taxonomy.num_nodes, dtype=torch.bool)
    paths = taxonomy.leaf_paths[~novel]
    seen[paths[paths >= 0]] = True
    return seen


def depth_of(levels: Iterable[str], level: str) -> int:
    """Depth of the level that ``data.train_level`` names.

    Raises:
        UserError: There is no such level; names the nearest.
    """
    levels = list(levels)
    if level not in levels:
        raise UserError(f"data.train_level: there is no level {level!r}{nearest(level, levels)}")
    return levels.index(level)


def coarsened(nodes: Tensor, taxonomy: Taxonomy, depth: int) -> Tensor:
    """Each node's ancestor at ``depth``, or itself where it lies above that ``[...]``; −1 stays −1."""
    return taxonomy.paths(nodes)[..., : depth + 1].amax(dim=-1)  # ids grow with depth


def _families(taxonomy: Taxonomy, nodes: list[int]) -> list[list[int]]:
    families: dict[int, list[int]] = {}
    for node, parent in zip(nodes, taxonomy.parent[nodes].tolist(), strict=True):
        families.setdefault(parent, []).append(node)
    return list(families.values())


def _later_half(nodes: list[int], names: tuple[str, ...]) -> list[int]:
    return sorted(nodes, key=lambda v: (names[v], v))[(len(nodes) + 1) // 2 :]
