"""What is taken of a data set, and what a run has of it: the draw, the features, the text, the facts for its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hierfit.data.batch import Task
from hierfit.data.card import DataCard
from hierfit.data.choice import Choice
from hierfit.data.samples import Split, Table
from hierfit.data.splits import draw_fingerprint
from hierfit.data.trees import StandIn

_OF_TARGET = (
    *("card", "card_version", "card_fingerprint", "levels", "taxonomy_fingerprint", "true_taxonomy_fingerprint"),
    *("text_source", "backbone_fingerprint"),
)
"""Facts that a data set to test on has of its own."""


@dataclass(frozen=True)
class Prepared:
    """A data set ready to train on, or to test on what was trained on another.

    Attributes:
        card: Its card.
        table: The whole data set, on its own tree.
        choice: What is taken of it.
        tree: What the task's tree has to do with that one.
        splits: What is taken of `train`, `test` and, if there is one, `val`, on the task's tree; with features unless
            pixels are wanted. Of a data set to test on, `test` only.
        task: What a method may know.
        backbone: What made the features, or encodes them.
        fingerprint: Hash of its weights and preprocessing before training; for a file of features, of it.
        coarse_left_out: Training samples that the draw left out because no leaf is known of them.
        train_per_leaf: Smallest, median and largest number of training images of the leaves trained on.
        columns: Of a data set to test on, for each node the source's node at the same path ``[N]``, where both have the
            same leaves and levels; None where the classes are others.
    """

    card: DataCard
    table: Table
    choice: Choice
    tree: StandIn
    splits: dict[str, Split]
    task: Task
    backbone: str
    fingerprint: str
    coarse_left_out: int
    train_per_leaf: dict[str, float]
    columns: Tensor | None = None

    def base(self, of_source: Tensor) -> Tensor:
        """Which nodes base-to-novel figures count as base ``[N]`` bool, of the source's; of other classes all."""
        return torch.ones_like(self.task.seen) if self.columns is None else of_source[self.columns]

    def summary(self, source: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The facts of the data that go into a result card: plain values only.

        Args:
            source: Those of the run, for a data set that it is tested on.
        """
        true, splits = self.table.taxonomy, self.splits
        facts: dict[str, Any] = {
            "card": self.card.name,
            "card_version": self.card.version,
            "card_fingerprint": self.card.fingerprint,
            "levels": dict(zip(true.levels, true.level_sizes, strict=True)),
            "tree": self.choice.tree,
            "taxonomy_fingerprint": self.task.taxonomy.fingerprint,
            "true_taxonomy_fingerprint": true.fingerprint,
            "protocol": self.choice.protocol,
            "shots": self.choice.shots,
            "seed": self.choice.seed,
            "draw": {name: draw_fingerprint(split.keys) for name, split in splits.items()},
            "images": {name: len(split) for name, split in splits.items()},
            "train_per_leaf": self.train_per_leaf,
            **({} if self.choice.drawn is None else {"drawn": self.choice.drawn}),
            "has_val": "val" in splits,
            "text_source": self.task.text_source,
            "backbone": self.backbone,
            "backbone_fingerprint": self.fingerprint,
        }
        if source is None:
            return facts
        protocol = "" if source["protocol"] == "all classes" else f", {source['protocol']}"
        return {
            **source,
            **{key: facts[key] for key in _OF_TARGET},
            "protocol": f"trained on {source['card']}{protocol}",
            "source": {key: source[key] for key in ("card", "card_version", "card_fingerprint")},
            "draw": {**source["draw"], **facts["draw"]},
            "images": {**source["images"], **facts["images"]},
        }
