"""What the commands that run many cells have in common: their options, progress, the count at the end."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

from rich.console import Console
from rich.text import Text

from hierfit.config.command import Say
from hierfit.search.cell import LOG, Cell, finished
from hierfit.search.engines import engine
from hierfit.search.progress import Tally, shown
from hierfit.search.runner import Outcome, in_draws, run

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
    several = len(cells) > 1
    if not rest:
        all_of = f"All {len(cells)} cells of {name} are" if several else f"{name} is"
        console.print(Text(f"{all_of} done already."))
        return {}
    outcomes: dict[Cell, Outcome] = {}
    tally = Tally(len(cells), len(cells) - len(rest))
    with interruptible(tally, console), engine(rest[0].settings, jobs, len(rest), cluster) as found:
        counts = f": {len(cells)} cells, {tally.done} done already, {found.jobs} at a time" if several else ""
        console.print(Text(name + counts))
        with shown(tally, console) as report:

            def ended(cell: Cell, outcome: Outcome) -> None:
                report(cell, outcome)
                outcomes[cell] = outcome

            run(in_draws(rest, found.jobs), found, ended)
    pace = f", {tally.per_minute:.1f} cells/min" if several else ""
    console.print(Text(f"{tally} in {tally.minutes:.1f} min{pace}"))
    print_failed(outcomes, console)
    return outcomes


def failed(outcomes: Mapping[Cell, Outcome]) -> dict[Cell, Outcome]:
    """Those that failed."""
    return {cell: outcome for cell, outcome in outcomes.items() if outcome.kind == "failed"}


def print_failed(outcomes: Mapping[Cell, Outcome], console: Console) -> None:
    """Which cells failed, the first line of why, and where all of it stands."""
    for cell, outcome in failed(outcomes).items():
        console.print(Text(f"failed: {cell.label}: {outcome.error.partition(chr(10))[0]}", "red"), soft_wrap=True)
        console.print(Text(f"        {cell.folder / LOG}"), soft_wrap=True)


@contextmanager
def interruptible(tally: Tally, console: Console) -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does; both say how far it came."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        console.print(Text(f"{tally}; the same command goes on from here."))
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
