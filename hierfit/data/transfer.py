"""Other data sets that a trained method is tested on: with other classes, or other pictures of the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from hierfit.backbone import Backbone
from hierfit.data.batch import Task
from hierfit.data.cache import cache_of
from hierfit.data.card import DataCard, load_card
from hierfit.data.encode import check, encode
from hierfit.data.prepare import Needs, Prepared, level_sizes, node_features
from hierfit.data.shared import Shared, get_or_make
from hierfit.data.splits import draw_fingerprint
from hierfit.data.table import Images, Split, Table, read_table
from hierfit.data.trees import StandIn, stand_in
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy


@dataclass(frozen=True)
class Target:
    """A data set to test on, of N' nodes.

    Attributes:
        card: Its card.
        split: Its test split; with features unless pixels are wanted.
        images: Gives the pictures; None when it holds features.
        task: Its classes; nothing of it is trained on.
        columns: For each of its nodes the source's node at the same path ``[N']``, where both have the same leaves and
            levels; None where the classes are others.
        fingerprint: Hash of what made its features, or encodes them.
    """

    card: DataCard
    split: Split
    images: Images | None
    task: Task
    columns: Tensor | None
    fingerprint: str

    def base(self, of_source: Tensor) -> Tensor:
        """Which nodes base-to-novel figures count as base ``[N']`` bool, of the source's ``[N]``; other classes all."""
        if self.columns is None:
            return torch.ones(self.task.taxonomy.num_nodes, dtype=torch.bool)
        return of_source[self.columns]

    @property
    def tree(self) -> StandIn:
        """Its own tree, in its own place."""
        return stand_in("true", self.task.taxonomy, None)

    def summary(self, source: Mapping[str, object]) -> dict[str, object]:
        """The facts of the data of a run that trained on a source and was tested here; see `prepare.summary`."""
        images, draw = source["images"], source["draw"]
        assert isinstance(images, Mapping)
        assert isinstance(draw, Mapping)
        protocol = "" if source["protocol"] == "all classes" else f", {source['protocol']}"
        fingerprint = self.task.taxonomy.fingerprint
        return {
            **source,
            "card": self.card.name,
            "card_version": self.card.version,
            "card_fingerprint": self.card.fingerprint,
            "levels": level_sizes(self.task.taxonomy),
            "taxonomy_fingerprint": fingerprint,
            "true_taxonomy_fingerprint": fingerprint,
            "protocol": f"trained on {source['card']}{protocol}",
            "source": {key: source[key] for key in ("card", "card_version", "card_fingerprint")},
            "draw": {**draw, "test": draw_fingerprint(self.split.keys)},
            "images": {**images, "test": len(self.split)},
            "text_source": self.task.text_source,
            "backbone_fingerprint": self.fingerprint,
        }


def target_cards(source: DataCard, targets: Mapping[str, str | None]) -> list[tuple[DataCard, str | None]]:
    """The cards of ``data.targets``, each with its root.

    Raises:
        UserError: Names every card that does not exist or cannot be read, is the source's, or is named twice.
    """
    found: dict[str, tuple[DataCard, str | None]] = {}
    problems: list[str] = []
    for name, root in targets.items():
        try:
            card = load_card(name)
        except UserError as error:
            problems += _lines(name, error)
            continue
        if card.name == source.name or card.path.resolve() == source.path.resolve():
            problems.append(f"{name}: this is the card that is trained on; its test split is tested anyway")
        elif card.name in found:
            problems.append(f"{name}: there is a target of this name already")
        found[card.name] = card, root
    if problems:
        raise UserError("data.targets cannot be used", problems)
    return list(found.values())


def prepare_targets(
    cards: Sequence[tuple[DataCard, str | None]],
    source_name: str,
    source: Prepared,
    backbone: str | None,
    needs: Needs,
    cache_dir: str | None = None,
    num_workers: int = 0,
    device: torch.device | str = "cpu",
    shared: Shared | None = None,
) -> tuple[Target, ...]:
    """Reads and encodes the test splits of targets as `prepare` does the source's.

    Raises:
        UserError: What is wrong with any of them: its data, a backbone or a width of features other than the source's,
            no text for classes the source does not have, no pictures for a method that needs them.
    """
    targets, problems = [], []
    for card, root in cards:
        try:
            key = ("target's table", str(card.path), card.fingerprint, root)
            table = get_or_make(shared, key, partial(read_table, card, root))
            columns = _columns(table.taxonomy, source.task.taxonomy)
            _check(card, table, columns, source, backbone, needs)
            if table.images is None:
                target = _from_features(card, table, columns, source)
            else:
                assert backbone is not None
                target = _from_pictures(card, table, columns, source, backbone, needs, cache_dir, num_workers, device)
            targets.append(target)
        except UserError as error:
            problems += _lines(card.name, error)
    if problems:
        raise UserError(f"what is trained on {source_name!r} cannot be tested on data.targets", problems)
    return tuple(targets)


def counterparts(here: Taxonomy, there: Taxonomy) -> Tensor:
    """For each node ``here`` the node ``there`` at the same full path, −1 where there is none ``[N]``; O(N)."""
    found = torch.full((here.num_nodes + 1,), -1)
    at = {key: v for v, key in enumerate(zip(there.parent.tolist(), there.names, strict=True))}
    for node, (parent, name) in enumerate(zip(here.parent.tolist(), here.names, strict=True)):
        if parent < 0 or found[parent] >= 0:
            found[node] = at.get((int(found[parent]), name), -1)
    return found[:-1]


def _columns(here: Taxonomy, there: Taxonomy) -> Tensor | None:
    """`counterparts` of trees with the same levels and paths, in whatever order; None for others."""
    if here.levels != there.levels or here.num_nodes != there.num_nodes:
        return None
    columns = counterparts(here, there)
    return columns if (columns >= 0).all() else None


def _check(
    card: DataCard, table: Table, columns: Tensor | None, source: Prepared, backbone: str | None, needs: Needs
) -> None:
    if table.encoded is None:
        name, width = backbone, None
    else:
        features = table.splits["test"].features
        assert features is not None
        name, width = table.encoded.backbone, features.shape[1]
    problems = []
    if name != source.backbone:
        problems.append(f"its images are encoded by {name!r}, those that are trained on by {source.backbone!r}")
    if width is not None and width != (wanted := source.task.text.shape[1]):
        problems.append(f"its features are {width} wide, those that are trained on {wanted}")
    if table.encoded is not None and needs == "pixels":
        problems.append("it holds features only, but this method trains the towers and needs pictures")
    if columns is None and table.encoded is not None and table.encoded.text is None:
        problems.append("it has other classes than those that are trained on, and no text features of them")
    if problems:
        raise UserError("it does not go with the source", problems)


def _from_features(card: DataCard, table: Table, columns: Tensor | None, source: Prepared) -> Target:
    encoded = table.encoded
    assert encoded is not None
    task = _task(table, columns, source, encoded.text, "bundle", None, encoded.logit_scale)
    return Target(card, table.splits["test"], None, task, columns, encoded.fingerprint)


def _from_pictures(
    card: DataCard,
    table: Table,
    columns: Tensor | None,
    source: Prepared,
    backbone: str,
    needs: Needs,
    cache_dir: str | None,
    num_workers: int,
    device: torch.device | str,
) -> Target:
    # Towers of its own, as they came: the source's may have been trained by now.
    towers = Backbone.load(backbone).to(device)
    split, images = table.splits["test"], table.images
    assert images is not None
    if needs == "pixels":
        check(split.keys, images, cache_of(card.name, cache_dir, "checked"), num_workers)
    else:
        cache = cache_of(card.name, cache_dir, "images", towers.fingerprint)
        features = encode(split.keys, images, towers.preprocess, towers.encode_image, cache, num_workers, device)
        split = replace(split, features=features)
    text, prompts = None, None
    if columns is None:
        text_cache = cache_of(card.name, cache_dir, "text", towers.fingerprint)
        texts = card.texts(table.taxonomy)
        text = node_features(towers, texts, text_cache)
        prompts = tuple(map(tuple, texts))
    task = _task(table, columns, source, text, "prompts", prompts, towers.logit_scale)
    return Target(card, split, images, task, columns, towers.fingerprint)


def _task(
    table: Table,
    columns: Tensor | None,
    source: Prepared,
    text: Tensor | None,
    text_source: str,
    prompts: tuple[tuple[str, ...], ...] | None,
    logit_scale: float,
) -> Task:
    """The target's task. Classes that are the source's are scored by the source's text, whatever the target's."""
    if columns is not None:
        text, text_source = source.task.text[columns], source.task.text_source
    assert text is not None
    return Task(
        taxonomy=table.taxonomy,
        text=text,
        text_source=text_source,
        prompts=prompts,
        seen=torch.ones(table.taxonomy.num_nodes, dtype=torch.bool) if columns is None else source.task.seen[columns],
        logit_scale=logit_scale,
        backbone=source.task.backbone,
        train_features=None,
        train_paths=torch.zeros(0, table.taxonomy.num_levels, dtype=torch.int64),
    )


def _lines(name: str, error: UserError) -> list[str]:
    return [f"{name}: {line}" for line in (error.summary, *error.problems)]
