"""Splits for data that come without, drawn by hashes of seed and key alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hierfit.data.choice import lot
from hierfit.data.samples import SPLITS, Split
from hierfit.errors import UserError


@dataclass(frozen=True)
class Draw:
    """Which part of each label's samples goes where; the rest is to train on.

    Attributes:
        val: Share of the validation split, 0 for none.
        test: Share of the test split, 0 for data that have one.
        seed: Of the draw. A sample's place depends on seed, its key and its label's other samples alone.
    """

    val: float = 0.1
    test: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        if not 0 <= self.val < 1:
            problems.append(f"val is {self.val}; it must be a share from 0 to below 1")
        if not 0 <= self.test < 1:
            problems.append(f"test is {self.test}; it must be a share from 0 to below 1")
        if self.val == self.test == 0:
            problems.append("val and test are 0, so that there is nothing to draw")
        if not problems and self.val + self.test >= 1:
            problems.append(f"val {self.val} and test {self.test} leave nothing to train on")
        if problems:
            raise UserError("this draw cannot be made", problems)

    def of(self, splits: Mapping[str, Split], name: str) -> dict[str, Split]:
        """The splits, of which the one of a name is divided."""
        drawn = self.splits(splits[name].keys, splits[name].nodes)
        found = {**{n: split for n, split in splits.items() if n != name}, **drawn}
        return {n: found[n] for n in sorted(found, key=lambda n: SPLITS.index(n) if n in SPLITS else 0)}

    def splits(self, keys: Sequence[str], nodes: torch.Tensor) -> dict[str, Split]:
        """Divide samples among `train`, `val` and `test`.

        Of a label's n samples, the share is rounded; but a label of two or more has one to test, of three or more one
        to validate on, and always one to train on.

        Args:
            keys: Names of the n samples, all different.
            nodes: Their labels ``[n]``.
        """
        lots = np.array([lot(f"split {self.seed}", key) for key in keys], dtype=np.uint64)
        labels = nodes.numpy()
        order = np.lexsort((lots, labels))
        _, counts = np.unique(labels, return_counts=True)
        size = np.repeat(counts, counts)
        rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        test = np.minimum(np.maximum(np.rint(self.test * size), 1), size - 1) * (self.test > 0)
        val = np.minimum(np.maximum(np.rint(self.val * size), 1), np.maximum(size - test - 1, 0)) * (self.val > 0)
        parts = {"train": rank >= test + val, "val": (rank >= test) & (rank < test + val), "test": rank < test}
        found = {}
        for name, chosen in parts.items():
            rows = np.sort(order[chosen]).tolist()
            if rows or name == "train" or (name == "test" and self.test > 0):
                found[name] = Split(tuple(keys[row] for row in rows), nodes[rows])
        return found
