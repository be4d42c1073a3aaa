"""Features for other programs; the ending says in which format.

- ``.safetensors``: a bundle, see `hierfit.data.bundle`.
- ``.npz``: the same arrays under the same names; texts ``levels [L]``, ``leaves [C, L]`` and ``nodes [N, L]`` (names,
  coarse to fine, empty below a shallow node), ``backbone``, ``<split>.keys [n]`` where they are known; ``logit_scale``.
- No ending: a folder. ``<split>.npy`` holds features, ``<split>.csv`` a row for each: ``label`` (position of the leaf,
  −1 if unknown), names by level, ``key`` where it is known. ``leaves.csv``; text features in ``text.npy`` with
  ``text.csv``; ``about.json``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hierfit.atomic import whole_file, whole_folder
from hierfit.data.bundle import Bundle, BundleSplit, check_sound, write_bundle
from hierfit.data.table import names_of
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.writers import write_csv as write_table
from hierfit.tools.extract.gather import Features


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
            write_table(draft / f"{name}.csv", head, rows)
        leaves = ([str(label), *names] for label, names in enumerate(bundle.paths))
        write_table(draft / "leaves.csv", ["label", *tree.levels], leaves)
        if (text := bundle.node_text if bundle.node_text is not None else bundle.text) is not None:
            np.save(draft / "text.npy", text.numpy())
            named = bundle.paths if bundle.node_text is None else names_of(tree, torch.arange(tree.num_nodes))
            write_table(draft / "text.csv", tree.levels, named)
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
