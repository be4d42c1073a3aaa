"""Runs draws: all cells of one in a process of its own, so that they share imports and data, and what kills it hits
no other."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from hierfit.results.card import ResultCard
from hierfit.search.cell import LOG, Cell

T = TypeVar("T")
Draw = tuple[Cell, ...]

_FORKS = sys.platform == "linux"
_PATIENCE = 0.1  # seconds
_DEATHS = 2  # of the process that runs a cell, before the cell is given up


@dataclass(frozen=True)
class Outcome:
    """What becomes of a cell.

    Attributes:
        kind: ``busy``: another grid is at work on it.
        seconds: It took.
        card: Its result, when it is done.
        error: What went wrong, when it failed.
        mistake: The error is one of its settings or data.
    """

    kind: Literal["done", "failed", "busy"]
    seconds: float = 0.0
    card: ResultCard | None = None
    error: str = ""
    mistake: bool = False


@dataclass(frozen=True)
class Place:
    """What a process elsewhere must have as the one that asks for draws, so that the same words mean the same.

    Attributes:
        folder: Relative paths begin here.
        paths: Modules are imported from.
        environment: Variables.
        threads: For PyTorch.
    """

    folder: Path
    paths: tuple[str, ...]
    environment: Mapping[str, str]
    threads: int

    @classmethod
    def here(cls, threads: int) -> Place:
        """This process's."""
        return cls(Path.cwd(), tuple(sys.path), dict(os.environ), threads)


Report = Callable[[Cell, Outcome], None]


class Engine(NamedTuple):
    """Where draws run.

    Attributes:
        jobs: At once.
        submit: Starts one; each cell's outcome goes to the report when it is known, and all are the future's result.
    """

    jobs: int
    submit: Callable[[Draw, bool, Report], Future[list[Outcome]]]


def run(draws: Iterable[Draw], engine: Engine, report: Report) -> None:
    """Runs draws; each cell ends in one report, in this thread.

    Args:
        draws: Asked for the next one whenever there is room for it.
        engine: Where to.
        report: Called with each cell and what became of it.
    """
    coming, busy = iter(draws), list[Cell]()
    running: dict[Future[list[Outcome]], Draw] = {}
    news: queue.SimpleQueue[tuple[Cell, Outcome] | Future[list[Outcome]]] = queue.SimpleQueue()
    seen: set[Cell] = set()

    def heard(cell: Cell, outcome: Outcome) -> None:
        if cell not in seen:
            seen.add(cell)
            busy.append(cell) if outcome.kind == "busy" else report(cell, outcome)

    def start(draw: Draw, waits: bool) -> None:
        seen.difference_update(draw)
        future = engine.submit(draw, waits, lambda cell, outcome: news.put((cell, outcome)))
        running[future] = draw
        future.add_done_callback(news.put)

    while True:
        while len(running) < engine.jobs and (draw := next(coming, None)):
            start(draw, False)
        if not running and busy:  # what others are at work on comes last, and is waited for
            while busy:
                start((busy.pop(),), True)
        if not running:
            return
        found = news.get()
        if isinstance(found, tuple):
            heard(*found)
            continue
        draw = running.pop(found)
        try:
            outcomes = found.result()
        except Exception as error:  # of the engine
            outcomes = [Outcome("failed", error=f"{type(error).__name__}: {error}")] * len(draw)
        for cell, outcome in zip(draw, outcomes, strict=True):
            heard(cell, outcome)


def in_draws(cells: Sequence[Cell], jobs: int) -> list[Draw]:
    """Cells by draw, in order; the last draws, too few for all jobs, are shared out among them."""
    found: dict[object, list[Cell]] = defaultdict(list)
    for cell in cells:
        found[cell.draw].append(cell)
    draws = [tuple(draw) for draw in found.values()]
    if not (left := len(draws) % jobs):
        return draws
    parts = -(-jobs // left)
    return [*draws[:-left], *(draw[i::parts] for draw in draws[-left:] for i in range(min(parts, len(draw))))]


def run_draw(
    draw: Draw, waits: bool, place: Place, report: Report, stopped: Callable[[], bool], forks: bool = _FORKS
) -> list[Outcome]:
    """Runs the cells of a draw in a process of their own, and in another one after what it does not survive.

    Args:
        draw: The cells, in order.
        waits: Wait for cells that another grid is at work on.
        place: What the process is to have.
        report: Told of each cell at once.
        stopped: Asked often whether to end at once.
        forks: Fork the process from one that has its imports already. Not beside accelerators: a driver that was asked
            anything does not survive it.
    """
    outcomes: list[Outcome] = []
    process: _Process | None = None
    try:
        for cell in draw:
            deaths = 0
            while True:
                process = process or _Process(place, forks, stopped)
                try:
                    outcome = process.call(_run_cell, cell, waits)
                except BrokenProcessPool:
                    deaths += 1
                    outcome = Outcome("failed", error=process.death())
                if outcome.kind == "failed" and not outcome.mistake:
                    # Nobody foresaw it: it may have left the process (or its accelerator) in any state.
                    process.end()
                    process = None
                if outcome.kind != "failed" or not 0 < deaths < _DEATHS:
                    break
            if deaths:
                _note(cell, outcome)
            outcomes.append(outcome)
            report(cell, outcome)
    except _StoppedError:
        return [Outcome("failed", error="stopped")] * len(draw)
    finally:
        if process is not None:
            process.end()
    return outcomes


class _StoppedError(Exception):
    """Nobody waits for the draw any more."""


class _Process:
    """A process that does what it is sent, one thing after the other."""

    def __init__(self, place: Place, forks: bool, stopped: Callable[[], bool]) -> None:
        if forks:
            prepare()
        context = multiprocessing.get_context("forkserver" if forks else "spawn")
        self._executor = ProcessPoolExecutor(1, context, _begin, (place,))
        self._stopped = stopped
        number = self.call(os.getpid)
        self._process = self._executor._processes[number]

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        future = self._executor.submit(function, *arguments)
        while not wait([future], _PATIENCE).done:
            if self._stopped():
                self.end()
                raise _StoppedError
        return future.result()

    def end(self) -> None:
        for process in list((self._executor._processes or {}).values()):
            process.kill()
        self._executor.shutdown()

    def death(self) -> str:
        self._executor.shutdown()  # waits for it: a second one to ask would find no exit code
        code = self._process.exitcode or 0
        if code >= 0:
            return f"the process that ran it ended with code {code}"
        name = signal.Signals(-code).name
        return f"the process that ran it was ended by {name}{' – out of memory?' if name == 'SIGKILL' else ''}"


def _note(cell: Cell, outcome: Outcome) -> None:
    """Says in a cell's log what its process could not."""
    with suppress(OSError), (cell.folder / LOG).open("a", encoding="utf-8") as log:
        print(f"error: {outcome.error}" if outcome.error else "The process before this one died.", file=log)


# What the process imports is heavy, and not needed here.
def _begin(place: Place) -> None:
    from hierfit.search.worker import begin

    begin(place)


def _run_cell(cell: Cell, waits: bool) -> Outcome:
    from hierfit.search.worker import run_cell

    return run_cell(cell, waits)


@cache
def prepare() -> None:
    """Begins to import, in a process of its own, what the others need; so they start at once and share that memory."""
    if not _FORKS:
        return
    multiprocessing.set_forkserver_preload(["hierfit.search.worker"])
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # no threads before the fork; each process sets its own number
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        os.environ |= {} if before is None else {"OMP_NUM_THREADS": before}
