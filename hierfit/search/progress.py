"""Runs many cells and shows how far they are: a bar in a terminal, a line a cell in a log, at the end what failed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

from rich.console import Console
from rich.text import Text

from hierfit.config.command import Say
from hierfit.data.progress import Meter
from hierfit.search.engines import engine
from hierfit.search.runner import LOG, Cell, Draw, Outcome, finished, in_draws, run

Jobs = Annotated[int | None, Say("runs at once; default: one a GPU, else one a core", "N")]
Cluster = Annotated[
    str | None,
    Say(
        "run on a dask cluster that sees these folders: the address of its scheduler (tcp://HOST:8786), or slurm to "
        "have dask-jobqueue start --jobs workers as ~/.config/dask/jobqueue.yaml says",
        "ADDRESS",
    ),
]
Runs = Annotated[Path, Say("folder under which runs lie (runs)")]


def too_few(**counts: int | None) -> list[str]:
    """What is wrong with options that must be at least 1."""
    return [f"--{name} {n}: at least one is needed" for name, n in counts.items() if n is not None and n < 1]


def run_cells(
    name: str, cells: Sequence[Cell], jobs: int | None, cluster: str | None, console: Console
) -> dict[Cell, Outcome]:
    """Runs what is not done of some cells, and lists those that failed with their logs; what became of each."""
    rest = [cell for cell in cells if not finished(cell)]
    if not rest:
        all_of = f"All {len(cells)} cells of {name} are" if len(cells) > 1 else f"{name} is"
        console.print(Text(f"{all_of} done already."))
        return {}
    before = len(cells) - len(rest)
    settings = rest[0].config.settings
    return run_draws(name, lambda jobs: in_draws(rest, jobs), settings, len(cells), before, jobs, cluster, console)


def run_draws(
    name: str,
    draws: Callable[[int], Iterable[Draw]],
    settings: Mapping[str, Any],
    total: int,
    before: int,
    jobs: int | None,
    cluster: str | None,
    console: Console,
    unit: str = "cells",
    reached: Callable[[Cell, Outcome], str] | None = None,
    beside: Callable[[Cell], str] = lambda cell: cell.label,
    ended: Callable[[Cell, Outcome], None] = lambda cell, outcome: None,
) -> dict[Cell, Outcome]:
    """Runs draws and shows how far they are; what became of each cell.

    The settings are those of one of ``total`` cells, of which ``before`` were done before.
    """
    outcomes: dict[Cell, Outcome] = {}

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    handler = signal.signal(signal.SIGTERM, interrupt)  # it ends the work as Ctrl-C does
    try:
        with engine(settings, jobs, total - before, cluster) as found:
            counts = f": {total} {unit}, {before} done already, {found.jobs} at a time"
            console.print(Text(name + counts))
            with Meter(name, total, unit, before, console, stays=True) as meter:

                def report(cell: Cell, outcome: Outcome) -> None:
                    outcomes[cell] = outcome
                    bad = len(failed(outcomes))
                    line = f"{(reached or _leaf_accuracy)(cell, outcome)} in {outcome.seconds:.1f} s"
                    if outcome.card is None:
                        line = f"FAILED  {cell.label}: {outcome.error.partition(chr(10))[0]}"
                    counts = f"{bad} failed" if bad else ""
                    note = " · ".join(filter(None, (counts, beside(cell) if console.is_terminal else "")))
                    meter.ended(before + len(outcomes), line, lambda: note, important=outcome.card is None)
                    ended(cell, outcome)

                run(draws(found.jobs), found, report, meter.tick)
                meter.note(lambda: f"{bad} failed" if (bad := len(failed(outcomes))) else "")
    except KeyboardInterrupt:
        done = before + len(outcomes) - len(failed(outcomes))
        console.print(Text(f"{done}/{total} done; the same command goes on from here."))
        raise
    finally:
        signal.signal(signal.SIGTERM, handler)
    for cell, outcome in failed(outcomes).items():
        console.print(Text(f"failed: {cell.label}: {outcome.error.partition(chr(10))[0]}", "red"), soft_wrap=True)
        console.print(Text(f"        {cell.folder / LOG}"), soft_wrap=True)
    return outcomes


def failed(outcomes: Mapping[Cell, Outcome]) -> dict[Cell, Outcome]:
    """Those that failed."""
    return {cell: outcome for cell, outcome in outcomes.items() if outcome.kind == "failed"}


def _leaf_accuracy(cell: Cell, outcome: Outcome) -> str:
    accuracy = outcome.card.metrics.get("rollup", {}).get("leaf_accuracy") if outcome.card else None
    return f"{cell.label}: leaf acc {'–' if accuracy is None else f'{100 * accuracy:.2f}'} %"
