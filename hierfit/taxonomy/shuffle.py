"""Nodes at random places: controls for "does the tree help?"."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hierfit.taxonomy.index import Ints

if TYPE_CHECKING:
    from hierfit.taxonomy import Taxonomy


def shuffled_places(taxonomy: Taxonomy, seed: int) -> Tensor:
    """Where each node stands when nodes change places at random ``[N]``: leaves of a level among each other, and inner
    nodes of a level among each other.

    The tree itself stays: names, labels, candidates, scoring. Whoever shares something along it goes by the places
    instead of the nodes, and so shares among strangers, in families of the same sizes.
    """
    rng = np.random.default_rng(seed)
    place = np.arange(taxonomy.num_nodes)
    inner = taxonomy.num_children.cpu().numpy() > 0
    for level in taxonomy.level_slices:
        for kind in (inner, ~inner):
            nodes = level.start + np.flatnonzero(kind[level])
            place[nodes] = rng.permutation(nodes)
    return torch.from_numpy(place).to(taxonomy.parent.device)


def shuffled_names(taxonomy: Taxonomy, seed: int) -> tuple[str, ...]:
    """Names with those of leaves permuted over the leaves of each level, so that siblings differ in name ``[N]``."""
    rng = np.random.default_rng(seed)
    parent, is_leaf = taxonomy.parent.cpu().numpy(), taxonomy.num_children.cpu().numpy() == 0
    codes: dict[str, int] = {}
    name_of = np.array([codes.setdefault(name, len(codes)) for name in taxonomy.names])
    for level in taxonomy.level_slices:
        slots = level.start + np.flatnonzero(is_leaf[level])
        before = name_of[slots]
        name_of[slots] = rng.permutation(before)
        if len(np.unique(parent[level] * len(codes) + name_of[level])) < level.stop - level.start:
            name_of[slots] = before
            _swap_at_random(name_of, parent, level, slots, rng)
    spelling = list(codes)
    return tuple(spelling[code] for code in name_of.tolist())


def _swap_at_random(name_of: Ints, parent: Ints, level: slice, slots: Ints, rng: np.random.Generator) -> None:
    """Shuffle in place by random swaps, leaving out those that would give two siblings one name.

    Each step keeps the tree valid, so this works however many names are equal, where a permutation drawn at
    once would hardly ever fit. (n/2)·ln n swaps mix n cards (Diaconis and Shahshahani, 1981); here are more
    than twice as many, since some are left out.
    """
    taken = set(zip(parent[level].tolist(), name_of[level].tolist(), strict=True))
    count = len(slots)
    pairs = rng.integers(count, size=(math.ceil(count * (math.log(count) + 1)), 2))
    for a, b in slots[pairs].tolist():
        old = (int(parent[a]), int(name_of[a])), (int(parent[b]), int(name_of[b]))
        new = (old[0][0], old[1][1]), (old[1][0], old[0][1])
        if old[0][0] == old[1][0] or new[0] in taken or new[1] in taken:
            continue
        taken.difference_update(old)
        taken.update(new)
        name_of[a], name_of[b] = name_of[b], name_of[a]
