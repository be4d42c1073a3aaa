"""A small feature bundle with a tree, its card and its experiment: a run on it takes a second."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch.nn import functional as F

from hierfit.cli import main

PATHS = [(f"top{i // 4}", f"mid{i // 2}", f"leaf{i}") for i in range(8)]
LEVELS = {"top": 2, "mid": 4, "leaf": 8}


def write_bundle(path: Path, val: bool = True, nodes: int = 8) -> None:
    """``train4``, ``val`` (unless left out) and an odd-sized ``test`` around one direction a leaf."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(8, 16, generator=generator)[:nodes]
    tensors = {"text.features": F.normalize(means + 0.8 * torch.randn(means.shape, generator=generator), dim=-1)}
    for split, count in {"train4": 4 * nodes, "val": 2 * nodes, "test": 37}.items():
        if split == "val" and not val:
            continue
        labels = torch.arange(count) % nodes
        noise = 0.9 * torch.randn(count, 16, generator=generator)
        tensors[f"{split}.features"] = F.normalize(means[labels] + noise, dim=-1)
        tensors[f"{split}.labels"] = labels
    metadata = {
        "format": "hierfit.features/1",
        "backbone": "random/tower",
        "logit_scale": "50.0",
        "levels": json.dumps(list(LEVELS)),
        "paths": json.dumps(PATHS[:nodes]),
        "note": "made by a test",
    }
    save_file(tensors, path, metadata)


def write_card(path: Path, levels: dict[str, int] | None = None) -> None:
    """A card of the bundle."""
    card = {
        "name": path.stem,
        "version": 1,
        "title": "a test",
        "citation": "none",
        "licence": "none",
        "obtain": "made",
        "levels": levels or LEVELS,
        "layout": {"name": "feature_bundle"},
    }
    path.write_text(yaml.safe_dump(card, sort_keys=False))


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """An experiment file on the bundle, with controls."""
    return write_experiment(tmp_path)


def write_experiment(folder: Path) -> Path:
    """The bundle, its card, and an experiment on them with controls; its runs lie in ``runs``."""
    write_bundle(folder / "bundle.safetensors")
    write_card(folder / "toy.yaml")
    settings = {
        "name": "toy",
        "runs": str(folder / "runs"),
        "wandb": "disabled",
        "seed_everything": 1,
        "model": {"class_path": "hierfit.methods.LatHAdapter", "init_args": {"num_attributes": 4, "dimension": 8}},
        "data": {
            "card": str(folder / "toy.yaml"),
            "root": str(folder / "bundle.safetensors"),
            "shots": 4,
            "seed": "${seed_everything}",
            "batch_size": 8,
        },
        "trainer": {
            "accelerator": "cpu",
            "devices": 1,
            "max_steps": 6,
            "val_check_interval": 3,
            "log_every_n_steps": 1,
        },
        "controls": {
            "zero-shot": {"model": "hierfit.methods.ZeroShot"},
            "λ=0": {"model.hierarchy_weight": 0},
        },
    }
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


Fit = Callable[..., Path]


@pytest.fixture
def fit(experiment: Path, tmp_path: Path) -> Fit:
    """Runs ``hierfit fit`` on the experiment with more options and returns the run's folder."""

    def run(*options: str, command: str = "fit") -> Path:
        before = set((tmp_path / "runs").glob("toy/*"))
        main([command, "--config", str(experiment), *options])
        (new,) = set((tmp_path / "runs").glob("toy/*")) - before
        return new

    return run


@pytest.fixture(scope="module")
def kills(bench: Callable[[str], ModuleType]) -> ModuleType:
    """The benchmark's way of running and comparing."""
    return bench("bench_kills")
