"""Other trees over the same leaves: the controls for "does my tree help?"."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

Tree = Literal["true", "shuffled", "flat", "truncated", "induced"]
"""``true``: the data set's own. ``shuffled``: its own too, but what a method shares along it is shared among strangers
(`Task.shuffle`). ``flat``: leaves only. ``truncated``: without the levels between the coarsest and the leaves.
``induced``: grown from the leaves' text."""


@dataclass(frozen=True)
class StandIn:
    """A tree of N nodes in the place of a data set's own, over the same C leaves.

    ``origin [N]`` is for each node the one of the true tree whose name and text it bears, −1 for a new one; a leaf
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
        """Where leaves of the true tree ``[...]`` are now; −1 for −1, and for inner nodes unless it is the true one."""
        if self.taxonomy is self.true:
            return true_nodes
        here = torch.full((self.true.num_nodes + 1,), -1)
        here[self.origin[self.taxonomy.leaves]] = self.taxonomy.leaves
        return here[true_nodes]

    def text(self, true_text: Tensor) -> Tensor:
        """Text features ``[N, d]`` from the true tree's: each node's own; a new one's, the mean of its children's."""
        text = true_text[self.origin]
        if not (self.origin < 0).any():
            return text
        from hierfit.data.stand_ins import from_leaves  # here: most runs keep the tree they have

        return from_leaves(text, self.taxonomy)


def stand_in(kind: Tree, true: Taxonomy, text: Tensor | None) -> StandIn:
    """The tree of a kind in the place of the true one; an induced one needs text features ``[N, d]``, L2-normalised.

    Raises:
        UserError: The tree is too flat to give another of that kind, or has no text to grow one from.
    """
    if kind != "true" and true.num_levels == 1:
        raise UserError(f"data.tree: {kind}: the data set's tree has one level only, so there is no other to try")
    if kind in ("true", "shuffled"):  # labels, candidates and scoring are the true tree's
        return StandIn(true, true, torch.arange(true.num_nodes))
    from hierfit.data import stand_ins

    if kind != "induced":
        return stand_ins.flat(true) if kind == "flat" else stand_ins.truncated(true)
    if text is None:
        raise UserError(
            "data.tree: induced: the data set has no text features to grow a tree from",
            hint="Choose a card with pictures or with text features, or another tree.",
        )
    return stand_ins.induced(true, text)


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
