"""A sweep on this machine: the trials that are not done yet, side by side."""

from __future__ import annotations

from dataclasses import dataclass

import optuna
from rich.console import Console
from rich.text import Text

from hierfit.errors import UserError
from hierfit.results.card import ResultCard
from hierfit.search.cell import Cell, finished
from hierfit.search.grid import pool_for, stopped_by_sigterm
from hierfit.search.orders import Outcome
from hierfit.search.pool import Watch
from hierfit.search.progress import Tally, shown
from hierfit.search.search import Search
from hierfit.search.sweep_store import Record, Store
from hierfit.search.trials import Trials

_HOPELESS = 5  # trials that fail before any is done


@dataclass(frozen=True)
class Done:
    """A trial that is done, or was stopped early.

    Attributes:
        record: Its values and how it went.
        card: What it left.
        value: The metric at its selected checkpoint.
    """

    record: Record
    card: ResultCard
    value: float


class LocalSweep:
    """A sweep, taken up where it was left.

    A trial is done when its cell is (see `hierfit.search.cell.finished`): its seal states the very settings that
    its values lead to now. Anything else, a trial that was cut off, whose result is damaged, or that ran under other
    settings, is run again with the values it had.

    Args:
        trials: The cells.
        seed: Of the search.
        console: For progress.
    """

    def __init__(self, trials: Trials, seed: int, console: Console) -> None:
        self.file = trials.file
        self.search = Search(trials.file, seed)
        self._trials, self._console = trials, console
        self._store = Store(trials.folder / "trials")
        self._done: dict[int, Done] = {}
        self._again: list[Record] = []
        self._running: dict[Cell, tuple[Record, optuna.Trial]] = {}
        self._left = 0
        for record in self._store.read():
            if not self.search.holds(record.values):
                console.print(Text(f"left out: trial {record.number}: {dict(record.values)} is outside", "yellow"))
            elif done := self._finished(record):
                self._done[record.number] = done
                self.search.recall(record, done.value)
            else:
                self._again.append(record)

    def done(self) -> list[Done]:
        """Trials that are done, the best first; those stopped early come after all others."""
        sign = -1 if self.file.metric.maximised else 1
        return sorted(self._done.values(), key=lambda d: (d.record.stopped, sign * d.value, d.record.number))

    def run(self, count: int, jobs: int | None) -> dict[Cell, str]:
        """Runs trials until there are ``count``; those that failed, with the first lines of their errors.

        Raises:
            UserError: The data have nothing to validate on, or the first trials all failed.
        """
        before = len(self._done)
        failed: dict[Cell, str] = {}
        if before >= count or self._has_target():
            self._console.print(Text(f"{before} trials of {self.file.name} are done already."))
            return failed
        self._left = count - before
        first = self._next()
        if first is None:
            self._console.print(Text(f"There are no more than these {before} trials."))
            return failed
        pool = pool_for(first, jobs, count - before)
        self._console.print(
            Text(
                f"{self.file.name}: {count} trials, {before} done already, {pool.jobs} at a time\n"
                f"{self.file.metric.goal} {self.file.metric.name}, {self.file.method}; in {self._trials.folder}"
            ),
            soft_wrap=True,
        )
        tally = Tally(count, before)

        def report(cell: Cell, outcome: Outcome) -> None:
            record, trial = self._running[cell]
            done = self._finished(record) if outcome.kind == "done" else None
            self.search.close(trial, done.value if done else None, record.stopped)
            if done:
                self._done[record.number] = done
            lines.report(cell, outcome)
            del self._running[cell]
            if done:
                return
            if outcome.kind == "done":
                raise UserError(
                    f"{cell.label} has no {self.file.metric.name}: there is no validation split to search on"
                )
            failed[cell] = outcome.error
            if not self._done and len(failed) == _HOPELESS:
                raise UserError(f"The first {_HOPELESS} trials failed: {outcome.error}", hint=f"See {cell.folder}.")

        watch = None if self.file.early_terminate is None else Watch(self.file.metric.name, self._stops)
        with stopped_by_sigterm(), shown(tally, self._console, self._reached, self._best) as lines:
            try:
                pool.run([first], report, self._next, watch)
            except KeyboardInterrupt:
                self._console.print(Text(f"{tally}; the same command goes on from here."))
                raise
        self._console.print(Text(f"{tally} in {tally.minutes:.1f} min, {tally.per_minute:.1f} trials/min"))
        if not failed and len(self._done) < count and not self._has_target():
            self._console.print(Text(f"There are no more than these {len(self._done)} trials."))
        return failed

    def _next(self) -> Cell | None:
        """The cell of one more trial; None when there are enough."""
        if not self._left or self._has_target():
            return None
        if self._again:
            old = self._again.pop(0)
            record = Record(old.number, old.values)
            trial = self.search.take_up(record.values)
        else:
            number = self._store.next_number()
            proposed = self.search.propose(number)
            if proposed is None:
                return None
            trial, values = proposed
            record = Record(number, values)
        self._left -= 1
        self._store.write(record)
        cell = self._trials.trial(record.number, record.values)
        self._running[cell] = record, trial
        return cell

    def _stops(self, cell: Cell, count: int, value: float) -> bool:
        """Whether a trial stops here. That it does is written down before it hears of it."""
        record, trial = self._running[cell]
        record.history[count] = value
        record.stopped = self.search.stops(trial, count, value)
        self._store.write(record)
        return record.stopped

    def _finished(self, record: Record) -> Done | None:
        card = finished(self._trials.trial(record.number, record.values))
        value = card.val.get(self.file.metric.name) if card else None
        return Done(record, card, value) if card and value is not None else None

    def _has_target(self) -> bool:
        """Whether a trial has reached what the file is content with."""
        target = self.file.metric.target
        reached = [done.value for done in self._done.values()]
        if target is None or not reached:
            return False
        return max(reached) >= target if self.file.metric.maximised else min(reached) <= target

    def _reached(self, cell: Cell, outcome: Outcome) -> str:
        metric = self.file.metric
        value = outcome.card.val.get(metric.name) if outcome.card else None
        record, _ = self._running[cell]
        stopped = ", stopped early" if record.stopped else ""
        figure = "–" if value is None else f"{metric.shown(value)} {metric.unit}".rstrip()
        return f"{cell.row}: {metric.name} {figure}{stopped}"

    def _best(self, cell: Cell) -> str:
        best = next(iter(self.done()), None)
        return f"· best {self.file.metric.shown(best.value)} (trial {best.record.number})" if best else ""
