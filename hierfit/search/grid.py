"""``hierfit grid``: all cells of a grid that are not done yet, side by side; then the table of all."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.text import Text

from hierfit.errors import UserError
from hierfit.search.cell import LOG, Cell, finished, state
from hierfit.search.grid_file import GridFile, read_grid
from hierfit.search.orders import Outcome
from hierfit.search.pool import Pool, prepare_workers
from hierfit.search.progress import Tally, shown


def grid(arguments: Sequence[str]) -> None:
    """Runs the command; exits with 1 when a cell has failed.

    Raises:
        UserError: The file is at fault; nothing has been started.
    """
    options = _parser().parse_args(arguments)
    file = read_grid(options.file)
    if options.jobs is not None and options.jobs < 1:
        raise UserError(f"--jobs {options.jobs}: at least one is needed")
    # From here on imports take seconds: workers begin theirs meanwhile.
    if not options.dry_run:
        prepare_workers()
    from hierfit.run.quiet import quieten
    from hierfit.search.plan import plan

    quieten()
    found = plan(file, options.runs, options.skip_missing)
    console = Console()
    for note in found.left_out:
        console.print(Text(f"left out: {note}", "yellow"), soft_wrap=True)
    chosen = [cell for cell in found.cells if not options.only or any(_fits(cell, p) for p in options.only)]
    if not chosen:
        labels = ", ".join(cell.label for cell in found.cells[:5])
        raise UserError("No cell is chosen.", hint=f"Cells are named like {labels}." if labels else "")
    if options.dry_run:
        _list(chosen, console)
        return
    failed = run_cells(file.name, chosen, options.jobs, console)
    for cell, error in failed.items():
        console.print(Text(f"failed: {cell.label}: {error}", "red"), soft_wrap=True)
        console.print(Text(f"        {cell.folder / LOG}"), soft_wrap=True)
    _summarise(file, found.cells, console)
    console.print(Text(f"Results in {options.runs / file.name}"), soft_wrap=True)
    if failed:
        console.print(Text(f"{len(failed)} of {len(chosen)} cells failed; the same command runs them again."))
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hierfit grid",
        description="Run rows × shots × seeds × cards of one file; what is done already is not run again.",
    )
    parser.add_argument("file", type=Path, help="the grid, a YAML file; see experiments/grids")
    parser.add_argument("--jobs", type=int, help="cells at once; default: one a GPU, else one a core")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder under which grids lie (runs)")
    parser.add_argument(
        "--only", action="append", metavar="PATTERN", help="cells named card/row/shots-sSEED with this in it (* and ?)"
    )
    parser.add_argument("--skip-missing", action="store_true", help="leave out cards whose data are not there")
    parser.add_argument("--dry-run", action="store_true", help="check the file, list the cells and their state")
    return parser


def _fits(cell: Cell, pattern: str) -> bool:
    return fnmatchcase(cell.label, f"*{pattern}*")


def _list(cells: Sequence[Cell], console: Console) -> None:
    states = [state(cell) for cell in cells]
    for cell, found in zip(cells, states, strict=True):
        console.print(Text(f"{found:8}{cell.label}  {cell.folder}"), soft_wrap=True)
    counts = ", ".join(f"{count} {name}" for name, count in Counter(states).items())
    console.print(Text(f"{len(cells)} cells: {counts}"))


def run_cells(name: str, cells: Sequence[Cell], jobs: int | None, console: Console) -> dict[Cell, str]:
    """Runs what is not done of a grid; the cells that failed, with the first lines of their errors."""
    rest = [cell for cell in cells if not finished(cell)]
    if not rest:
        all_of = f"All {len(cells)} cells of {name} are" if len(cells) > 1 else f"{name} is"
        console.print(Text(f"{all_of} done already."))
        return {}
    pool = pool_for(rest[0], jobs, len(rest))
    several = f": {len(cells)} cells, {len(cells) - len(rest)} done already, {pool.jobs} at a time"
    console.print(Text(name + (several if len(cells) > 1 else "")))
    failed: dict[Cell, str] = {}
    tally = Tally(len(cells), len(cells) - len(rest))
    with stopped_by_sigterm(), shown(tally, console) as lines:

        def report(cell: Cell, outcome: Outcome) -> None:
            lines.report(cell, outcome)
            if outcome.kind == "failed":
                failed[cell] = outcome.error

        try:
            pool.run(rest, report)
        except KeyboardInterrupt:
            console.print(Text(f"{tally}; the same command goes on from here."))
            raise
    pace = f", {tally.per_minute:.1f} cells/min" if len(cells) > 1 else ""
    console.print(Text(f"{tally} in {tally.minutes:.1f} min{pace}"))
    return failed


def _summarise(file: GridFile, cells: Sequence[Cell], console: Console) -> None:
    """The table of every cell that is done, whether it was chosen now or not."""
    from hierfit.results.summary import print_summary

    cards = [card for cell in cells if (card := finished(cell))]
    if cards:
        control = file.control if any(card.row == file.control for card in cards) else None
        print_summary(cards, control=control, columns=file.columns, console=console)


def pool_for(cell: Cell, jobs: int | None, most: int) -> Pool:
    """Workers for cells like this one: as many as wanted, else one a GPU, else one a core; at most ``most``."""
    from hierfit.data.encode import available_cores

    cores, accelerators = available_cores(), _accelerators(cell)
    jobs = max(1, min(jobs or len(accelerators) or cores, most))
    return Pool(jobs, _threads(cores // jobs), accelerators)


def _threads(share: int) -> int:
    """A process's share of the cores, or fewer where the user wants fewer."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(share, int(wanted)) if wanted.isdigit() else share)


def _accelerators(cell: Cell) -> list[str]:
    """Names of the GPUs there are, unless cells run on the CPU."""
    if cell.settings["trainer"]["accelerator"] == "cpu":
        return []
    from torch import cuda

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in visible.split(",")] if visible else list(map(str, range(cuda.device_count())))
    return names[: cuda.device_count()]


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM ends a grid as Ctrl-C does: its processes first."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
