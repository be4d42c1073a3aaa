"""What is worked out once of a tree: the leaves that ended above a level, the families of siblings.

Level l as a cut is the nodes at depth l and the leaves that ended above (`Taxonomy.cut`). The cuts of a deep ragged
tree repeat its leaves again and again, so whoever needs them lists none: each leaf is read once, and what it adds to
the deeper cuts goes by depth. That keeps losses and decoders at O(B·N).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from itertools import accumulate
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor

from hierfit.taxonomy import Taxonomy

T = TypeVar("T")
P = ParamSpec("P")


def once_a_tree(make: Callable[Concatenate[Taxonomy, P], T]) -> Callable[Concatenate[Taxonomy, P], T]:
    """Keeps what a function makes of a tree (and of hashable arguments) with the tree, on its device.

    So an accelerator is waited for at the first call alone. (A cache that compares trees would wait at every one.)
    """

    @wraps(make)
    def kept(taxonomy: Taxonomy, *args: P.args, **kwargs: P.kwargs) -> T:
        made = taxonomy.__dict__.setdefault("_made", {})
        key = (make, args, *kwargs.items())
        if key not in made:
            with torch.inference_mode(False):  # a tensor made in it could not be saved for a backward pass later
                made[key] = make(taxonomy, *args, **kwargs)
        found: T = made[key]
        return found

    return kept


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
    """Windows of siblings, who are neighbours on the node axis; roots are siblings of each other.

    Attributes:
        first: First node of each sibling group ``[G]``, see `Taxonomy.group`.
        size: Nodes of each group ``[G]``.
        widest: Size of the largest group of each level ``[L]``.
    """

    first: Tensor
    size: Tensor
    widest: tuple[int, ...]


@once_a_tree
def ended_leaves(taxonomy: Taxonomy) -> Ended:
    """The leaves above the last level."""
    counts = (*taxonomy.leaf_counts[:-1], 0)
    leaves = taxonomy.leaves[: sum(counts)]
    return Ended(leaves, taxonomy.level[leaves], counts)


@once_a_tree
def sibling_families(taxonomy: Taxonomy) -> Families:
    """The groups of siblings."""
    size = taxonomy.group.bincount()
    widest = torch.stack([size[taxonomy.group[nodes]].max() for nodes in taxonomy.level_slices])
    return Families(size.cumsum(0) - size, size, tuple(widest.tolist()))
