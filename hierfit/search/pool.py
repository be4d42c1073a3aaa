"""Worker processes that run cells side by side; one that dies takes its cell with it and no other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import NamedTuple

from hierfit.search.cell import Cell
from hierfit.search.orders import Order, Outcome

_PRELOADED = "hierfit.search.worker"
_PATIENCE = 10.0  # seconds
_FORKS = sys.platform == "linux"


def prepare_workers() -> None:
    """Begins to import, in a process of its own, what workers need; so they start at once, and share that memory."""
    if _FORKS:
        multiprocessing.set_forkserver_preload([_PRELOADED])
        with _environment({"OMP_NUM_THREADS": "1"}):  # no threads before the fork; each worker sets its own number
            forkserver.ensure_running()


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    slot: int
    cell: Cell | None = None
    last: Cell | None = None


class Watch(NamedTuple):
    """Who is asked after each validation of a cell.

    Attributes:
        metric: Of the validation.
        stops: Whether the cell stops, by the number of its validations and the metric's value.
    """

    metric: str
    stops: Callable[[Cell, int, float], bool]


@dataclass
class Pool:
    """Runs cells on a number of processes.

    Args:
        jobs: Processes.
        threads: For PyTorch, in each.
        accelerators: Names for ``CUDA_VISIBLE_DEVICES``; each process is given one, in turn.
    """

    jobs: int
    threads: int = 1
    accelerators: Sequence[str] = ()
    _workers: list[_Worker] = field(default_factory=list, init=False)
    _pending: list[Cell] = field(default_factory=list, init=False)
    _elsewhere: list[Cell] = field(default_factory=list, init=False)
    _cold: set[str] = field(default_factory=set, init=False)
    _met: set[str] = field(default_factory=set, init=False)
    _more: Callable[[], Cell | None] | None = field(default=None, init=False)
    _watch: Watch | None = field(default=None, init=False)

    def run(
        self,
        cells: Sequence[Cell],
        report: Callable[[Cell, Outcome], None],
        more: Callable[[], Cell | None] | None = None,
        watch: Watch | None = None,
    ) -> None:
        """Runs all cells; each ends in one report. Whatever ends this call ends its processes too.

        Args:
            cells: In the order wanted, by and large: a worker goes on with the data it has read.
            report: Called with each cell and what became of it.
            more: Called for one more cell when a worker is free and none of `cells` is left; None for no more now.
            watch: Whom to ask after each validation of a cell whether it stops.
        """
        self._pending, self._elsewhere, self._workers = list(cells), [], []
        self._cold = {cell.card for cell in cells}
        self._more, self._watch, self._met = more, watch, set(self._cold)
        try:
            while True:
                self._give_out()
                busy = [worker for worker in self._workers if worker.cell]
                if not busy:
                    return
                ready = wait([w.connection for w in busy] + [w.process.sentinel for w in busy])
                for worker in busy:
                    if worker.connection in ready or worker.process.sentinel in ready:
                        self._hear(worker, report)
        except BaseException:
            for worker in self._workers:
                worker.process.kill()
            raise
        finally:
            for worker in self._workers:
                worker.connection.close()  # there is nothing more to do
            for worker in self._workers:
                _ended(worker.process)

    def _give_out(self) -> None:
        for slot in range(self.jobs):
            worker = next((w for w in self._workers if w.slot == slot), None)
            if worker and worker.cell:
                continue
            if not (order := self._next(worker.last if worker else None)):
                continue
            if worker is None:
                worker = self._started(slot)
            worker.cell = worker.last = order.cell
            with suppress(OSError):  # it has just died; hearing from it comes next
                worker.connection.send(order)

    def _next(self, last: Cell | None) -> Order | None:
        """What suits a worker best: its draw, then its data set, then one that few others are at."""
        at_work = [w.cell for w in self._workers if w.cell]
        if not self._pending and self._more and (another := self._more()):
            self._pending.append(another)
            if another.card not in self._met:
                self._met.add(another.card)
                self._cold.add(another.card)
        # Nobody needs to encode what another is encoding: the first cell of a card gets ahead until its data are there.
        held = {cell.card for cell in at_work} & self._cold
        free = [cell for cell in self._pending if cell.card not in held]
        if free:
            chosen = min(
                free,
                key=lambda c: (
                    last is None or c.draw != last.draw,
                    last is None or c.card != last.card,
                    sum(c.card == other.card for other in at_work),
                ),
            )
            self._pending.remove(chosen)
            return Order(chosen, False, self._watched)
        if not self._pending and self._elsewhere:
            return Order(self._elsewhere.pop(0), True, self._watched)
        return None

    @property
    def _watched(self) -> str | None:
        return self._watch.metric if self._watch else None

    def _hear(self, worker: _Worker, report: Callable[[Cell, Outcome], None]) -> None:
        cell = worker.cell
        assert cell is not None
        try:
            outcome: Outcome = worker.connection.recv()  # which finds the end of the line where the process has died
        except (EOFError, OSError):
            _ended(worker.process)
            outcome = Outcome("failed", error=_death(worker.process.exitcode), retires=True)
        self._cold.discard(cell.card)
        if outcome.kind == "ready":
            return
        if outcome.kind == "validated":
            assert self._watch is not None
            assert outcome.validation is not None
            with suppress(OSError):
                worker.connection.send(self._watch.stops(cell, *outcome.validation))
            return
        worker.cell = None
        if outcome.retires:
            self._workers.remove(worker)
            worker.connection.close()
            worker.process.kill()
        if outcome.kind == "busy":
            self._elsewhere.append(cell)
        else:
            report(cell, outcome)

    def _started(self, slot: int) -> _Worker:
        # A driver that was asked anything does not survive a fork, so beside accelerators workers start afresh.
        forks = _FORKS and not self.accelerators
        context = multiprocessing.get_context("forkserver") if forks else multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        own = {"CUDA_VISIBLE_DEVICES": self.accelerators[slot % len(self.accelerators)]} if self.accelerators else {}
        with _environment(own):
            process = context.Process(target=_work, args=(there, dict(os.environ), self.threads), name=f"grid-{slot}")
            process.start()
        there.close()
        worker = _Worker(process, here, slot)
        self._workers.append(worker)
        return worker


def _work(connection: Connection, environment: dict[str, str], threads: int) -> None:
    from hierfit.search.worker import work  # heavy, and not needed where orders are given

    work(connection, environment, threads)


def _ended(process: BaseProcess) -> None:
    """Waits for a process to end by itself, but not for long."""
    process.join(_PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        why = " – out of memory?" if name == "SIGKILL" else ""
        return f"the process that ran it was ended by {name}{why}"
    return f"the process that ran it ended with code {code}"


@contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
