"""Cells a minute of a grid against one process a run: ``python tests/bench/bench_grid.py [--cells 40] [--alone 4]``.

The same short runs (a small feature bundle, a few steps) as single ``hierfit fit`` processes, ``--alone`` of them, and
as grids of one and of two workers, in rounds that follow each other so that whatever else the machine does falls on all
of them. Every figure counts from the start of the first process to the end of the last; PyTorch has one thread
everywhere.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml
from harness import Claim, command, program, ratio
from toy import skewed_tree, write_bundle

METHODS = ("ZeroShot", "LatHAdapter")


def paces(folder: Path, cells: int, alone: int) -> Iterator[tuple[str, float]]:
    """Cells a minute of each way, once."""
    data = write_bundle(folder, skewed_tree([5, 15, 60]), shots=4)
    trainer = {"accelerator": "cpu", "max_steps": 20, "val_check_interval": 10}
    (folder / "base.yaml").write_text(yaml.safe_dump({"trainer": trainer, "wandb": "disabled"}))
    keys = dict(option.removeprefix("--").split("=") for option in data)
    grid = {
        "name": "bench",
        "configs": [str(folder / "base.yaml")],
        "cards": {"toy": {key: keys[key] for key in ("data.card", "data.root")}},
        "methods": {name: {"model": name} for name in METHODS},
        "shots": [4],
        "seeds": list(range(cells // 2)),
    }
    (folder / "bench.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))
    seconds = 0.0
    for seed in range(alone // 2):
        for model in METHODS:
            own = [f"--model={model}", f"--seed_everything={seed}", f"--folder={folder / model / str(seed)}"]
            seconds += command("fit", f"--config={folder / 'base.yaml'}", *data, *own)()
    yield "one process a run", 60 * alone / seconds
    for jobs in (1, 2):
        way = command("grid", folder / "bench.yaml", f"--jobs={jobs}", f"--runs={folder / f'runs{jobs}'}")
        yield f"grid, --jobs {jobs}", 60 * cells / way()


def measure(cells: int, alone: int, rounds: int) -> Iterator[Claim]:
    """Ratios to one process a run of the same round, and the paces themselves."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            for way, pace in paces(Path(folder), cells, alone):
                found.setdefault(way, []).append(pace)
                print(f"{way}: {pace:.1f} cells a minute", flush=True)
    base = found["one process a run"]
    for way, pace in found.items():
        yield Claim(f"  {way}", pace, unit="cells/min")
        if pace is not base:
            yield Claim(f"cells/min ÷ one process a run: {way}", ratio(pace, base))


if __name__ == "__main__":
    program(measure, __doc__, cells=40, alone=4, rounds=3)
