"""Cells a minute of a grid against one process a run: ``python tests/bench/bench_grid.py [--cells 40]``.

The same short runs (a small feature bundle, a few steps) as single ``hierfit fit`` processes, and as grids of one and
of two workers, in rounds that follow each other so that whatever else the machine does falls on all of them. Every
figure counts from the start of the first process to the end of the last; PyTorch has one thread everywhere.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import yaml
from harness import Claim, ratio, report
from safetensors.torch import save_file
from torch.nn import functional as F

LEAVES, WIDTH = 60, 512


def write_inputs(folder: Path, seeds: int) -> Path:
    """A bundle of random features, its card, a base configuration and a grid of two rows."""
    paths = [(f"top{i // 12}", f"mid{i // 4}", f"leaf{i}") for i in range(LEAVES)]
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(LEAVES, WIDTH, generator=generator)
    tensors = {"text.features": F.normalize(means, dim=-1)}
    for split, each in {"train4": 4, "val": 4, "test": 20}.items():
        labels = torch.arange(LEAVES).repeat(each)
        noise = torch.randn(len(labels), WIDTH, generator=generator)
        tensors |= {f"{split}.features": F.normalize(means[labels] + noise, dim=-1), f"{split}.labels": labels}
    facts = {"format": "hierfit.features/1", "levels": json.dumps(["top", "mid", "leaf"]), "paths": json.dumps(paths)}
    save_file(tensors, folder / "bundle.safetensors", facts)
    card = {key: "a benchmark" for key in ("title", "citation", "licence", "obtain")}
    card |= {"name": "toy", "version": 1, "levels": {"top": 5, "mid": 15, "leaf": LEAVES}, "layout": "feature_bundle"}
    (folder / "toy.yaml").write_text(yaml.safe_dump(card, sort_keys=False))
    trainer = {
        "accelerator": "cpu",
        "max_steps": 20,
        "val_check_interval": 10,
    }
    (folder / "base.yaml").write_text(yaml.safe_dump({"trainer": trainer, "wandb": "disabled"}))
    grid = {
        "name": "bench",
        "configs": [str(folder / "base.yaml")],
        "cards": {"toy": {"data.card": str(folder / "toy.yaml"), "data.root": str(folder / "bundle.safetensors")}},
        "methods": {"zero-shot": {"model": "ZeroShot"}, "LatHAdapter": {"model": "LatHAdapter"}},
        "shots": [4],
        "seeds": list(range(seeds)),
    }
    path = folder / "bench.yaml"
    path.write_text(yaml.safe_dump(grid, sort_keys=False))
    return path


def seconds(*commands: list[str]) -> float:
    """Of some processes, one after the other."""
    started = time.perf_counter()
    for command in commands:
        subprocess.run(
            [sys.executable, "-m", "hierfit", *command],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    return time.perf_counter() - started


def main(cells: int, alone: int, rounds: int) -> None:
    """Measures and prints."""
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            grid = write_inputs(folder, cells // 2)
            keys = [f"--config={folder / 'base.yaml'}", f"--data.card={folder / 'toy.yaml'}", "--data.shots=4"]
            keys.append(f"--data.root={folder / 'bundle.safetensors'}")
            single = [
                [
                    "fit",
                    *keys,
                    f"--model={model}",
                    f"--seed_everything={seed}",
                    f"--folder={folder / model / str(seed)}",
                ]
                for seed in range(alone // 2)
                for model in ("ZeroShot", "LatHAdapter")
            ]
            pace = {"one process a run": 60 * len(single) / seconds(*single)}
            for jobs in (1, 2):
                command = ["grid", str(grid), f"--jobs={jobs}", f"--runs={folder / f'runs{jobs}'}"]
                pace[f"grid, {jobs} job{'s' if jobs > 1 else ''}"] = 60 * cells / seconds(command)
        for way, value in pace.items():
            found.setdefault(way, []).append(value)
        print(f"round {number + 1}: " + ", ".join(f"{way} {value:.1f}" for way, value in pace.items()), flush=True)
    print(f"\ncells a minute, {cells} cells, median of {rounds} rounds; ratio to one process a run in the same round")
    base = found["one process a run"]
    report(
        [Claim(f"cells/min ÷ one process a run: {way}", ratio(v, base)) for way, v in found.items() if v is not base]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=40, help="of the grid")
    parser.add_argument("--alone", type=int, default=4, help="runs measured as single processes")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    main(options.cells, options.alone, options.rounds)
