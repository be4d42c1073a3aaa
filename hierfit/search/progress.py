"""How far a grid is: one line that moves in a terminal, one line a cell elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from hierfit.data.progress import clock
from hierfit.search.cell import Cell
from hierfit.search.orders import Outcome

_WIDE = 70
"""Columns of a terminal that has room for a bar."""


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
        seconds = round(60 * left / self.per_minute)
        return f"{self.per_minute:.1f}/min · {clock(seconds)} to go"

    def __str__(self) -> str:
        failed = f" · {self.failed} failed" if self.failed else ""
        return f"{self.done}/{self.total} done{failed}"


class Moving(ProgressColumn):
    """The tally as a column, drawn anew by the clock."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(Column(no_wrap=True))
        self._tally = tally

    def render(self, task: Task) -> Text:
        """Counts and pace."""
        return Text(f"{self._tally} · {self._tally.pace()}")


def leaf_accuracy(cell: Cell, outcome: Outcome) -> str:
    """What a cell has reached, for its line."""
    accuracy = outcome.card.metrics.get("rollup", {}).get("leaf_accuracy") if outcome.card else None
    return f"{cell.label}: leaf acc {'–' if accuracy is None else f'{100 * accuracy:.2f}'} %"


class Lines:
    """Says what became of each cell; see `shown`."""

    def __init__(
        self,
        tally: Tally,
        console: Console,
        bar: Progress | None = None,
        reached: Callable[[Cell, Outcome], str] = leaf_accuracy,
        beside: Callable[[Cell], str] = lambda cell: cell.label,
    ) -> None:
        self.tally = tally
        self._beside = beside
        self._console = console
        self._reached = reached
        self._bar = bar
        self._task = bar.add_task("", total=tally.total, completed=tally.done) if bar else None

    def report(self, cell: Cell, outcome: Outcome) -> None:
        """One cell has ended."""
        self.tally.count(outcome)
        if outcome.card is None:
            text = f"FAILED  {cell.label}: {outcome.error}"
        else:
            text = f"{self._reached(cell, outcome)} in {outcome.seconds:.1f} s"
        if self._bar is not None and self._task is not None:
            if outcome.card is None:
                self._bar.console.print(Text(text, "red"))
            self._bar.update(self._task, completed=self.tally.done + self.tally.failed, description=self._beside(cell))
        else:
            self._console.print(Text(f"[{self.tally} · {self.tally.pace()}] {text}"), soft_wrap=True)


@contextmanager
def shown(
    tally: Tally,
    console: Console | None = None,
    reached: Callable[[Cell, Outcome], str] = leaf_accuracy,
    beside: Callable[[Cell], str] = lambda cell: cell.label,
) -> Iterator[Lines]:
    """Shows a tally while the block runs: in a terminal one line, elsewhere one for each cell.

    Args:
        tally: Of the cells.
        console: Where to.
        reached: What a cell that is done has reached.
        beside: What stands beside the tally in a terminal when a cell has ended.
    """
    console = console or Console()
    if not console.is_terminal:
        yield Lines(tally, console, reached=reached)
        return
    text = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1))
    columns = [BarColumn(20), Moving(tally), text] if console.width >= _WIDE else [Moving(tally), text]
    with Progress(*columns, console=console, expand=True) as bar:
        yield Lines(tally, console, bar, reached, beside)
