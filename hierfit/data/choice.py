"""What is taken of a data set: how many images of a class, how much of their labels is told, what is held back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hierfit.data.trees import Tree
from hierfit.errors import UserError, nearest
from hierfit.taxonomy import Taxonomy

Novel = Literal["halves", "siblings", "subtrees"]
"""``halves``: the second half of the leaves in the order of their names (CoOp's base-to-new, Zhou et al. 2022).
``siblings``: half of each family, so that every novel leaf has a parent that was seen.
``subtrees``: half of the parents under each grandparent, with all their leaves: novel families, seen orders."""


@dataclass(frozen=True)
class Choice:
    """What is taken of a data set; see `HierarchicalDataModule` for the meaning of each."""

    shots: int | None = None
    seed: int = 0
    shots_policy: Literal["error", "all"] = "error"
    val_shots: Literal["coop", "all"] = "coop"
    novel: Novel | None = None
    tree: Tree = "true"
    train_level: str | None = None
    coarse_shots: int | None = 0
    draw_from: str = "train"
    coarse: tuple[tuple[str, int], ...] = ()
    tail: tuple[int, ...] = ()

    @property
    def key(self) -> str | None:
        """The key that says how many images of a leaf are drawn; None where all there are train."""
        return next(self._keys(), None)

    def _keys(self) -> Iterator[str]:
        given = {"data.shots": self.shots, "data.coarse": self.coarse, "data.tail": self.tail}
        return (key for key, value in given.items() if value)

    @property
    def drawn(self) -> str | None:
        """Images of a leaf, in words, where not every leaf has as many that are told it: ``2 + 8``, ``1 to 16``."""
        if self.tail:
            return f"{min(self.tail)} to {max(self.tail)}"
        return " + ".join(str(count) for _, count in self.coarse) or None

    @property
    def protocol(self) -> str:
        """In words: ``novel halves``."""
        if self.train_level is not None:
            text = f"labels down to {self.train_level}"
        else:
            text = "all classes" if self.novel is None else f"novel {self.novel}"
        if self.coarse:
            text = f"{text}, labelled " + ", ".join(f"by {told} {count}" for told, count in self.coarse)
        if self.tail:
            text = f"{text}, long tail {', '.join(map(str, self.tail))}"
        if self.key is None or self.coarse_shots == 0:
            return text
        return f"{text}, {'all' if self.coarse_shots is None else self.coarse_shots} labelled at each inner node"

    def counts(self, taxonomy: Taxonomy) -> NDArray[np.int64]:
        """How many training images are drawn of each leaf ``[C]``.

        The counts of a tail go round the leaves in the order of a hash of seed and name.
        """
        if not self.tail:
            return np.full(taxonomy.num_leaves, sum(count for _, count in self.coarse) or self.shots)
        lots = [lot(f"tail {self.seed}", taxonomy.full_name(leaf)) for leaf in taxonomy.leaves.tolist()]
        places = np.argsort(np.argsort(np.array(lots, dtype=np.uint64), kind="stable"))
        return np.array(self.tail)[places % len(self.tail)]

    def val_counts(self, taxonomy: Taxonomy) -> NDArray[np.int64]:
        """How many validation images are drawn of each leaf ``[C]``: as many as training is told of, at most 4."""
        told = np.full(taxonomy.num_leaves, self.coarse[0][1]) if self.coarse else self.counts(taxonomy)
        return np.minimum(told, 4)  # CoOp's (Zhou et al. 2022)

    def contradictions(self) -> Iterator[str]:
        """What of it does not go together, whatever the data set."""
        if len(given := [*self._keys()]) > 1:
            yield f"{' and '.join(given)}: each says how many images of a leaf are drawn; set all but one to null"
        if self.novel is not None and self.train_level is not None:
            yield "data.novel and data.train_level: a run holds back either classes or levels, not both"
        if self.coarse and (self.novel is not None or self.train_level is not None):
            yield "data.coarse: cuts labels itself, so neither data.novel nor data.train_level goes with it"


def coarse_of(given: Mapping[str, int] | None, levels: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """``data.coarse`` as a choice holds it: the finest first, whatever the order of its keys.

    Raises:
        UserError: A key is no level above the leaves', or no image is told its leaf.
    """
    if given is None:
        return ()
    order = {told: depth for depth, told in enumerate((*levels[:-1], "parent", "leaf"))}
    problems = [
        f"data.coarse: {name}: must be leaf, parent or a level above the leaves'{nearest(name, order)}"
        for name in given
        if name not in order
    ]
    if "leaf" not in given:
        problems.append("data.coarse: leaf is missing; where no image is told its leaf, set data.train_level instead")
    if problems:
        raise UserError("these values cannot be used", problems)
    return tuple(sorted(given.items(), key=lambda item: -order[item[0]]))


def lot(seed: int | str, key: str) -> int:
    """What a key draws: 64 bits of a hash of it and the seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}\n{key}".encode()).digest()[:8], "big")


def novel_leaves(taxonomy: Taxonomy, kind: Novel) -> Tensor:
    """Which leaves are novel ``[C]`` bool, by names alone: no seed, the same for every method and machine.

    Of an odd number, base gets the larger part. ``subtrees`` divides the parents of leaves among their own siblings;
    in a tree of two levels these are the roots.

    Raises:
        UserError: Nothing would be held back: no leaf has a sibling, or no parent has.
    """
    nodes, families = taxonomy.leaves.tolist(), dict[int, list[int]]()
    if kind == "subtrees":
        nodes = sorted(set(taxonomy.parent[nodes].tolist()) - {-1})
    for node, parent in zip(nodes, taxonomy.parent[nodes].tolist(), strict=True):
        families.setdefault(0 if kind == "halves" else parent, []).append(node)
    held = [
        node
        for family in families.values()
        for node in sorted(family, key=lambda v: (taxonomy.names[v], v))[(len(family) + 1) // 2 :]
    ]
    if not held:
        what = {"halves": "there is one leaf only", "siblings": "no leaf has a sibling"}
        raise UserError(
            f"data.novel: {kind} would hold nothing back: {what.get(kind, 'no parent of leaves has a sibling')}",
            hint="Choose another kind: halves, siblings or subtrees.",
        )
    paths = taxonomy.leaf_paths
    return torch.isin(paths, torch.tensor(held, dtype=paths.dtype)).any(dim=1)


def seen_nodes(taxonomy: Taxonomy, novel: Tensor) -> Tensor:
    """Nodes with a base leaf at or below them ``[N]`` bool, of novel leaves ``[C]`` bool."""
    seen = torch.zeros(taxonomy.num_nodes, dtype=torch.bool)
    paths = taxonomy.leaf_paths[~novel]
    seen[paths[paths >= 0]] = True
    return seen


def depth_of(levels: Iterable[str], level: str) -> int:
    """Depth of the level that ``data.train_level`` names; raises `UserError` with the nearest where there is none."""
    levels = list(levels)
    if level not in levels:
        raise UserError(f"data.train_level: there is no level {level!r}{nearest(level, levels)}")
    return levels.index(level)


def coarsened(nodes: Tensor, taxonomy: Taxonomy, depth: int) -> Tensor:
    """Each node's ancestor at ``depth``, or itself where it lies above that ``[...]``; −1 stays −1."""
    return taxonomy.paths(nodes)[..., : depth + 1].amax(dim=-1)  # ids grow with depth
