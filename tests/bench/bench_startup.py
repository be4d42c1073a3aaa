"""How long commands take that train nothing: ``python tests/bench/bench_startup.py [--rounds 7]``.

Wall time of whole processes, after one that warms the disk cache; ``results`` reads result cards written here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness import Claim, command, in_turns, program

from hierfit.results.card import ResultCard

COMMANDS = {
    "--help": 1.0,
    "results RUNS": 1.5,
    "plot RUNS --out curves.svg": 1.5,
    **dict.fromkeys((f"{name} --help" for name in ("sweep", "report", "data", "taxonomy", "compare")), 1.5),
}
"""And the seconds they may take."""


def write_runs(folder: Path) -> None:
    """Cards of two rows and two seeds."""
    data = {"card": "toy", "shots": 4, "images": {"test": 10}}
    for row in ("a", "b"):
        for seed in (1, 2):
            metrics = {"per_level": {"fpa": 0.5}, "rollup": {"leaf_accuracy": 0.5 + seed / 10, "fpa": 0.5}}
            backbone = {"source": "tiny", "fingerprint": "0"}
            card = ResultCard(row, "e", "M", seed, data, backbone, "val", ("leaf",), metrics)
            (folder / f"{row}{seed}").mkdir()
            card.write(folder / f"{row}{seed}")


def measure(rounds: int) -> Iterator[Claim]:
    """All commands in turn."""
    with tempfile.TemporaryDirectory() as folder:
        write_runs(Path(folder))
        ways = {line: command(*line.replace("RUNS", ".").split(), cwd=Path(folder)) for line in COMMANDS}
        for line, seconds in in_turns(ways, rounds).items():
            yield Claim(f"start of `hierfit {line.removesuffix(' --out curves.svg')}`", seconds, COMMANDS[line], "s")


if __name__ == "__main__":
    program(measure, __doc__, rounds=7)
