"""How long commands take that train nothing: ``python tests/bench/bench_startup.py [--rounds 7]``.

Wall time of whole processes, after one that warms the disk cache; ``results`` reads a result card written here.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness import Claim, in_turns, report, spread

from hierfit.results.card import ResultCard


def seconds(command: list[str], folder: Path) -> Callable[[], float]:
    """A way that gives the wall time of a process."""
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))}

    def way() -> float:
        started = time.perf_counter()
        line = [sys.executable, "-m", "hierfit", *command]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL, env=environment, cwd=folder)
        return time.perf_counter() - started

    return way


def write_runs(folder: Path) -> None:
    """Cards of two rows and two seeds."""
    for row in ("a", "b"):
        for seed in (1, 2):
            metrics = {"per_level": {"fpa": 0.5}, "rollup": {"leaf_accuracy": 0.5 + seed / 10, "fpa": 0.5}}
            data = {"card": "toy", "shots": 4, "images": {"test": 10}}
            backbone = {"source": "tiny", "fingerprint": "0"}
            card = ResultCard(row, "e", "M", seed, data, backbone, "val", ("leaf",), metrics)
            (folder / f"{row}{seed}").mkdir()
            card.write(folder / f"{row}{seed}")


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    commands = {
        "--help": (["--help"], 1.0),
        "results RUNS": (["results", "."], 1.5),
        "plot RUNS": (["plot", ".", "--out", "curves.svg"], 1.5),
        **{f"{name} --help": ([name, "--help"], 1.5) for name in ("sweep", "report", "data", "taxonomy", "compare")},
    }
    with tempfile.TemporaryDirectory() as name:
        write_runs(Path(name))
        ways = {command: seconds(line, Path(name)) for command, (line, _) in commands.items()}
        taken = in_turns(ways, options.rounds)
    return report([Claim(f"start of `hierfit {c}`", spread(taken[c]), commands[c][1], "s") for c in commands])


if __name__ == "__main__":
    sys.exit(main())
