"""``hierfit grid``: all cells of a grid that are not done yet, side by side; then the table of all."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.text import Text

from hierfit.config.command import Say
from hierfit.config.named import GRIDS
from hierfit.errors import UserError
from hierfit.search.cell import Cell, finished, state
from hierfit.search.grid_file import GridFile, read_grid
from hierfit.search.runner import prepare
from hierfit.search.running import Cluster, Jobs, Runs, failed, run_cells, too_few


def grid(
    file: Annotated[str, Say("the grid, by name or as a YAML file; `hierfit experiments` lists them", "GRID")],
    *,
    jobs: Jobs = None,
    runs: Runs = Path("runs"),
    only: Annotated[
        list[str] | None,
        Say("cells named card/row/shots-sSEED with this in it (* and ?); repeatable", "PATTERN", repeat=True),
    ] = None,
    skip_missing: Annotated[bool, Say("leave out cards whose data are not there")] = False,
    cluster: Cluster = None,
    dry_run: Annotated[bool, Say("check the file, list the cells and their state")] = False,
) -> None:
    """Run rows × shots × seeds × cards of one file; what is done already is not run again.

    Raises:
        UserError: The file is at fault; nothing has been started.
        SystemExit: With 1 when a cell has failed.
    """
    content = read_grid(GRIDS.find(file))
    if problems := too_few(jobs=jobs):
        raise UserError(problems[0])
    # From here on imports take seconds: the process that others are forked from begins its own meanwhile.
    if not dry_run and cluster is None:
        prepare()
    from hierfit.run.quiet import quieten
    from hierfit.search.plan import plan

    quieten()
    planned = plan(content, runs, skip_missing)
    console = Console()
    for card, lack in planned.left_out.items():
        console.print(Text(f"left out: card {card}: {lack}", "yellow"), soft_wrap=True)
    chosen = [c for c in planned.cells if not only or any(fnmatchcase(c.label, f"*{pattern}*") for pattern in only)]
    if not chosen:
        labels = ", ".join(cell.label for cell in planned.cells[:5])
        raise UserError("No cell is chosen.", hint=f"Cells are named like {labels}." if labels else "")
    if dry_run:
        _list(chosen, console)
        return
    outcomes = run_cells(content.name, chosen, jobs, cluster, console)
    _summarise(content, planned.cells, console)
    console.print(Text(f"Results in {runs / content.name}"), soft_wrap=True)
    if bad := failed(outcomes):
        console.print(Text(f"{len(bad)} of {len(chosen)} cells failed; the same command runs them again."))
        sys.exit(1)


def _list(cells: Sequence[Cell], console: Console) -> None:
    states = [state(cell) for cell in cells]
    for cell, found in zip(cells, states, strict=True):
        console.print(Text(f"{found:8}{cell.label}  {cell.folder}"), soft_wrap=True)
    counts = ", ".join(f"{count} {name}" for name, count in Counter(states).items())
    console.print(Text(f"{len(cells)} cells: {counts}"))


def _summarise(file: GridFile, cells: Sequence[Cell], console: Console) -> None:
    """The table of every cell that is done, whether it was chosen now or not."""
    from hierfit.results.summary import print_summary

    cards = [card for cell in cells if (card := finished(cell))]
    if cards:
        control = file.control if any(card.row == file.control for card in cards) else None
        print_summary(cards, control=control, columns=file.columns, console=console)
