"""Features for whoever wants to hand them on: of a bundle, or of a data card's whole splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from hierfit.backbone import Backbone
from hierfit.config.schema import nearest
from hierfit.data.bundle import Bundle, BundleSplit, read_bundle
from hierfit.data.cache import cache_of
from hierfit.data.card import load_card
from hierfit.data.encode import encoded, node_features
from hierfit.data.table import Split, Table, names_of, read_table
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

T = TypeVar("T")


@dataclass(frozen=True)
class Features:
    """A bundle, and what it has no place for.

    Attributes:
        bundle: Features, labels, tree.
        keys: Names of the samples of each split, where they are known.
    """

    bundle: Bundle
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict)


def features_of_bundle(path: Path, splits: Sequence[str] | None) -> Features:
    """Features from a file; of some splits or (None) all.

    Raises:
        UserError: The file is not sound, or has no such split.
    """
    bundle = read_bundle(path)
    return Features(replace(bundle, splits=_chosen(bundle.splits, splits, str(path))))


def features_of_card(
    name: str, splits: Sequence[str] | None, root: str | None, backbone: str, cache_dir: str | None, workers: int
) -> Features:
    """Features of a card's whole splits, from the cache of runs as far as it has them.

    Raises:
        UserError: There is no such card, its data are not as it says, or it has no such split.
    """
    card = load_card(name)
    table = read_table(card, root)
    table = replace(table, splits=_chosen(table.splits, splits, f"card {card.name!r}"))
    keys = {split: part.keys for split, part in table.splits.items()}
    if table.images is None:
        known = table.encoded
        assert known is not None
        return Features(_bundle(table, known.text, known.backbone, known.logit_scale, card.name))
    towers = Backbone.load(backbone).to("cuda" if torch.cuda.is_available() else "cpu")
    text_cache = cache_of(card.name, cache_dir, "text", towers.fingerprint)
    text = node_features(towers, card.texts(table.taxonomy), text_cache)
    cache = cache_of(card.name, cache_dir, "images", towers.fingerprint)
    table = replace(table, splits=encoded(table.splits, table.images, towers, cache, workers))
    return Features(_bundle(table, text, backbone, towers.logit_scale, card.name), keys)


def _bundle(table: Table, text: Tensor | None, backbone: str, logit_scale: float, card: str) -> Bundle:
    """A bundle of a card's table; its node ids are those of a tree of the leaves' paths."""
    tree = table.taxonomy
    paths = tuple(names_of(tree, tree.leaves))
    own = Taxonomy.from_paths(paths, tree.levels)
    place = own.resolve(list(names_of(tree, torch.arange(tree.num_nodes))))
    splits = {name: _split(split, tree, own, place) for name, split in table.splits.items()}
    node_text = None
    if text is not None:
        node_text = torch.empty_like(text)
        node_text[place] = text
    return Bundle(
        levels=tree.levels,
        paths=paths,
        splits=splits,
        node_text=node_text,
        backbone=backbone,
        logit_scale=logit_scale,
        note=f"exported from the card {card}",
    )


def _split(split: Split, tree: Taxonomy, own: Taxonomy, place: Tensor) -> BundleSplit:
    assert split.features is not None
    labels = tree.leaf_index[split.nodes]
    return BundleSplit(split.features, labels, own.paths(place[split.nodes]) if (labels < 0).any() else None)


def _chosen(splits: Mapping[str, T], names: Sequence[str] | None, where: str) -> dict[str, T]:
    if absent := [f"there is no split {name!r}{nearest(name, splits)}" for name in names or () if name not in splits]:
        raise UserError(f"{where} has {', '.join(splits)}", absent)
    return {name: split for name, split in splits.items() if names is None or name in names}
