"""Finished runs on small drawn butterflies, made up without training: as a report finds them on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch.nn import functional as F

from hierfit.closed import kinship_test
from hierfit.closed.kinship import KINSHIP_FILE
from hierfit.data.card import load_card
from hierfit.data.splits import draw_fingerprint
from hierfit.data.table import read_table
from hierfit.decoding import Calibration
from hierfit.geometry import Space
from hierfit.geometry.embeddings import Embeddings
from hierfit.metrics.served import score
from hierfit.results.card import ResultCard

from .conftest import card as made_card
from .conftest import data

GUIDE = {"families": 3, "genera": 2, "species": 2, "image_size": 32}
PER_LEAF = {"train": 2, "val": 1, "test": 6}


def write_guide(folder: Path, **guide: Any) -> Path:
    """A card of a small field guide."""
    levels = {"family": 3, "genus": 6, "species": 12}
    content = {
        **{"name": "guide", "version": 1, "title": "a guide", "citation": "none", "licence": "none", "obtain": "drawn"},
        "levels": levels,
        "layout": {"name": "fieldguide", "guide": {**GUIDE, **guide}, "per_leaf": PER_LEAF},
        "templates": {level: ["a {name}."] for level in levels},
    }
    path = folder / "guide.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def write_finished(
    folder: Path,
    card: Path,
    row: str,
    seed: int = 1,
    strength: float = 4.0,
    shots: int = 4,
    space: Space | None = None,
    trainable: int = 100,
) -> ResultCard:
    """A run whose logits favour the truth by ``strength``, with embeddings where it has a space."""
    folder.mkdir(parents=True)
    table = read_table(load_card(str(card)), None)
    tree, nodes = table.taxonomy, table.splits["test"].nodes
    generator = torch.Generator().manual_seed(100 * seed + len(row))
    paths = tree.paths(nodes)
    truth = F.one_hot(paths, tree.num_nodes).sum(1)
    # Relatives look alike: mistakes are near more often than far.
    logits = 2 * torch.randn(len(nodes), tree.num_nodes, generator=generator) + strength * truth
    indices = torch.arange(len(nodes))
    save_file({"logits": logits, "paths": paths, "indices": indices}, folder / "test_logits.safetensors")
    tree.to_csv(folder / "taxonomy.csv")
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": {"card": str(card), "root": None}}))
    if trainable:
        curves = ["epoch,step,train/loss,train/image_radius,train/image_share_at_cap,val/leaf_accuracy"]
        curves += [f"0,{9 + 10 * i},{1 / (1 + i)},{2 + i / 5},{i / 10}," for i in range(5)] + ["0,49,,,,0.5"]
        (folder / "metrics.csv").write_text("\n".join(curves) + "\n")
    if space is not None:
        centres = torch.randn(tree.num_nodes, 6, generator=generator)
        images = centres[nodes[::2]] + 0.2 * torch.randn(len(nodes[::2]), 6, generator=generator)
        attributes = 0.5 * torch.randn(4, 6, generator=generator)
        Embeddings(space, centres, images, indices[::2], attributes).write(folder)
        means = centres[tree.leaf_paths].sum(dim=1).double()
        kinship = kinship_test(means, torch.ones(len(means)).bool(), tree, permutations=20, origin="12 classes")
        (folder / KINSHIP_FILE).write_text(json.dumps(kinship.saved(tree)))
    metrics, belief = score([(logits, paths)], tree, Calibration())
    facts = {
        **{"card": "guide", "card_version": 1, "levels": dict(zip(tree.levels, tree.level_sizes, strict=True))},
        **{"taxonomy_fingerprint": tree.fingerprint, "protocol": "all classes", "shots": shots},
        "draw": {"train": f"{shots}-{seed}", "test": draw_fingerprint(table.splits["test"].keys)},
        "images": {"test": len(paths)},
    }
    changes: dict[str, Any] = {"selected_on": "val" if trainable else "nothing", "levels": tree.levels}
    changes |= {"metrics": metrics, "belief": belief, "data": data(seed, **facts), "method": "Method"}
    changes |= {"val": {"val/leaf_accuracy": 0.5}, "parameters": {"trainable": trainable, "total": 5000}}
    changes |= {"cost": {"train_seconds": 1.5, "steps": 50, "peak_memory_mib": 300, "device": "x86_64"}}
    found = made_card(row, seed, None, **changes, versions={"hierfit": "0"}, method_settings={"init_args": {"lr": 0.1}})
    found.write(folder)
    return ResultCard.read(folder)
