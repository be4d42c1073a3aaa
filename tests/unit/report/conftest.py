"""Made-up result cards and run folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from hierfit.decoding import Calibration
from hierfit.metrics.served import score
from hierfit.results.card import ResultCard
from hierfit.taxonomy import Taxonomy

TREE = Taxonomy.from_paths([("bird", "hawk"), ("bird", "owl"), ("fish",)], levels=("class", "kind"))


def card(row: str, seed: int, leaf: float | None, **changes: Any) -> ResultCard:
    """A card whose leaf accuracy is ``leaf`` and whose other figures follow from it."""
    per_level = {"leaf_accuracy": leaf, "fpa": 0.5, "tice": 0.25, "accuracy/class": 0.75, "accuracy/kind": leaf}
    of_leaf = {"fpa": leaf, "leaf_accuracy": leaf}
    of_levels = {"accuracy/class": 0.75, "accuracy/kind": leaf}
    facts: dict[str, Any] = {
        "row": row,
        "experiment": "made up",
        "method": row,
        "seed": seed,
        "data": data(seed),
        "backbone": {"source": "tiny", "fingerprint": "f"},
        "selected_on": "val",
        "levels": ("class", "kind"),
        "metrics": {
            "per_level": per_level,
            **dict.fromkeys(("rollup", "best_path", "decoded"), of_leaf),
            "belief": of_levels,
        },
        "belief": {"scores": "best_path", "temperature": 1.0, "val_images": 4},
        "parameters": {"trainable": 1200, "total": 4800},
        "cost": {"train_seconds": 10.0 * seed, "peak_memory_mib": 500},
    }
    return ResultCard(**{**facts, **changes})


def data(seed: int, **changes: Any) -> dict[str, Any]:
    """What a card says of its data."""
    facts = {
        "card": "pets",
        "card_fingerprint": "c",
        "taxonomy_fingerprint": "t",
        "shots": 4,
        "seed": seed,
        "draw": {"train": f"draw{seed}", "test": "test"},
        "images": {"test": 8},
    }
    return {**facts, **changes}


def write_run(
    folder: Path, logits: Tensor, paths: Tensor, row: str = "ours", seed: int = 1, tree: Taxonomy = TREE
) -> ResultCard:
    """A finished run's card, logits and tree."""
    folder.mkdir(parents=True)
    indices = torch.arange(len(logits))
    save_file({"logits": logits, "paths": paths, "indices": indices}, folder / "test_logits.safetensors")
    tree.to_csv(folder / "taxonomy.csv")
    metrics, belief = score([(logits, paths)], tree, Calibration())
    facts = data(seed, taxonomy_fingerprint=tree.fingerprint)
    card(row, seed, None, metrics=metrics, belief=belief, data=facts, levels=tree.levels).write(folder)
    return ResultCard.read(folder)


def samples(tree: Taxonomy, seed: int, count: int = 30) -> tuple[Tensor, Tensor]:
    """Targets ``[n, L]``, some of them of inner nodes or unknown, and logits ``[n, N]``."""
    generator = torch.Generator().manual_seed(seed)
    nodes = torch.randint(-1, tree.num_nodes, (count,), generator=generator)
    logits = torch.randn(count, tree.num_nodes, generator=generator)
    logits[nodes >= 0, nodes[nodes >= 0]] += 1.5
    return tree.paths(nodes), logits
