"""What is taken of a data set: how many images of a class, and how much of their labels is told."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hierfit.config.schema import nearest
from hierfit.data.novel import Novel
from hierfit.data.trees import Tree
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

_MOST_VAL = 4  # CoOp's (Zhou et al. 2022)


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
        given = {"data.shots": self.shots, "data.coarse": self.coarse, "data.tail": self.tail}
        return next((key for key, value in given.items() if value), None)

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
        return np.minimum(told, _MOST_VAL)

    def faults(self) -> Iterator[str]:
        """What is wrong with it, whatever the data set."""
        for name, value, least in (
            ("shots", self.shots, 1),
            ("coarse_shots", self.coarse_shots, 0),
            ("seed", self.seed, 0),
            *((f"coarse.{told}", count, 1) for told, count in self.coarse),
            *(("tail", count, 1) for count in self.tail),
        ):
            if value is not None and value < least:
                yield f"data.{name}: {value}, must be at least {least}"
        kinds: dict[str, tuple[Any, ...]] = {"novel": (None, *get_args(Novel)), "tree": get_args(Tree)}
        for name, options in kinds.items():
            if getattr(self, name) not in options:
                yield f"data.{name}: {getattr(self, name)}, must be one of {', '.join(filter(None, options))}"
        given = [f"data.{name}" for name in ("shots", "coarse", "tail") if getattr(self, name)]
        if len(given) > 1:
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
    order = {
        **{level: depth for depth, level in enumerate(levels[:-1])},
        "parent": len(levels),
        "leaf": len(levels) + 1,
    }
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
