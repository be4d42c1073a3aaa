"""Features of a bundle, or of a data card's whole splits, for other programs; the ending says in which format.

- ``.safetensors``: a bundle, see `hierfit.data.bundle`.
- ``.npz``: the same arrays under the same names; texts ``levels [L]``, ``leaves [C, L]`` and ``nodes [N, L]`` (names,
  coarse to fine, empty below a shallow node), ``backbone``, ``<split>.keys [n]`` where they are known; ``logit_scale``.
- No ending: a folder. ``<split>.npy`` holds features, ``<split>.csv`` a row for each: ``label`` (position of the leaf,
  −1 if unknown), names by level, ``key`` where it is known. ``leaves.csv``; text features in ``text.npy`` with
  ``text.csv``; ``about.json``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from hierfit.atomic import whole_file, whole_folder
from hierfit.backbone import Backbone
from hierfit.config.schema import nearest
from hierfit.data.bundle import Bundle, BundleSplit, check_sound, read_bundle, write_bundle
from hierfit.data.card import load_card
from hierfit.data.encode import cache_of, encoded, node_features
from hierfit.data.samples import Split, Table, names_of
from hierfit.data.table import read_table
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.writers import write_csv

T = TypeVar("T")


@dataclass(frozen=True)
class Features:
    """A bundle, and the names of the samples of each split, where they are known."""

    bundle: Bundle
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict)


def features_of_bundle(path: Path, splits: Sequence[str]) -> Features:
    """Features from a file; of some splits or (none named) all.

    Raises:
        UserError: The file is not sound, or has no such split.
    """
    bundle = read_bundle(path)
    return Features(replace(bundle, splits=_chosen(bundle.splits, splits, str(path))))


def features_of_card(
    name: str, splits: Sequence[str], root: str | None, backbone: str, cache_dir: str | None, workers: int
) -> Features:
    """Features of a card's splits, from the cache of runs as far as it has them.

    Raises:
        UserError: There is no such card, its data are not as it says, or it has no such split.
    """
    card = load_card(name)
    table = read_table(card, root)
    table = replace(table, splits=_chosen(table.splits, splits, f"card {card.name!r}"))
    keys = {split: part.keys for split, part in table.splits.items()}
    if (known := table.encoded) is not None:
        return Features(_bundle(table, known.text, known.backbone, known.logit_scale, card.name))
    assert table.images is not None
    towers = Backbone.load(backbone).to("cuda" if torch.cuda.is_available() else "cpu")
    text_cache = cache_of(card.name, cache_dir, "text", towers.fingerprint)
    text = node_features(towers, card.texts(table.taxonomy), text_cache)
    cache = cache_of(card.name, cache_dir, "images", towers.fingerprint)
    table = replace(table, splits=encoded(dict(table.splits), table.images, towers, cache, workers))
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


def _chosen(splits: Mapping[str, T], names: Sequence[str], where: str) -> dict[str, T]:
    if absent := [f"there is no split {name!r}{nearest(name, splits)}" for name in names if name not in splits]:
        raise UserError(f"{where} has {', '.join(splits)}", absent)
    return {name: split for name, split in splits.items() if not names or name in names}


def check_out(out: Path) -> None:
    """Raises `UserError` where nothing can be written under a name, before there is work to lose."""
    if out.suffix not in _WRITERS:
        hint = "Name a file .npz or .safetensors, or a new folder."
        raise UserError(f"{out}: no format of features ends in {out.suffix}", hint=hint)
    if out.is_dir() or (out.exists() and not out.suffix):
        raise UserError(f"{out} exists already", hint="Name a new one.")


def write_features(out: Path, features: Features) -> None:
    """Writes features in the format of the ending; what is written appears whole or not at all.

    Raises:
        UserError: It cannot be written, or its ending is of no format.
    """
    check_out(out)
    try:
        _WRITERS[out.suffix](out, features)
    except OSError as error:
        raise UserError(
            f"{out} cannot be written: {error.strerror}", hint="It needs room, and leave to write there."
        ) from error


def _write_npz(out: Path, features: Features) -> None:
    bundle, tree = features.bundle, features.bundle.taxonomy
    check_sound(out, bundle)
    arrays = {name: tensor.numpy() for name, tensor in bundle.tensors().items()}
    arrays |= {f"{name}.keys": np.array(keys) for name, keys in features.keys.items()}
    arrays |= {
        "levels": np.array(bundle.levels),
        "leaves": np.array([_filled(row, tree) for row in bundle.paths]),
        "nodes": np.array([_filled(row, tree) for row in names_of(tree, torch.arange(tree.num_nodes))]),
        "backbone": np.array(bundle.backbone),
        "logit_scale": np.array(bundle.logit_scale),
    }
    with whole_file(out) as draft, draft.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _write_folder(out: Path, features: Features) -> None:
    bundle, tree = features.bundle, features.bundle.taxonomy
    check_sound(out, bundle)
    with whole_folder(out) as draft:
        draft.mkdir()
        for name, split in bundle.splits.items():
            np.save(draft / f"{name}.npy", split.features.numpy())
            labels = zip(split.labels.tolist(), names_of(tree, _deepest(bundle, split)), strict=True)
            rows = ([str(label), *_filled(names, tree)] for label, names in labels)
            head = ["label", *tree.levels]
            if keys := features.keys.get(name):
                head, rows = [*head, "key"], ([*row, key] for row, key in zip(rows, keys, strict=True))
            write_csv(draft / f"{name}.csv", head, rows)
        leaves = ([str(label), *names] for label, names in enumerate(bundle.paths))
        write_csv(draft / "leaves.csv", ["label", *tree.levels], leaves)
        if (text := bundle.node_text if bundle.node_text is not None else bundle.text) is not None:
            np.save(draft / "text.npy", text.numpy())
            named = bundle.paths if bundle.node_text is None else names_of(tree, torch.arange(tree.num_nodes))
            write_csv(draft / "text.csv", tree.levels, named)
        about = {"backbone": bundle.backbone, "logit_scale": bundle.logit_scale, "note": bundle.note}
        (draft / "about.json").write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


_WRITERS: dict[str, Callable[[Path, Features], None]] = {
    ".safetensors": lambda out, features: write_bundle(out, features.bundle),
    ".npz": _write_npz,
    "": _write_folder,
}


def _deepest(bundle: Bundle, split: BundleSplit) -> Tensor:
    """Deepest known node of each sample ``[n]``."""
    if split.paths is not None:
        return split.paths.long().amax(-1)
    return bundle.taxonomy.resolve(bundle.paths)[split.labels.long()]


def _filled(names: Sequence[str], tree: Taxonomy) -> list[str]:
    return [*names, *[""] * (tree.num_levels - len(names))]
