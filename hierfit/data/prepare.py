"""From a table to everything a run needs: the draw, the features, the text; for what is trained on, and for targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from hierfit.backbone import Backbone
from hierfit.data import splits as drawing
from hierfit.data.batch import Shared, Task
from hierfit.data.card import DataCard
from hierfit.data.choice import Choice, coarsened, depth_of, novel_leaves, seen_nodes
from hierfit.data.encode import cache_of, check_pictures, encoded, node_features
from hierfit.data.samples import Split, Table
from hierfit.data.trees import StandIn, same_nodes, stand_in
from hierfit.errors import UserError

_OF_TARGET = (
    *("card", "card_version", "card_fingerprint", "levels", "taxonomy_fingerprint", "true_taxonomy_fingerprint"),
    *("text_source", "backbone_fingerprint"),
)
"""Facts that a data set to test on has of its own."""


@dataclass(frozen=True)
class Towers:
    """What encodes pictures and texts, and how; see `HierarchicalDataModule` for the meaning of each."""

    name: str | None
    needs: Literal["features", "pixels"] = "features"
    cache_dir: str | None = None
    num_workers: int = 0
    device: torch.device | str = "cpu"
    shared: Shared = field(default_factory=Shared)

    def load(self, name: str) -> Backbone:
        """The towers as they came: those of a task may have been trained by now."""
        found: Backbone = self.shared.get(("towers", name), lambda: Backbone.load(name))
        return found.to(self.device)


@dataclass(frozen=True)
class Prepared:
    """A data set ready to train on, or to test on what was trained on another.

    Attributes:
        table: The whole data set, on its own tree.
        tree: What the task's tree has to do with that one.
        splits: What is taken of `train`, `test` and, if there is one, `val`, on the task's tree; with features unless
            pixels are wanted. Of a data set to test on, `test` only.
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
            "draw": {name: drawing.draw_fingerprint(split.keys) for name, split in splits.items()},
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


def prepare(card: DataCard, table: Table, choice: Choice, towers: Towers, like: Prepared | None = None) -> Prepared:
    """Draw, encode.

    Only what the run uses is encoded: the draw, `val` and `test`; other draws find in the cache what they share.
    Features lie in a folder for card, towers and code version, under a hash of each picture's file (place, size,
    time) or of how it is drawn.

    Draw, classes held back and prompts are those of the data set's own tree. Another in its place comes after them, so
    that nothing else differs; and last, labels below `Choice.train_level` are taken from training and validation.

    Args:
        like: What was trained on, for a data set to test on: only its test split is taken, and classes that are the
            source's are scored by the source's text.

    Raises:
        UserError: A leaf has too few images, pictures cannot be decoded, or data set, tree, backbone and needs, or
            the source, do not go together.
    """
    true, columns = table.taxonomy, None if like is None else same_nodes(table.taxonomy, like.task.taxonomy)
    _check_together(card, table, choice, towers, like, columns)
    seen, left_out = torch.ones(true.num_nodes, dtype=torch.bool), 0
    per_leaf: dict[str, float] = {}
    splits = {"test": table.splits["test"]}
    if like is None:
        if choice.novel is not None:
            seen = seen_nodes(true, novel_leaves(true, choice.novel))
        train = drawing.training_split(table, choice, seen)
        val = {"val": drawing.validation_split(table, choice, seen)} if "val" in table.splits else {}
        splits = {"train": train, **val, **splits}
        left_out = drawing.coarse_left_out(table, train, choice, seen)
        leaves = true.leaves[seen[true.leaves]]
        counts = train.nodes[train.nodes >= 0].bincount(minlength=true.num_nodes)[leaves].double()
        per_leaf = {"min": int(counts.min()), "median": float(counts.quantile(0.5)), "max": int(counts.max())}
    backbone, prompts, text, source = None, None, None, "bundle"
    if table.encoded is not None:
        made_by: Any = table.encoded
        text, name = made_by.text, made_by.backbone
    else:
        assert towers.name is not None
        assert table.images is not None
        name, source = towers.name, "prompts"
        backbone = made_by = towers.load(name)
        if columns is None:
            prompts = card.texts(true)
            text = node_features(backbone, prompts, card.name, towers.cache_dir)
        if towers.needs == "pixels":
            keys = [key for split in splits.values() for key in split.keys]
            check_pictures(keys, table.images, cache_of(card.name, towers.cache_dir, "checked"), towers.num_workers)
        else:
            splits = encoded(splits, table.images, backbone, card.name, towers.cache_dir, towers.num_workers)
        backbone = backbone.cpu()
    tree = stand_in(choice.tree, true, text)
    if like is not None:
        backbone = like.task.backbone
        if columns is not None:
            seen, text, source = like.task.seen[columns], like.task.text[columns], like.task.text_source
    else:
        splits, seen = _shown_to_method(tree, choice, splits, seen)
        if text is not None:
            text = tree.text(text)
        elif not seen.all():
            key = "data.novel" if choice.novel is not None else "data.train_level"
            raise UserError(
                f"card {card.name!r} has no text features, so nothing is known of classes held back ({key})",
                hint="Choose a card with pictures or with text features.",
            )
        else:
            from hierfit.data.stand_ins import class_means  # here: few data sets have no text

            assert splits["train"].features is not None
            paths = tree.taxonomy.paths(splits["train"].nodes)
            text, source = class_means(splits["train"].features, paths, tree.taxonomy), "class means"
    assert text is not None
    drawn, origin = splits.get("train"), tree.origin.tolist()
    task = Task(
        taxonomy=tree.taxonomy,
        text=text,
        text_source=source,
        prompts=None if prompts is None or -1 in origin else tuple(tuple(prompts[node]) for node in origin),
        seen=seen,
        logit_scale=made_by.logit_scale,
        backbone=backbone,
        train_features=None if drawn is None else drawn.features,
        train_paths=tree.taxonomy.paths(torch.zeros(0, dtype=torch.int64) if drawn is None else drawn.nodes),
        shuffle=choice.seed if choice.tree == "shuffled" else None,
    )
    return Prepared(card, table, choice, tree, splits, task, name, made_by.fingerprint, left_out, per_leaf, columns)


def _check_together(
    card: DataCard, table: Table, choice: Choice, towers: Towers, like: Prepared | None, columns: Tensor | None
) -> None:
    """Refuses what does not go together, before anything is drawn or encoded."""
    if towers.needs == "pixels" and choice.tree == "induced":
        raise UserError(
            "data.tree: induced: its inner nodes have no names for a text tower to read, and this method trains one",
            hint="Choose another tree, or a method that works on features.",
        )
    encoded = table.encoded
    no_pictures = "it holds features only, but this method trains the towers and needs pictures"
    if like is None:
        if encoded is None and towers.name is None:
            raise UserError(f"card {card.name!r} holds pictures: data.backbone must name what encodes them")
        if encoded is not None and towers.needs == "pixels":
            hint = "Choose a card with pictures, or a method that works on features."
            raise UserError(f"card {card.name!r} cannot be trained on: {no_pictures}", hint=hint)
        return
    problems = []
    if (name := towers.name if encoded is None else encoded.backbone) != like.backbone:
        problems.append(f"its images are encoded by {name!r}, those that are trained on by {like.backbone!r}")
    if encoded is not None:
        features, wanted = table.splits["test"].features, like.task.text.shape[1]
        assert features is not None
        if features.shape[1] != wanted:
            problems.append(f"its features are {features.shape[1]} wide, those that are trained on {wanted}")
        if towers.needs == "pixels":
            problems.append(no_pictures)
        if columns is None and encoded.text is None:
            problems.append("it has other classes than those that are trained on, and no text features of them")
    if problems:
        raise UserError("it does not go with the source", problems)


def _shown_to_method(
    tree: StandIn, choice: Choice, splits: dict[str, Split], seen: Tensor
) -> tuple[dict[str, Split], Tensor]:
    """Splits with their labels on the task's tree, no finer than `Choice.train_level` tells; and the nodes of that tree
    that training and validation can name ``[N]`` bool, of those of the true tree that are not held back.

    Raises:
        UserError: Labels are inner nodes, and the tree is another: only leaves are in both.
    """
    taxonomy = tree.taxonomy
    moved = {name: replace(split, nodes=tree.nodes(split.nodes)) for name, split in splits.items()}
    lost = {name: int(((moved[name].nodes < 0) & (split.nodes >= 0)).sum()) for name, split in splits.items()}
    if any(lost.values()):
        raise UserError(
            f"data.tree: {choice.tree}: samples are labelled at inner nodes, and no node of another tree has the same "
            "leaves below it",
            [f"{name}: {count} of {len(splits[name])} samples" for name, count in lost.items() if count],
            "Other trees can be tried on samples that are labelled at leaves: with data.shots, train on no others "
            "(data.coarse_shots: 0); from test, leave the others out (leave_out in the card).",
        )
    seen = seen_nodes(taxonomy, ~seen[tree.true.leaves][tree.true_leaf])
    if choice.train_level is None:
        return moved, seen
    depth = depth_of(taxonomy.levels, choice.train_level)
    for name in moved.keys() - {"test"}:
        moved[name] = replace(moved[name], nodes=coarsened(moved[name].nodes, taxonomy, depth))
    return moved, seen & (taxonomy.level <= depth)
