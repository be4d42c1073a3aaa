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
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hierfit.atomic import whole_file, whole_folder
from hierfit.backbone import Backbone
from hierfit.data.bundle import Bundle, BundleSplit, check_sound, read_bundle, write_bundle
from hierfit.data.card import load_card
from hierfit.data.encode import encoded, node_features
from hierfit.data.samples import names_of
from hierfit.data.table import read_table
from hierfit.errors import UserError, nearest
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.writers import write_csv

SampleKeys = Mapping[str, Sequence[str]]
"""Names of the samples of each split, where they are known."""


def features_of_bundle(path: Path, splits: Sequence[str]) -> tuple[Bundle, SampleKeys]:
    """Features from a file; of some splits or (none named) all.

    Raises:
        UserError: The file is not sound, or has no such split.
    """
    bundle = read_bundle(path)
    return replace(bundle, splits=_chosen(bundle.splits, splits, str(path))), {}


def features_of_card(
    name: str, splits: Sequence[str], root: str | None, backbone: str, cache_dir: str | None, workers: int
) -> tuple[Bundle, SampleKeys]:
    """Features of a card's splits, from the cache of runs as far as it has them.

    Raises:
        UserError: There is no such card, its data are not as it says, or it has no such split.
    """
    card = load_card(name)
    table = read_table(card, root)
    chosen, tree = _chosen(table.splits, splits, f"card {card.name!r}"), table.taxonomy
    keys = {} if table.encoded else {split: part.keys for split, part in chosen.items()}
    if (known := table.encoded) is not None:
        text, backbone, logit_scale = known.text, known.backbone, known.logit_scale
    else:
        assert table.images is not None
        towers = Backbone.load(backbone).to("cuda" if torch.cuda.is_available() else "cpu")
        text, logit_scale = node_features(towers, card.texts(tree), card.name, cache_dir), towers.logit_scale
        chosen = encoded(chosen, table.images, towers, card.name, cache_dir, workers)
    # Node ids of a bundle are those of a tree of its leaves' paths.
    paths = tuple(names_of(tree, tree.leaves))
    own = Taxonomy.from_paths(paths, tree.levels)
    place = own.resolve(list(names_of(tree, torch.arange(tree.num_nodes))))
    parts = {}
    for split, part in chosen.items():
        assert part.features is not None
        labels = tree.leaf_index[part.nodes]
        coarse = own.paths(place[part.nodes]) if (labels < 0).any() else None
        parts[split] = BundleSplit(part.features, labels, coarse)
    text = None if text is None else torch.empty_like(text).index_copy_(0, place, text)
    note = f"exported from the card {card.name}"
    return Bundle(tree.levels, paths, parts, None, text, backbone, logit_scale, note), keys


def _chosen(splits: Mapping[str, Any], names: Sequence[str], where: str) -> dict[str, Any]:
    if absent := [f"there is no split {name!r}{nearest(name, splits)}" for name in names if name not in splits]:
        raise UserError(f"{where} has {', '.join(splits)}", absent)
    return {name: split for name, split in splits.items() if not names or name in names}


def check_out(out: Path) -> None:
    """Raises `UserError` where nothing can be written under a name, before there is work to lose."""
    if out.suffix not in ("", ".npz", ".safetensors"):
        hint = "Name a file .npz or .safetensors, or a new folder."
        raise UserError(f"{out}: no format of features ends in {out.suffix}", hint=hint)
    if out.is_dir() or (out.exists() and not out.suffix):
        raise UserError(f"{out} exists already", hint="Name a new one.")


def write_features(out: Path, bundle: Bundle, keys: SampleKeys) -> None:
    """Writes features in the format of the ending; what is written appears whole or not at all.

    Raises:
        UserError: It cannot be written.
    """
    check_sound(out, bundle)
    try:
        if out.suffix == ".safetensors":
            write_bundle(out, bundle)
        elif out.suffix == ".npz":
            with whole_file(out) as draft, draft.open("wb") as file:
                np.savez(file, allow_pickle=False, **_arrays(bundle, keys))
        else:
            with whole_folder(out) as draft:
                _fill(draft, bundle, keys)
    except OSError as error:
        hint = "It needs room, and leave to write there."
        raise UserError(f"{out} cannot be written: {error.strerror}", hint=hint) from error


def _arrays(bundle: Bundle, keys: SampleKeys) -> dict[str, np.ndarray]:
    tree = bundle.taxonomy
    return {
        **{name: tensor.numpy() for name, tensor in bundle.tensors().items()},
        **{f"{name}.keys": np.array(own) for name, own in keys.items()},
        "levels": np.array(bundle.levels),
        "leaves": np.array([_filled_up(path, tree) for path in bundle.paths]),
        "nodes": np.array([_filled_up(path, tree) for path in names_of(tree, torch.arange(tree.num_nodes))]),
        "backbone": np.array(bundle.backbone),
        "logit_scale": np.array(bundle.logit_scale),
    }


def _fill(folder: Path, bundle: Bundle, keys: SampleKeys) -> None:
    tree = bundle.taxonomy
    folder.mkdir()
    for name, split in bundle.splits.items():
        np.save(folder / f"{name}.npy", split.features.numpy())
        own = [keys[name]] if name in keys else []
        paths = (_filled_up(path, tree) for path in names_of(tree, bundle.nodes(split)))
        rows = zip(map(str, split.labels.tolist()), paths, *own, strict=True)
        header = ["label", *tree.levels, *(["key"] if own else [])]
        write_csv(folder / f"{name}.csv", header, ([label, *path, *key] for label, path, *key in rows))
    leaves = ([str(label), *names] for label, names in enumerate(bundle.paths))
    write_csv(folder / "leaves.csv", ["label", *tree.levels], leaves)
    if (text := bundle.node_text if bundle.node_text is not None else bundle.text) is not None:
        np.save(folder / "text.npy", text.numpy())
        named = bundle.paths if bundle.node_text is None else names_of(tree, torch.arange(tree.num_nodes))
        write_csv(folder / "text.csv", tree.levels, named)
    about = {"backbone": bundle.backbone, "logit_scale": bundle.logit_scale, "note": bundle.note}
    (folder / "about.json").write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _filled_up(path: Sequence[str], tree: Taxonomy) -> list[str]:
    return [*path, *[""] * (tree.num_levels - len(path))]
