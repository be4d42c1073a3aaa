"""What the losses know of a tree whose levels are cuts, worked out once a tree.

Level l as a cut is the nodes at depth l and the leaves that ended above (`Taxonomy.cut`). The cuts of a deep ragged
tree repeat its leaves again and again, so no loss here lists them: each leaf is read once, and what it adds to the
deeper cuts goes by depth. That keeps every loss at O(B·N).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from hierfit.taxonomy import Taxonomy


class Ended(NamedTuple):
    """The leaves above the last level, which take part in every deeper one; none on an even tree.

    Attributes:
        leaves: Their ids, ascending and so by depth ``[E]``.
        level: Their depths ``[E]``.
        counts: How many end at each level ``[L]``; 0 at the last, whose leaves have nothing below them.
    """

    leaves: Tensor
    level: Tensor
    counts: tuple[int, ...]

    @property
    def above(self) -> tuple[int, ...]:
        """How many ended above each level ``[L]``."""
        return (0, *accumulate(self.counts[:-1]))


class Families(NamedTuple):
    """Windows of siblings, who are neighbours on the node axis.

    Attributes:
        first: First node of each sibling group ``[G]``, see `Taxonomy.group`.
        size: Nodes of each group ``[G]``.
        widest: Size of the largest group of each level ``[L]``.
    """

    first: Tensor
    size: Tensor
    widest: tuple[int, ...]


def ended_leaves(taxonomy: Taxonomy) -> Ended:
    """Of a tree, on its device; without a wait for the device after the first call."""
    return _ended(taxonomy, taxonomy.parent.device)


def sibling_families(taxonomy: Taxonomy) -> Families:
    """Of a tree, on its device; without a wait for the device after the first call."""
    return _families(taxonomy, taxonomy.parent.device)


# The device is part of the key, for equal trees may lie on several. A tensor made in inference mode could not be saved
# for a backward pass later.
@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _ended(taxonomy: Taxonomy, device: torch.device) -> Ended:
    level = taxonomy.level[taxonomy.leaves]
    above = level < taxonomy.num_levels - 1
    leaves, level = taxonomy.leaves[above], level[above]
    return Ended(leaves, level, tuple(level.bincount(minlength=taxonomy.num_levels).tolist()))


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _families(taxonomy: Taxonomy, device: torch.device) -> Families:
    size = taxonomy.group.bincount()
    widest = tuple(int(size[taxonomy.group[nodes]].max()) for nodes in taxonomy.level_slices)
    return Families(size.cumsum(0) - size, size, widest)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def constant(values: tuple[float, ...], like: tuple[torch.dtype, torch.device]) -> Tensor:
    """Numbers as a tensor of a dtype on a device, copied there once."""
    return torch.tensor(values, dtype=like[0], device=like[1])
