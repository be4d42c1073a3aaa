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
from hierfit.tools.extract.assemble import Extracted, assemble
from hierfit.tools.extract.job import Job, Request
from hierfit.tools.extract.sources import PictureSource, open_source

_POLL = 0.2  # seconds
_TRIED, _TRIED_SECONDS = 32 * BATCH, 20.0
"""Pictures of a dry run, and how long it lasts."""


def extract(asked: Request) -> Extracted | None:
    """Does the work; what came out on the first process, None on others that torchrun or SLURM started.

    Raises:
        UserError: Anything a user can mend. Nothing half-written is left, and what is done is kept.
    """
    try:
        job, source, world = _open(asked)
        if job.rank == 0:
            return _plan_and_assemble(job, source, world)
        before = _modified(asked.out)
        while (planned := job.planned()) is None and _modified(asked.out) == before:
            time.sleep(_POLL)
        if planned:  # else all was done meanwhile
            _work(job, planned, world)
        return None
    except OSError as error:
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise UserError(
            f"{asked.out} is not written: {where}",
            hint=f"It needs to read {asked.source}, and room and leave to write where {asked.out} is to lie. "
            "What is done is kept: the same command goes on.",
        ) from error


def _open(asked: Request) -> tuple[Job, PictureSource, int]:
    """Job and source, and the number of processes that torchrun or SLURM started."""
    variables = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))
    found = ((os.environ.get(rank), os.environ.get(world)) for rank, world in variables)
    rank, world = next(((int(rank), int(world)) for rank, world in found if rank and world), (0, 1))
    if asked.devices > 1:
        torch.set_num_threads(max(available_cores() // asked.devices, 1))
    source = open_source(asked.source, asked.root, asked.split, asked.outside)
    workers = max(available_cores() // max(world, asked.devices), 1) if asked.workers is None else asked.workers
    return Job(asked, source.images, workers, rank), source, world


def _plan_and_assemble(job: Job, source: PictureSource, world: int) -> Extracted:
    """The first process's work; between its ends it encodes its share, too."""
    sizes = job.plan(with_progress(source.samples, None, "looking for pictures", lambda _: 1))
    missing = job.missing(len(sizes))
    there = len(sizes) - len(missing)
    done = f"; {there} of {len(sizes)} parts are there already" if there else ""
    print(f"{sum(sizes):,} pictures to encode with {job.asked.backbone}{done}", flush=True)
    for remark in (source.remark, TINY_NOTE if job.asked.backbone == "tiny" and not source.drawn else ""):
        if remark:
            print(remark, file=sys.stderr)
    children = job.asked.devices if world == 1 else 1
    world = max(world, children)
    with _others(job, children) as check:
        total = sum(sizes[number] for number in missing if number % world == 0)
        for _ in with_progress(job.share(len(sizes), world), total, "encoding", int):
            check()
        while job.missing(len(sizes)):
            check()
            time.sleep(_POLL)
    found = assemble(job, len(sizes), source.tree, source.texts)
    job.remove()
    return found


@contextmanager
def _others(job: Job, processes: int) -> Iterator[Callable[[], None]]:
    """Starts processes beside this one; gives what raises once one of them has failed."""
    context = multiprocessing.get_context("spawn")
    faults = context.SimpleQueue()
    # A job of its own for each: the towers that this process has loaded stay here.
    shares = [(replace(job, rank=rank), processes, torch.get_num_threads(), faults) for rank in range(1, processes)]
    children = [context.Process(target=_start_other, args=share) for share in shares]

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


def _start_other(job: Job, world: int, threads: int, faults: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process says so, and stops this one
    end_with_parent()
    torch.set_num_threads(threads)
    try:
        _work(job, job.planned() or {"sizes": []}, world)
    except (UserError, OSError) as error:
        faults.put(error)
        sys.exit(2)


def _work(job: Job, planned: dict[str, Any], world: int) -> None:
    for _ in job.share(len(planned["sizes"]), world):
        pass


def _modified(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


def dry_run(asked: Request, images: int | None) -> dict[str, str]:
    """What an extraction would take; some pictures are encoded as the work would do it, and nothing is written.

    Each process of torchrun or SLURM measures, beside the others; nothing comes back but on the first.

    Args:
        asked: What would be done.
        images: Reckon with so many pictures; None counts what is there.

    Raises:
        UserError: There are no pictures, or none of those that were tried can be used.
    """
    job, source, world = _open(asked)
    keys = [sample.key for sample in islice(source.samples, _TRIED)]
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
        if seconds > _TRIED_SECONDS:
            break
    if not usable:
        raise UserError(f"{asked.source}: none of the first {len(keys)} pictures can be used")
    if job.rank:
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
    return {
        "measured": f"{speed:.{0 if speed >= 10 else 1}f} images/s with {asked.backbone}, over {seen} images",
        "on": f"{on}, {decoding}{'' if processes == 1 else f'; {processes} times that'}",
        "images": f"{images:,}",
        "time": clock(images / speed / processes),
        "disk": f"{disk}, twice that while parts are put together",
        "files": f"{counted(math.ceil(images / asked.part), 'part')} of {asked.part:,} in {job.folder.name}, "
        "removed at the end",
        "memory": f"about {memory:.0f} MiB for each process that encodes, however many pictures",
    }
