"""From a card to everything a run needs: the draw, the features, the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from hierfit.backbone import Backbone, encode_texts
from hierfit.data.batch import Task
from hierfit.data.cache import VectorCache, cache_of, digest
from hierfit.data.card import DataCard
from hierfit.data.encode import check, encode
from hierfit.data.novel import Novel, coarsened, depth_of, novel_leaves, seen_nodes
from hierfit.data.shared import Shared, get_or_make
from hierfit.data.splits import ShotsPolicy, coarse_left_out, draw_fingerprint, training_split, validation_split
from hierfit.data.table import Images, Split, Table, read_table
from hierfit.data.text import class_means
from hierfit.data.trees import StandIn, Tree, stand_in
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

Needs = Literal["features", "pixels"]
ValShots = Literal["coop", "all"]


@dataclass(frozen=True)
class Choice:
    """What is taken of a data set; see `HierarchicalDataModule` for the meaning of each."""

    shots: int | None = None
    seed: int = 0
    shots_policy: ShotsPolicy = "error"
    val_shots: ValShots = "coop"
    novel: Novel | None = None
    tree: Tree = "true"
    train_level: str | None = None
    coarse_shots: int | None = 0
    draw_from: str = "train"


@dataclass(frozen=True)
class Prepared:
    """A data set ready for training.

    Attributes:
        table: The whole data set, on its own tree.
        tree: What the task's tree has to do with that one.
        splits: What is taken of `train`, `test` and, if there is one, `val`, on the task's tree; with features unless
            pixels are wanted.
        task: What a method may know.
        backbone: What made the features, or encodes them.
        fingerprint: Hash of its weights and preprocessing before training; for a file of features, of it.
        coarse_left_out: Training samples that the draw left out because no leaf is known of them.
        train_per_leaf: Smallest, median and largest number of training images of the leaves trained on.
    """

    table: Table
    tree: StandIn
    splits: dict[str, Split]
    task: Task
    backbone: str
    fingerprint: str
    coarse_left_out: int
    train_per_leaf: dict[str, float]


def prepare(
    card: DataCard,
    root: str | None,
    backbone: str | None,
    needs: Needs,
    choice: Choice,
    cache_dir: str | None = None,
    num_workers: int = 0,
    device: torch.device | str = "cpu",
    shared: Shared | None = None,
) -> Prepared:
    """Read, draw, encode.

    Only what the run uses is encoded: the draw, `val` and `test`; other draws find in the cache what they share.
    Features lie in a folder for card, towers and code version, under a hash of each picture's file (place, size,
    time) or of how it is drawn.

    Draw, classes held back and prompts are those of the data set's own tree. Another in its place comes after them, so
    that nothing else differs; and last, labels below `Choice.train_level` are taken from training and validation.

    Raises:
        UserError: The data are not as the card says, a leaf has too few images, pictures cannot be decoded,
            or data set, tree, backbone and needs do not go together.
    """
    if needs == "pixels" and choice.tree == "induced":
        raise UserError(
            "data.tree: induced: its inner nodes have no names for a text tower to read, and this method trains one",
            hint="Choose another tree, or a method that works on features.",
        )
    table = get_or_make(shared, ("table", str(card.path), card.fingerprint, root), lambda: read_table(card, root))
    seen = torch.ones(table.taxonomy.num_nodes, dtype=torch.bool)
    if choice.novel is not None:
        seen = seen_nodes(table.taxonomy, novel_leaves(table.taxonomy, choice.novel))
    train = training_split(
        table, choice.shots, choice.seed, choice.shots_policy, seen, choice.coarse_shots, choice.draw_from
    )
    left_out, splits = coarse_left_out(table, train, choice.shots, seen, choice.draw_from), {"train": train}
    per_leaf = _per_leaf(train, table.taxonomy, seen)
    if "val" in table.splits:
        shots = choice.shots if choice.val_shots == "coop" else None
        splits["val"] = validation_split(table, shots, choice.seed, seen, choice.coarse_shots)
    splits["test"] = table.splits["test"]
    if table.images is None:
        return _from_features(card, table, splits, seen, needs, choice, left_out, per_leaf)
    if backbone is None:
        raise UserError(f"card {card.name!r} holds pictures: data.backbone must name what encodes them")
    towers = get_or_make(shared, ("towers", backbone), lambda: Backbone.load(backbone)).to(device)
    texts = card.texts(table.taxonomy)
    text = node_features(towers, texts, cache_of(card.name, cache_dir, "text", towers.fingerprint))
    if needs == "pixels":
        everything = [key for split in splits.values() for key in split.keys]
        check(everything, table.images, cache_of(card.name, cache_dir, "checked"), num_workers)
    else:
        cache = cache_of(card.name, cache_dir, "images", towers.fingerprint)
        splits = encoded(splits, table.images, towers, cache, num_workers)
    fingerprint = towers.fingerprint
    tree = stand_in(choice.tree, table.taxonomy, text)
    splits, told = _told(tree, choice, _on(tree, choice.tree, splits), seen)
    prompts = _prompts(tree, texts)
    task = _task(tree, choice, splits, told, tree.text(text), "prompts", prompts, towers.logit_scale, towers.cpu())
    return Prepared(table, tree, splits, task, backbone, fingerprint, left_out, per_leaf)


def node_features(backbone: Backbone, texts: Sequence[Sequence[str]], cache: VectorCache) -> Tensor:
    """Text features of all nodes ``[N, d]`` from their prompts, through the cache, on the CPU."""
    # Kept tree by tree: a feature changes in its last bits with the texts that share its batch.
    together = repr(texts)
    digests = [digest(together, str(node)) for node in range(len(texts))]
    text, missing = cache.read(digests)
    if len(missing):
        text = encode_texts(backbone, texts).cpu()
        cache.add(digests, text)
    return text


def _from_features(
    card: DataCard,
    table: Table,
    splits: dict[str, Split],
    seen: Tensor,
    needs: Needs,
    choice: Choice,
    left_out: int,
    per_leaf: dict[str, float],
) -> Prepared:
    if needs == "pixels":
        raise UserError(
            f"card {card.name!r} holds features only, but this method trains the towers and needs pictures",
            hint="Choose a card with pictures, or a method that works on features.",
        )
    encoded = table.encoded
    assert encoded is not None
    tree = stand_in(choice.tree, table.taxonomy, encoded.text)
    splits, told = _told(tree, choice, _on(tree, choice.tree, splits), seen)
    if encoded.text is None and not told.all():
        key = "data.novel" if choice.novel is not None else "data.train_level"
        raise UserError(
            f"card {card.name!r} has no text features, so nothing is known of classes held back ({key})",
            hint="Choose a card with pictures or with text features.",
        )
    if encoded.text is not None:
        text, source = tree.text(encoded.text), "bundle"
    else:
        train = splits["train"]
        assert train.features is not None
        text, source = class_means(train.features, tree.taxonomy.paths(train.nodes), tree.taxonomy), "class means"
    task = _task(tree, choice, splits, told, text, source, None, encoded.logit_scale, None)
    return Prepared(table, tree, splits, task, encoded.backbone, encoded.fingerprint, left_out, per_leaf)


def _per_leaf(train: Split, taxonomy: Taxonomy, seen: Tensor) -> dict[str, float]:
    leaves = taxonomy.leaves[seen[taxonomy.leaves]]
    counts = train.nodes[train.nodes >= 0].bincount(minlength=taxonomy.num_nodes)[leaves].double()
    return {"min": int(counts.min()), "median": float(counts.quantile(0.5)), "max": int(counts.max())}


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


def _told(tree: StandIn, choice: Choice, splits: dict[str, Split], seen: Tensor) -> tuple[dict[str, Split], Tensor]:
    """Splits with no more of the labels than training and validation are told, and the nodes these can name.

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
    told = {
        name: split if name == "test" else replace(split, nodes=coarsened(split.nodes, taxonomy, depth))
        for name, split in splits.items()
    }
    return told, seen & (taxonomy.level <= depth)


def _prompts(tree: StandIn, texts: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...] | None:
    """Each node's own of the true tree's prompts; None where a node has none."""
    origin = tree.origin.tolist()
    return None if -1 in origin else tuple(tuple(texts[node]) for node in origin)


def encoded(
    splits: dict[str, Split], images: Images, towers: Backbone, cache: VectorCache, num_workers: int
) -> dict[str, Split]:
    """Splits with their features, all in one go: one progress bar, and one list of all pictures that cannot be used."""
    everything = [key for split in splits.values() for key in split.keys]
    features = encode(everything, images, towers.preprocess, towers.encode_image, cache, num_workers, towers.device)
    parts = features.split([len(split) for split in splits.values()])
    return {name: replace(split, features=part) for (name, split), part in zip(splits.items(), parts, strict=True)}


def _task(
    tree: StandIn,
    choice: Choice,
    splits: dict[str, Split],
    seen: Tensor,
    text: Tensor,
    text_source: str,
    prompts: tuple[tuple[str, ...], ...] | None,
    logit_scale: float,
    backbone: Backbone | None,
) -> Task:
    """The task on a tree, of which nodes are ``seen``."""
    train = splits["train"]
    return Task(
        taxonomy=tree.taxonomy,
        text=text,
        text_source=text_source,
        prompts=prompts,
        seen=seen,
        logit_scale=logit_scale,
        backbone=backbone,
        train_features=train.features,
        train_paths=tree.taxonomy.paths(train.nodes),
        shuffle=choice.seed if choice.tree == "shuffled" else None,
    )


def _protocol(choice: Choice) -> str:
    if choice.train_level is not None:
        said = f"labels down to {choice.train_level}"
    else:
        said = "all classes" if choice.novel is None else f"novel {choice.novel}"
    if choice.shots is None or choice.coarse_shots == 0:
        return said
    return f"{said}, {'all' if choice.coarse_shots is None else choice.coarse_shots} labelled at each inner node"


def level_sizes(taxonomy: Taxonomy) -> dict[str, int]:
    """Name and number of nodes of each level, coarse to fine."""
    return dict(zip(taxonomy.levels, taxonomy.level_sizes, strict=True))


def summary(prepared: Prepared, card: DataCard, choice: Choice) -> dict[str, object]:
    """The facts of the data that go into a result card: plain values only."""
    return {
        "card": card.name,
        "card_version": card.version,
        "card_fingerprint": card.fingerprint,
        "levels": level_sizes(prepared.table.taxonomy),
        "tree": choice.tree,
        "taxonomy_fingerprint": prepared.task.taxonomy.fingerprint,
        "true_taxonomy_fingerprint": prepared.table.taxonomy.fingerprint,
        "protocol": _protocol(choice),
        "shots": choice.shots,
        "seed": choice.seed,
        "draw": {name: draw_fingerprint(split.keys) for name, split in prepared.splits.items()},
        "images": {name: len(split) for name, split in prepared.splits.items()},
        "train_per_leaf": prepared.train_per_leaf,
        "has_val": "val" in prepared.splits,
        "text_source": prepared.task.text_source,
        "backbone": prepared.backbone,
        "backbone_fingerprint": prepared.fingerprint,
    }
