"""Runs many cells and shows how far they are: a bar in a terminal, a line a cell in a log, at the end what failed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn

from rich.console import Console
from rich.text import Text

from hierfit.config.command import Say
from hierfit.data.progress import Meter
from hierfit.errors import UserError
from hierfit.search.engines import engine, preload
from hierfit.search.runner import LOG, Draw, Outcome, RunCell, finished, in_draws, run

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


class Workbench(NamedTuple):
    """Where cells run, and where it is shown how far they are."""

    jobs: int | None
    cluster: str | None
    console: Console

    def say(self, text: str, style: str = "") -> None:
        """Prints a line, which a terminal may break but nothing else does."""
        self.console.print(Text(text, style), soft_wrap=True)


def begin_work(jobs: int | None, cluster: str | None, here: bool = True, **counts: int | None) -> Workbench:
    """Checks the numbers of a command line, and has (where cells run here) the imports of their processes begin."""
    numbers = {"jobs": jobs, **counts}
    if few := [f"--{name} {n}: at least one is needed" for name, n in numbers.items() if n is not None and n < 1]:
        raise UserError("The command line cannot be used.", few)
    if here and cluster is None:
        preload()  # from here on imports take seconds
    from hierfit.run.quiet import quieten

    quieten()
    return Workbench(jobs, cluster, Console())


def run_cells(name: str, cells: Sequence[RunCell], bench: Workbench) -> dict[RunCell, Outcome]:
    """Runs what is not done of some cells, and lists those that failed with their logs; what became of each."""
    rest = [cell for cell in cells if not finished(cell)]
    if not rest:
        all_of = f"All {len(cells)} cells of {name} are" if len(cells) > 1 else f"{name} is"
        bench.console.print(Text(f"{all_of} done already."))
        return {}
    before = len(cells) - len(rest)
    return run_draws(name, lambda jobs: in_draws(rest, jobs), rest[0].config.settings, len(cells), before, bench)


def _leaf_accuracy(cell: RunCell, outcome: Outcome) -> str:
    accuracy = outcome.card.metrics.get("rollup", {}).get("leaf_accuracy") if outcome.card else None
    return f"{cell.label}: leaf acc {'–' if accuracy is None else f'{100 * accuracy:.2f}'} %"


def run_draws(
    name: str,
    draws: Callable[[int], Iterable[Draw]],
    settings: Mapping[str, Any],
    total: int,
    before: int,
    bench: Workbench,
    unit: str = "cells",
    reached: Callable[[RunCell, Outcome], str] = _leaf_accuracy,
    beside: Callable[[RunCell], str] = lambda cell: cell.label,
    ended: Callable[[RunCell, Outcome], None] = lambda cell, outcome: None,
) -> dict[RunCell, Outcome]:
    """Runs draws and shows how far they are; what became of each cell.

    The settings are those of one of ``total`` cells, of which ``before`` were done before.
    """
    outcomes: dict[RunCell, Outcome] = {}
    console = bench.console

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    def bad() -> str:
        return f"{len(failed(outcomes))} failed" if failed(outcomes) else ""

    handler = signal.signal(signal.SIGTERM, interrupt)  # it ends the work as Ctrl-C does
    try:
        with engine(settings, bench.jobs, total - before, bench.cluster) as found:
            console.print(Text(f"{name}: {total} {unit}, {before} done already, {found.jobs} at a time"))
            with Meter(name, total, unit, before, console, stays=True) as meter:

                def report(cell: RunCell, outcome: Outcome) -> None:
                    outcomes[cell] = outcome
                    line = f"{reached(cell, outcome)} in {outcome.seconds:.1f} s"
                    if outcome.card is None:
                        line = f"FAILED  {cell.label}: {outcome.first_line}"
                    note = " · ".join(filter(None, (bad(), beside(cell) if console.is_terminal else "")))
                    meter.ended(before + len(outcomes), line, lambda: note, important=outcome.card is None)
                    ended(cell, outcome)

                run(draws(found.jobs), found, report, meter.tick)
                meter.note(bad)
    except KeyboardInterrupt:
        done = before + len(outcomes) - len(failed(outcomes))
        console.print(Text(f"{done}/{total} done; the same command goes on from here."))
        raise
    finally:
        signal.signal(signal.SIGTERM, handler)
    for cell, outcome in failed(outcomes).items():
        bench.say(f"failed: {cell.label}: {outcome.first_line}", "red")
        bench.say(f"        {cell.folder / LOG}")
    return outcomes


def failed(outcomes: Mapping[RunCell, Outcome]) -> dict[RunCell, Outcome]:
    """Those that failed."""
    return {cell: outcome for cell, outcome in outcomes.items() if outcome.kind == "failed"}
