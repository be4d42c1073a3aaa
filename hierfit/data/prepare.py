"""From a table to everything a run needs: the draw, the features, the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from hierfit.backbone import Backbone
from hierfit.data.batch import Task
from hierfit.data.cache import cache_of
from hierfit.data.card import DataCard
from hierfit.data.choice import Choice
from hierfit.data.encode import check, encoded, node_features
from hierfit.data.novel import coarsened, depth_of, novel_leaves, seen_nodes
from hierfit.data.prepared import Prepared
from hierfit.data.samples import Split, Table
from hierfit.data.shared import Shared, get_or_make
from hierfit.data.splits import coarse_left_out, training_split, validation_split
from hierfit.data.text import class_means
from hierfit.data.trees import StandIn, Tree, same_nodes, stand_in
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy


@dataclass(frozen=True)
class Towers:
    """What encodes pictures and texts, and how; see `HierarchicalDataModule` for the meaning of each."""

    name: str | None
    needs: Literal["features", "pixels"] = "features"
    cache_dir: str | None = None
    num_workers: int = 0
    device: torch.device | str = "cpu"
    shared: Shared | None = None

    def load(self, name: str) -> Backbone:
        """The towers as they came: those of a task may have been trained by now."""
        return get_or_make(self.shared, ("towers", name), lambda: Backbone.load(name)).to(self.device)


def prepare(card: DataCard, table: Table, choice: Choice, towers: Towers, like: Prepared | None = None) -> Prepared:
    """Draw, encode.

    Only what the run uses is encoded: the draw, `val` and `test`; other draws find in the cache what they share.
    Features lie in a folder for card, towers and code version, under a hash of each picture's file (place, size,
    time) or of how it is drawn.

    Draw, classes held back and prompts are those of the data set's own tree. Another in its place comes after them, so
    that nothing else differs; and last, labels below `Choice.train_level` are taken from training and validation.

    Args:
        card: The card.
        table: What it has read.
        choice: What is taken of it.
        towers: What encodes it.
        like: What was trained on, for a data set to test on: only its test split is taken, and classes that are the
            source's are scored by the source's text.

    Raises:
        UserError: A leaf has too few images, pictures cannot be decoded, or data set, tree, backbone and needs, or
            the source, do not go together.
    """
    true, columns = table.taxonomy, None if like is None else same_nodes(table.taxonomy, like.task.taxonomy)
    _check(card, table, choice, towers, like, columns)
    seen, left_out = torch.ones(true.num_nodes, dtype=torch.bool), 0
    if like is not None:
        splits = {"test": table.splits["test"]}
    else:
        if choice.novel is not None:
            seen = seen_nodes(true, novel_leaves(true, choice.novel))
        splits, left_out = _draw(table, choice, seen)
    per_leaf = _per_leaf(splits["train"], true, seen) if "train" in splits else {}
    backbone, texts, text, source = None, None, None, "bundle"
    if table.encoded is not None:
        text, name, fingerprint = table.encoded.text, table.encoded.backbone, table.encoded.fingerprint
        logit_scale = table.encoded.logit_scale
    else:
        assert towers.name is not None
        backbone, name, source = towers.load(towers.name), towers.name, "prompts"
        fingerprint, logit_scale = backbone.fingerprint, backbone.logit_scale
        if columns is None:
            texts = card.texts(true)
            text = node_features(backbone, texts, cache_of(card.name, towers.cache_dir, "text", fingerprint))
        splits = _encoded(card, table, splits, backbone, towers)
        backbone = backbone.cpu()
    tree = stand_in(choice.tree, true, text)
    if like is not None:
        backbone = like.task.backbone
        if columns is not None:
            seen, text, source = like.task.seen[columns], like.task.text[columns], like.task.text_source
    else:
        splits, seen = _shown(tree, choice, _on(tree, choice.tree, splits), seen)
        if text is not None:
            text = tree.text(text)
        elif not seen.all():
            key = "data.novel" if choice.novel is not None else "data.train_level"
            raise UserError(
                f"card {card.name!r} has no text features, so nothing is known of classes held back ({key})",
                hint="Choose a card with pictures or with text features.",
            )
        else:
            assert splits["train"].features is not None
            paths = tree.taxonomy.paths(splits["train"].nodes)
            text, source = class_means(splits["train"].features, paths, tree.taxonomy), "class means"
    assert text is not None
    train = splits.get("train")
    task = Task(
        taxonomy=tree.taxonomy,
        text=text,
        text_source=source,
        prompts=None if texts is None else _prompts(tree, texts),
        seen=seen,
        logit_scale=logit_scale,
        backbone=backbone,
        train_features=None if train is None else train.features,
        train_paths=tree.taxonomy.paths(torch.zeros(0, dtype=torch.int64) if train is None else train.nodes),
        shuffle=choice.seed if choice.tree == "shuffled" else None,
    )
    return Prepared(card, table, choice, tree, splits, task, name, fingerprint, left_out, per_leaf, columns)


def _check(
    card: DataCard, table: Table, choice: Choice, towers: Towers, like: Prepared | None, columns: Tensor | None
) -> None:
    """Refuses what does not go together, before anything is drawn or encoded."""
    if towers.needs == "pixels" and choice.tree == "induced":
        raise UserError(
            "data.tree: induced: its inner nodes have no names for a text tower to read, and this method trains one",
            hint="Choose another tree, or a method that works on features.",
        )
    encoded = table.encoded
    if like is None:
        if encoded is not None and towers.needs == "pixels":
            raise UserError(
                f"card {card.name!r} holds features only, but this method trains the towers and needs pictures",
                hint="Choose a card with pictures, or a method that works on features.",
            )
        if encoded is None and towers.name is None:
            raise UserError(f"card {card.name!r} holds pictures: data.backbone must name what encodes them")
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
            problems.append("it holds features only, but this method trains the towers and needs pictures")
        if columns is None and encoded.text is None:
            problems.append("it has other classes than those that are trained on, and no text features of them")
    if problems:
        raise UserError("it does not go with the source", problems)


def _draw(table: Table, choice: Choice, seen: Tensor) -> tuple[dict[str, Split], int]:
    """What is taken of each split, and how many training samples are left out because no leaf is known of them."""
    splits = {"train": training_split(table, choice, seen)}
    if "val" in table.splits:
        splits["val"] = validation_split(table, choice, seen)
    splits["test"] = table.splits["test"]
    return splits, coarse_left_out(table, splits["train"], choice, seen)


def _per_leaf(train: Split, taxonomy: Taxonomy, seen: Tensor) -> dict[str, float]:
    leaves = taxonomy.leaves[seen[taxonomy.leaves]]
    counts = train.nodes[train.nodes >= 0].bincount(minlength=taxonomy.num_nodes)[leaves].double()
    return {"min": int(counts.min()), "median": float(counts.quantile(0.5)), "max": int(counts.max())}


def _encoded(
    card: DataCard, table: Table, splits: dict[str, Split], backbone: Backbone, towers: Towers
) -> dict[str, Split]:
    """The splits with features; as they are, but every picture looked at, where pixels are wanted."""
    assert table.images is not None
    if towers.needs == "pixels":
        keys = [key for split in splits.values() for key in split.keys]
        check(keys, table.images, cache_of(card.name, towers.cache_dir, "checked"), towers.num_workers)
        return splits
    cache = cache_of(card.name, towers.cache_dir, "images", backbone.fingerprint)
    return encoded(splits, table.images, backbone, cache, towers.num_workers)


def _on(tree: StandIn, kind: Tree, splits: dict[str, Split]) -> dict[str, Split]:
    """Splits with their labels on another tree; only leaves are in both.

    Raises:
        UserError: Samples are labelled at inner nodes.
    """
    moved = {name: replace(split, nodes=tree.nodes(split.nodes)) for name, split in splits.items()}
    lost = {name: int(((moved[name].nodes < 0) & (split.nodes >= 0)).sum()) for name, split in splits.items()}
    if any(lost.values()):
        raise UserError(
            f"data.tree: {kind}: samples are labelled at inner nodes, and no node of another tree has the same "
            "leaves below it",
            [f"{name}: {count} of {len(splits[name])} samples" for name, count in lost.items() if count],
            "Other trees can be tried on samples that are labelled at leaves: with data.shots, train on no others "
            "(data.coarse_shots: 0); from test, leave the others out (leave_out in the card).",
        )
    return moved


def _shown(tree: StandIn, choice: Choice, splits: dict[str, Split], seen: Tensor) -> tuple[dict[str, Split], Tensor]:
    """Splits with no more of the labels than training and validation are shown, and the nodes these can name.

    Args:
        tree: The task's.
        choice: Its `train_level` is a level of that tree.
        splits: On that tree.
        seen: Nodes of the true tree that are not held back.

    Returns:
        Splits, and which nodes of the task's tree are seen ``[N]`` bool.
    """
    taxonomy = tree.taxonomy
    seen = seen_nodes(taxonomy, ~seen[tree.true.leaves][tree.true_leaf])
    if choice.train_level is None:
        return splits, seen
    depth = depth_of(taxonomy.levels, choice.train_level)
    shown = {
        name: split if name == "test" else replace(split, nodes=coarsened(split.nodes, taxonomy, depth))
        for name, split in splits.items()
    }
    return shown, seen & (taxonomy.level <= depth)


def _prompts(tree: StandIn, texts: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...] | None:
    """Each node's own of the true tree's prompts; None where a node has none."""
    origin = tree.origin.tolist()
    return None if -1 in origin else tuple(tuple(texts[node]) for node in origin)
