"""What all benches share: ways timed in turns, ratios within a round, claims with their targets, one table.

Times are never compared between runs: other programs and the processor's clock change them. Every claim is a ratio of
ways that took turns in one run; its figure is the median over rounds, with the quartiles beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

ROOT = Path(__file__).parents[2]
OUT = "HIERFIT_BENCH_OUT"
"""Names the file that a bench leaves its claims in for ``run.py``."""


@dataclass(frozen=True)
class Claim:
    """A figure that is promised, or only told.

    Attributes:
        what: In words.
        values: By round.
        target: None where it is only told.
        unit: Of all these numbers.
        better: Whether the figure must be at most or at least its target.
    """

    what: str
    values: Sequence[float]
    target: float | None = None
    unit: str = "×"
    better: Literal["less", "more"] = "less"

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """The lower one, the median and the upper one."""
        values = [*self.values] * 2 if len(self.values) == 1 else self.values
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return low, median, high

    @property
    def holds(self) -> bool:
        """Whether the median keeps to the target."""
        if self.target is None:
            return True
        median = self.quartiles[1]
        return median <= self.target if self.better == "less" else median >= self.target

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """What, target, measured and whether it holds, as text."""
        low, median, high = map(_number, self.quartiles)
        measured = f"{median} {self.unit}" + (f" ({low}–{high})" if low != high else "")
        if self.target is None:
            return self.what, "–", measured, "–"
        sign = {"less": "≤", "more": "≥"}[self.better]
        return self.what, f"{sign} {self.target:g} {self.unit}", measured, "yes" if self.holds else "**no**"


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def in_milliseconds(taken: Mapping[str, Sequence[float]], prefix: str = "  step: ") -> list[Claim]:
    """What each way took, only told."""
    return [Claim(f"{prefix}{way}", [1e3 * t for t in times], unit="ms") for way, times in taken.items()]


def in_turns(ways: Mapping[str, Callable[[], float]], rounds: int, warmup: int = 1) -> dict[str, list[float]]:
    """What each way returns (seconds, say) in each round, all ways in turn; the first rounds do not count."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(warmup + rounds):
        for name, way in ways.items():
            value = way()
            if number >= warmup:
                found[name].append(value)
    return found


def ratio(values: Sequence[float], base: Sequence[float]) -> list[float]:
    """Of one way to another, round by round."""
    return [value / other for value, other in zip(values, base, strict=True)]


def clock() -> float:
    """Processor time of this process on one CPU thread, where other programs count little; else wall time."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def timed(function: Callable[[], object], repeats: int = 1) -> Callable[[], float]:
    """A way that gives the seconds of one call, on average over some in a row."""

    def way() -> float:
        started = clock()
        for _ in range(repeats):
            function()
        return (clock() - started) / repeats

    return way


def command(*arguments: object, cwd: Path = ROOT) -> Callable[[], float]:
    """A way that gives the wall seconds of ``hierfit`` in a process of its own, on one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

    def way() -> float:
        started = time.perf_counter()
        line = [sys.executable, "-m", "hierfit", *map(str, arguments)]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL, env=environment, cwd=cwd)
        return time.perf_counter() - started

    return way


def peak_bytes(step: Callable[[], object]) -> int:
    """Most memory that torch had allocated at once during a step, beyond what was there before."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        step()
    assert trace.profiler is not None
    assert trace.profiler.kineto_results is not None
    moves = [event for event in trace.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(moves, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def program(measure: Callable[..., Iterable[Claim]], text: str | None, **options: Any) -> NoReturn:
    """A bench from the command line, on one CPU thread, from one seed.

    Prints its claims, leaves them to ``run.py``, and ends with 1 where one does not hold. Its options are the arguments
    of ``measure``, by their defaults: a number, a list of words or numbers, or False for a switch.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in options.items():
        if value is False:
            parser.add_argument(f"--{name}", action="store_true")
        elif isinstance(value, list):
            parser.add_argument(f"--{name}", type=type(value[0]), default=value, nargs="+")
        else:
            parser.add_argument(f"--{name}", type=type(value), default=value)
    chosen = vars(parser.parse_args())
    torch.set_num_threads(1)
    torch.manual_seed(0)
    claims = list(measure(**chosen))
    table = Table("claim", "target", "measured (quartiles)", "holds")
    for claim in claims:
        table.add_row(*claim.cells)
    Console(width=max(110, Console().width)).print(table)
    if path := os.environ.get(OUT):
        Path(path).write_text(json.dumps([asdict(claim) for claim in claims], ensure_ascii=False))
    sys.exit(not all(claim.holds for claim in claims))


def machine() -> dict[str, Any]:
    """What figures were taken on."""
    cpus = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return {
        "cpu": cpus[0].partition(":")[2].strip() if cpus else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": os.getloadavg()[0],
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "commit": git.stdout.strip(),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).is_file() else []


def markdown(claims: Sequence[Claim], facts: Mapping[str, Any]) -> str:
    """The table for a README, with what it was taken on above it."""
    where = facts["gpu"] or facts["cpu"]
    lines = [
        f"Made by `make bench` on {facts['cores']} cores of {where}, load {facts['load']:.1f} at the start, "
        f"torch {facts['torch']}, commit {facts['commit']}:",
        "",
        "| claim | target | measured, median (quartiles) | holds |",
        "|---|---:|---:|---|",
        *(f"| {' | '.join(claim.cells)} |" for claim in claims),
    ]
    return "\n".join(lines)
