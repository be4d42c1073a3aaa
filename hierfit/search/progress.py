"""How far many runs are, while they run and at the end: one line that moves in a terminal, one line a run elsewhere."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from hierfit.config.command import Say
from hierfit.data.progress import clock
from hierfit.search.engines import engine
from hierfit.search.runner import LOG, Cell, Outcome, Report, finished, in_draws, run

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

_WIDE = 70
"""Columns of a terminal that has room for a bar."""


def too_few(**counts: int | None) -> list[str]:
    """What is wrong with options that must be at least 1."""
    return [f"--{name} {n}: at least one is needed" for name, n in counts.items() if n is not None and n < 1]


class Tally:
    """Counts cells, and tells from their pace when the last will be done.

    Args:
        total: Cells of the grid.
        done: Of them, before this call.
    """

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done, self.failed = total, done, 0
        self._before = done
        self._started = time.monotonic()

    def count(self, outcome: Outcome) -> None:
        """One more."""
        self.done += outcome.kind == "done"
        self.failed += outcome.kind == "failed"

    @property
    def minutes(self) -> float:
        """Since the start."""
        return (time.monotonic() - self._started) / 60

    @property
    def per_minute(self) -> float:
        """Cells a minute in this call; those done before do not count."""
        return (self.done - self._before + self.failed) / max(self.minutes, 1e-9)

    def pace(self) -> str:
        """``31.2/min · 0:01:10 to go``."""
        left = self.total - self.done - self.failed
        if not self.per_minute:
            return "starting"
        return f"{self.per_minute:.1f}/min · {clock(round(60 * left / self.per_minute))} to go"

    def __str__(self) -> str:
        failed = f" · {self.failed} failed" if self.failed else ""
        return f"{self.done}/{self.total} done{failed}"


class _Moving(ProgressColumn):
    """The tally, drawn anew by the clock."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(Column(no_wrap=True))
        self._tally = tally

    def render(self, task: Task) -> Text:
        return Text(f"{self._tally} · {self._tally.pace()}")


def leaf_accuracy(cell: Cell, outcome: Outcome) -> str:
    """What a cell has reached, for its line."""
    accuracy = outcome.card.metrics.get("rollup", {}).get("leaf_accuracy") if outcome.card else None
    return f"{cell.label}: leaf acc {'–' if accuracy is None else f'{100 * accuracy:.2f}'} %"


@contextmanager
def shown(
    tally: Tally,
    console: Console,
    reached: Callable[[Cell, Outcome], str] = leaf_accuracy,
    beside: Callable[[Cell], str] = lambda cell: cell.label,
) -> Iterator[Report]:
    """Counts and shows what becomes of cells while the block runs.

    Args:
        tally: Of the cells.
        console: Where to.
        reached: What a cell that is done has reached.
        beside: What stands beside the tally in a terminal when a cell has ended.
    """

    def line(cell: Cell, outcome: Outcome) -> str:
        if outcome.card is None:
            return f"FAILED  {cell.label}: {outcome.error.partition(chr(10))[0]}"
        return f"{reached(cell, outcome)} in {outcome.seconds:.1f} s"

    def in_log(cell: Cell, outcome: Outcome) -> None:
        tally.count(outcome)
        console.print(Text(f"[{tally} · {tally.pace()}] {line(cell, outcome)}"), soft_wrap=True)

    if not console.is_terminal:
        yield in_log
        return
    text = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1))
    columns = [BarColumn(20), _Moving(tally), text] if console.width >= _WIDE else [_Moving(tally), text]
    with Progress(*columns, console=console, expand=True) as bar:
        task = bar.add_task("", total=tally.total, completed=tally.done)

        def in_terminal(cell: Cell, outcome: Outcome) -> None:
            tally.count(outcome)
            if outcome.card is None:
                bar.console.print(Text(line(cell, outcome), "red"))
            bar.update(task, completed=tally.done + tally.failed, description=beside(cell))

        yield in_terminal


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
    with interruptible(tally, console), engine(rest[0].config.settings, jobs, len(rest), cluster) as found:
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
