"""Where draws run: here or on a dask cluster, each in a process that its cells share, with imports and data."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from uuid import uuid4

from hierfit.errors import UserError
from hierfit.search.runner import LOG, Draw, Engine, Outcome, Reporter, RunCell

_FORKS = sys.platform == "linux"
_PATIENCE, _TIMEOUT = 0.1, 30  # seconds: between looks at a process; to meet a scheduler, and for its first worker
_DEATHS = 2  # of the process that runs a cell, before the cell is given up


@dataclass(frozen=True)
class Origin:
    """What a process elsewhere must have as the one that asks for draws, so that the same words mean the same."""

    folder: Path
    paths: tuple[str, ...]
    environment: Mapping[str, str]
    threads: int

    @classmethod
    def here(cls, share: int) -> Origin:
        """This process's, with a share of the cores for PyTorch, or fewer where the user wants fewer."""
        asked = os.environ.get("OMP_NUM_THREADS", "")
        threads = max(1, min(share, int(asked)) if asked.isdigit() else share)
        return cls(Path.cwd(), tuple(sys.path), dict(os.environ), threads)


@contextmanager
def engine(settings: Mapping[str, Any], jobs: int | None, most: int, cluster: str | None) -> Iterator[Engine]:
    """What runs cells; its processes end with the block, in the middle of a cell if need be.

    Args:
        settings: Of one of them.
        jobs: At once; default: one a GPU, else one a core; of a cluster, as many as it has.
        most: There are no more than so many.
        cluster: Address of its scheduler, or ``slurm``; None for this machine.
    """
    if cluster is not None:
        with _on_cluster(cluster, jobs) as found:
            yield found
        return
    from hierfit.data.encode import available_cores

    cores, accelerators = available_cores(), list[str]()
    if settings["trainer"]["accelerator"] != "cpu":
        from torch import cuda

        visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
        accelerators = (visible or [str(i) for i in range(cuda.device_count())])[: cuda.device_count()]
    jobs = max(1, min(jobs or len(accelerators) or cores, most))
    stop, origin = threading.Event(), Origin.here(cores // jobs)
    free: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    for slot in range(jobs):
        free.put(accelerators[slot % len(accelerators)] if accelerators else None)

    def on_one(draw: Draw, waits: bool, report: Reporter) -> list[Outcome]:
        device = free.get()
        own = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
        try:
            there = replace(origin, environment={**origin.environment, **own})
            return run_draw(draw, waits, there, report, stop.is_set, forks=_FORKS and device is None)
        finally:
            free.put(device)

    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield Engine(jobs, lambda draw, waits, report: pool.submit(on_one, draw, waits, report))
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _on_cluster(address: str, jobs: int | None) -> Iterator[Engine]:
    """A dask cluster whose machines have this package, and see the same folders under the same paths.

    ``slurm`` is one that dask-jobqueue makes of so many jobs by its own configuration.
    """
    made: Any = None
    try:
        from distributed import Client

        if address == "slurm":
            from dask_jobqueue import SLURMCluster

            made = SLURMCluster()  # of what size, and in which queue, says ~/.config/dask/jobqueue.yaml
            made.scale(jobs=jobs or 1)
        client = Client(made or address, timeout=_TIMEOUT, set_as_default=False)
        client.wait_for_workers(1, timeout=None if made else _TIMEOUT)
    except ModuleNotFoundError as error:
        package = {"distributed": '"hierfit[cluster]"'}.get(str(error.name), "dask-jobqueue")
        raise UserError(f"--cluster {address} needs {error.name}.", hint=f"pip install {package}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"--cluster {address}: no scheduler with a worker answers there: {error}") from error
    executor, topic, origin = client.get_executor(pure=False), f"hierfit-{uuid4().hex}", Origin.here(1)
    reports: dict[str, tuple[Draw, Reporter]] = {}

    def submit(draw: Draw, waits: bool, report: Reporter) -> Any:
        number = uuid4().hex
        reports[number] = draw, report
        return executor.submit(_run_there, draw, waits, origin, topic, number)

    def received(event: tuple[float, tuple[str, int, bytes]]) -> None:
        number, index, outcome = event[1]
        draw, report = reports[number]
        report(draw[index], pickle.loads(outcome))

    client.subscribe_topic(topic, received)
    try:
        yield Engine(jobs or max(1, sum(client.nthreads().values())), submit)
    finally:
        executor.shutdown(wait=False)
        client.close()
        if made is not None:
            made.close()


def _run_there(draw: Draw, waits: bool, origin: Origin, topic: str, number: str) -> list[Outcome]:
    """What a worker of the cluster does with a draw, in one of its threads."""
    from distributed import get_worker

    if not origin.folder.is_dir():
        raise UserError(f"{socket.gethostname()} has no folder {origin.folder}")
    worker = get_worker()
    task = worker.get_current_task()
    # Dask's workers are daemons, which may have no processes of their own; one of ours ends when its parent does.
    multiprocessing.current_process().daemon = False
    environment = {**origin.environment, **os.environ}
    environment.pop("SLURM_NTASKS", None)  # by which Lightning would take the process for one of many

    def report(cell: RunCell, outcome: Outcome) -> None:
        worker.log_event(topic, (number, draw.index(cell), pickle.dumps(outcome)))

    def stopped() -> bool:
        """Whether who asked for the draw has cancelled it, or is gone."""
        return task not in worker.state.tasks or worker.state.tasks[task].state != "executing"

    there = replace(Origin.here(os.cpu_count() or 1), folder=origin.folder, paths=origin.paths, environment=environment)
    return run_draw(draw, waits, there, report, stopped)


def run_draw(
    draw: Draw, waits: bool, origin: Origin, report: Reporter, stopped: Callable[[], bool], forks: bool = _FORKS
) -> list[Outcome]:
    """Runs the cells of a draw in a process of their own, and in another one after what it does not survive.

    Who asks is told of each cell at once, and asked often whether to end. Processes are forked from one that has its
    imports already, but not beside accelerators: a driver that was asked anything does not survive it.
    """
    outcomes: list[Outcome] = []
    process: _Process | None = None
    try:
        for cell in draw:
            deaths = 0
            while True:
                process = process or _Process(origin, forks, stopped)
                try:
                    outcome, died = process.call(_run_cell, cell, waits), False
                except BrokenProcessPool:
                    outcome, died, deaths = Outcome("failed", error=process.death()), True, deaths + 1
                if outcome.kind == "failed" and not outcome.mistake:
                    # Nobody foresaw it: it may have left the process (or its accelerator) in any state.
                    process.end()
                    process = None
                if not died or deaths == _DEATHS:
                    break
            if deaths:
                with suppress(OSError), (cell.folder / LOG).open("a", encoding="utf-8") as log:
                    print(f"error: {outcome.error}" if died else "The process before this one died.", file=log)
            outcomes.append(outcome)
            report(cell, outcome)
    except _StoppedError:
        return [Outcome("failed", error="stopped")] * len(draw)
    finally:
        if process is not None:
            process.end()
    return outcomes


class _StoppedError(Exception):
    pass  # nobody waits for the draw any more


class _Process:
    """A process that does what it is sent, one thing after the other."""

    def __init__(self, origin: Origin, forks: bool, stopped: Callable[[], bool]) -> None:
        if forks:
            preload()
        context = multiprocessing.get_context("forkserver" if forks else "spawn")
        self._executor = ProcessPoolExecutor(1, context, _begin, (origin,))
        self._stopped = stopped
        number = self.call(os.getpid)
        self._process = self._executor._processes[number]

    def call(self, function: Callable[..., Any], *arguments: object) -> Any:
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


def _begin(origin: Origin) -> None:
    from hierfit.search.worker import begin

    begin(origin)


def _run_cell(cell: RunCell, waits: bool) -> Outcome:
    from hierfit.search.worker import run_cell

    return run_cell(cell, waits)


@cache
def preload() -> None:
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
