"""Where draws run: on this machine, or on a dask cluster. Both are executors whose tasks start processes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

from hierfit.errors import UserError
from hierfit.search.cell import Cell
from hierfit.search.runner import Draw, Engine, Outcome, Place, Report, run_draw

_SLURM = "slurm"
_TIMEOUT = 30  # seconds to meet a scheduler, and for its first worker


def engine(
    settings: Mapping[str, Any], jobs: int | None, most: int, cluster: str | None
) -> AbstractContextManager[Engine]:
    """What runs cells.

    Args:
        settings: Of one of them.
        jobs: At once; default: one a GPU, else one a core; of a cluster, as many as it has.
        most: There are no more than so many.
        cluster: Address of its scheduler, or ``slurm``; None for this machine.
    """
    if cluster is not None:
        return on_cluster(cluster, jobs)
    from hierfit.data.encode import available_cores

    cores, accelerators = available_cores(), _accelerators(settings)
    jobs = max(1, min(jobs or len(accelerators) or cores, most))
    return on_this_machine(jobs, _threads(cores // jobs), accelerators)


def _threads(share: int) -> int:
    """A process's share of the cores, or fewer where the user wants fewer."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(share, int(wanted)) if wanted.isdigit() else share)


def _accelerators(settings: Mapping[str, Any]) -> list[str]:
    """Names of the GPUs there are, unless cells run on the CPU."""
    if settings["trainer"]["accelerator"] == "cpu":
        return []
    from torch import cuda

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in visible.split(",")] if visible else list(map(str, range(cuda.device_count())))
    return names[: cuda.device_count()]


@contextmanager
def on_this_machine(jobs: int, threads: int, accelerators: Sequence[str] = ()) -> Iterator[Engine]:
    """Processes of this machine; they end with the block, in the middle of a cell if need be.

    Args:
        jobs: Processes at once.
        threads: For PyTorch, in each.
        accelerators: Names for ``CUDA_VISIBLE_DEVICES``; each process is given one.
    """
    stop = threading.Event()
    place = Place.here(threads)
    free: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    for slot in range(jobs):
        free.put(accelerators[slot % len(accelerators)] if accelerators else None)

    def on_one(draw: Draw, waits: bool, report: Report) -> list[Outcome]:
        device = free.get()
        own = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
        try:
            there = replace(place, environment={**place.environment, **own})
            return run_draw(draw, waits, there, report, stop.is_set, forks=device is None)
        finally:
            free.put(device)

    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield Engine(jobs, lambda draw, waits, report: pool.submit(on_one, draw, waits, report))
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def on_cluster(address: str, jobs: int | None) -> Iterator[Engine]:
    """A dask cluster whose machines have this package, and see the same folders under the same paths.

    Args:
        address: Of its scheduler, such as ``tcp://node1:8786``; or ``slurm``, for one that dask-jobqueue makes by its
            own configuration and that ends with the block.
        jobs: At once; the SLURM jobs there are to be.

    Raises:
        UserError: A package is missing, or nobody answers at the address.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise UserError("--cluster needs dask.distributed.", hint='pip install "hierfit[cluster]"') from error
    made = _slurm(jobs or 1) if address == _SLURM else None
    try:
        client = Client(made or address, timeout=_TIMEOUT, set_as_default=False)
        client.wait_for_workers(1, timeout=None if made else _TIMEOUT)
    except (OSError, ValueError) as error:
        raise UserError(f"--cluster {address}: no scheduler with a worker answers there: {error}") from error
    executor, topic, place = client.get_executor(pure=False), f"hierfit-{uuid4().hex}", Place.here(1)
    reports: dict[str, tuple[Draw, Report]] = {}

    def submit(draw: Draw, waits: bool, report: Report) -> Any:
        number = uuid4().hex
        reports[number] = draw, report
        return executor.submit(_run_there, draw, waits, place, topic, number)

    def heard(event: tuple[float, tuple[str, int, bytes]]) -> None:
        number, index, outcome = event[1]
        draw, report = reports[number]
        report(draw[index], pickle.loads(outcome))

    client.subscribe_topic(topic, heard)
    try:
        yield Engine(jobs or max(1, sum(client.nthreads().values())), submit)
    finally:
        executor.shutdown(wait=False)
        client.close()
        if made is not None:
            made.close()


def _slurm(jobs: int) -> Any:
    try:
        from dask_jobqueue import SLURMCluster
    except ModuleNotFoundError as error:
        raise UserError("--cluster slurm needs dask-jobqueue.", hint="pip install dask-jobqueue") from error
    cluster = SLURMCluster()  # of what size, and in which queue, says ~/.config/dask/jobqueue.yaml
    cluster.scale(jobs=jobs)
    return cluster


def _run_there(draw: Draw, waits: bool, place: Place, topic: str, number: str) -> list[Outcome]:
    """What a worker of the cluster does with a draw, in one of its threads."""
    from distributed import get_worker

    if not place.folder.is_dir():
        raise UserError(f"{socket.gethostname()} has no folder {place.folder}")
    worker = get_worker()
    task = worker.get_current_task()
    # Dask's workers are daemons, which may have no processes of their own; one of ours ends when its parent does.
    multiprocessing.current_process().daemon = False
    environment = {**place.environment, **os.environ}
    environment.pop("SLURM_NTASKS", None)  # by which Lightning would take the process for one of many

    def report(cell: Cell, outcome: Outcome) -> None:
        worker.log_event(topic, (number, draw.index(cell), pickle.dumps(outcome)))

    def stopped() -> bool:
        """Whether who asked for the draw has cancelled it, or is gone."""
        return task not in worker.state.tasks or worker.state.tasks[task].state != "executing"

    there = replace(place, environment=environment, threads=_threads(os.cpu_count() or 1))
    return run_draw(draw, waits, there, report, stopped)
