"""Extraction over processes, each of which has its share of the parts: those that torchrun or SLURM started, or
``--devices`` here; and its dry run."""

from __future__ import annotations

import math
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from hierfit.backbone.source import TINY_NOTE
from hierfit.data.decode import BATCH, decoded, run_padded
from hierfit.data.encode import available_cores
from hierfit.data.progress import clock, with_progress
from hierfit.distributed import end_with_parent
from hierfit.errors import UserError
from hierfit.taxonomy.checks import counted
from hierfit.tools.extract.assemble import Summary, assemble
from hierfit.tools.extract.job import Job, Request
from hierfit.tools.extract.sources import Source, open_source

_PATIENCE = 0.2  # seconds between looks
_MOST = 32 * BATCH  # pictures of a dry run
_ENOUGH = 20.0  # seconds of a dry run


def extract(asked: Request) -> Summary | None:
    """Does the work; what came out on the first process, None on others that torchrun or SLURM started.

    Raises:
        UserError: Anything a user can mend. Nothing half-written is left, and what is done is kept.
    """
    rank, world = _ranks()
    try:
        job, source = _open(asked, rank, world)
        if rank == 0:
            return _lead(job, source, world)
        before = _stamp(asked.out)
        while (sizes := job.sizes()) is None and _stamp(asked.out) == before:
            time.sleep(_PATIENCE)
        for _ in _share(job, sizes or [], world):  # none: all was done meanwhile
            pass
        return None
    except OSError as error:
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise UserError(
            f"{asked.out} is not written: {where}",
            hint=f"It needs to read {asked.source}, and room and leave to write where {asked.out} is to lie. "
            "What is done is kept: the same command goes on.",
        ) from error


def _open(asked: Request, rank: int, world: int) -> tuple[Job, Source]:
    if asked.devices > 1:
        torch.set_num_threads(max(available_cores() // asked.devices, 1))
    source = open_source(asked.source, asked.root, asked.split, asked.outside)
    workers = max(available_cores() // max(world, asked.devices), 1) if asked.workers is None else asked.workers
    return Job(asked, source.images, workers, rank), source


def _lead(job: Job, source: Source, world: int) -> Summary:
    """The process that plans before and puts together after; it works on its share, too."""
    sizes = job.plan(with_progress(source.samples, None, "looking for pictures", lambda _: 1))
    missing = job.missing(len(sizes))
    there = len(sizes) - len(missing)
    done = f"; {there} of {len(sizes)} parts are there already" if there else ""
    print(f"{sum(sizes):,} pictures to encode with {job.asked.backbone}{done}", flush=True)
    for remark in (source.remark, TINY_NOTE if job.asked.backbone == "tiny" and not source.drawn else ""):
        if remark:
            print(remark, file=sys.stderr)
    start = job.asked.devices if world == 1 else 1
    world = max(world, start)
    with _others(job, start) as check:
        total = sum(sizes[number] for number in missing if number % world == 0)
        for _ in with_progress(_share(job, sizes, world), total, "encoding", int):
            check()
        while job.missing(len(sizes)):
            check()
            time.sleep(_PATIENCE)
    found = assemble(job, len(sizes), source.tree, source.texts)
    job.remove()
    return found


def _share(job: Job, sizes: list[int], world: int) -> Iterator[int]:
    """The missing parts of one process of so many, encoded; gives the pictures of each batch."""
    for number in job.missing(len(sizes)):
        if number % world == job.rank:
            yield from job.encode(number)


@contextmanager
def _others(job: Job, processes: int) -> Iterator[Callable[[], None]]:
    """Starts processes beside this one; gives what raises once one of them has failed."""
    context = multiprocessing.get_context("spawn")
    faults = context.SimpleQueue()
    # A job of its own for each: the towers that this process has loaded stay here.
    shares = [(replace(job, rank=rank), processes, torch.get_num_threads(), faults) for rank in range(1, processes)]
    children = [context.Process(target=_other, args=share) for share in shares]

    def check() -> None:
        if any(child.exitcode for child in children):
            hint = "Give the command again."
            lost = UserError("one of the processes has ended; what is done is kept", hint=hint)
            raise lost if faults.empty() else faults.get()

    for child in children:
        child.start()
    try:
        yield check
    finally:
        for child in children:
            child.terminate()
            child.join()


def _other(job: Job, world: int, threads: int, faults: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process says so, and stops this one
    end_with_parent()
    torch.set_num_threads(threads)
    try:
        for _ in _share(job, job.sizes() or [], world):
            pass
    except (UserError, OSError) as error:
        faults.put(error)
        sys.exit(2)


def _stamp(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


def _ranks() -> tuple[int, int]:
    """Number of this process and of all, as torchrun or SLURM says; 0 of 1 otherwise."""
    for number, total in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        if number in os.environ and total in os.environ:
            return int(os.environ[number]), int(os.environ[total])
    return 0, 1


def dry_run(asked: Request, images: int | None) -> dict[str, str]:
    """What an extraction would take; some pictures are encoded as the work would do it, and nothing is written.

    Each process of torchrun or SLURM measures, beside the others; nothing comes back but on the first.

    Args:
        asked: What would be done.
        images: Reckon with so many pictures; None counts what is there.

    Raises:
        UserError: There are no pictures, or none of those that were tried can be used.
    """
    rank, world = _ranks()
    job, source = _open(asked, rank, world)
    keys = [sample.key for sample in islice(source.samples, _MOST)]
    if not keys:
        raise UserError(f"{asked.source}: no pictures were found")
    seen, usable, seconds, started = 0, 0, 0.0, time.monotonic()
    for number, batch in enumerate(decoded(keys, job.images, job.towers.preprocess, job.workers)):
        if batch.rows:
            run_padded(job.towers.encode_image, batch.pixels.to(job.towers.device))
        usable += len(batch.rows)
        if number or len(keys) <= BATCH:  # the first one starts what decodes, and warms up
            seen, seconds = seen + batch.size, time.monotonic() - started
        else:
            started = time.monotonic()
        if seconds > _ENOUGH:
            break
    if not usable:
        raise UserError(f"{asked.source}: none of the first {len(keys)} pictures can be used")
    if rank:
        return {}
    if images is None:
        images = len(keys) + sum(1 for _ in with_progress(source.samples, None, "looking for pictures", lambda _: 1))
    speed, processes = seen / seconds, max(world, asked.devices)
    width = job.towers.embed_dim * job.dtype.itemsize + 8
    device = job.towers.device
    on = counted(torch.get_num_threads(), "thread") if device.type == "cpu" else str(device)
    decoding = f"{counted(job.workers, 'process', 'processes')} to decode" if job.workers else "decoding included"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 + asked.part * width / 2**20
    disk = f"{images * width / 2**30:.1f} GiB" if images * width >= 2**30 else f"{images * width / 2**20:.1f} MiB"
    parts = counted(math.ceil(images / asked.part), "part")
    return {
        "measured": f"{speed:.{0 if speed >= 10 else 1}f} images/s with {asked.backbone}, over {seen} images",
        "on": f"{on}, {decoding}{'' if processes == 1 else f'; {processes} times that'}",
        "images": f"{images:,}",
        "time": clock(images / speed / processes),
        "disk": f"{disk}, twice that while parts are put together",
        "files": f"{parts} of {asked.part:,} in {job.folder.name}, removed at the end",
        "memory": f"about {memory:.0f} MiB for each process that encodes, however many pictures",
    }
