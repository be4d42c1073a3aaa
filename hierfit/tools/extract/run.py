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
from typing import Any

import torch

from hierfit.backbone.source import TINY_NOTE
from hierfit.data.decode import BATCH
from hierfit.data.encode import available_cores
from hierfit.data.progress import clock, with_progress
from hierfit.distributed import end_with_parent
from hierfit.errors import UserError
from hierfit.taxonomy.checks import counted
from hierfit.tools.extract.assemble import Extracted, assemble
from hierfit.tools.extract.job import Job

_POLL = 0.2  # seconds
_TRIED, _TRIED_SECONDS = 32 * BATCH, 20.0
"""Pictures of a dry run, and how long it lasts."""


def extract(job: Job) -> Extracted | None:
    """Does the work; what came out on the first process, None on others that torchrun or SLURM started.

    Raises:
        UserError: Anything a user can mend. Nothing half-written is left, and what is done is kept.
    """
    job = _ranked(job)
    try:
        if job.rank:
            _work_when_planned(job)
            return None
        return _plan_and_assemble(job)
    except OSError as error:
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise UserError(
            f"{job.out} is not written: {where}",
            hint=f"It needs to read {job.source}, and room and leave to write where {job.out} is to lie. "
            "What is done is kept: the same command goes on.",
        ) from error


def _ranked(job: Job) -> Job:
    """The job of this process, as torchrun or SLURM says, or the first of ``--devices``; with its share of threads."""
    if job.devices > 1:
        torch.set_num_threads(max(available_cores() // job.devices, 1))
    for rank, world in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        if rank in os.environ and int(os.environ.get(world, 1)) > 1:
            return replace(job, rank=int(os.environ[rank]), world=int(os.environ[world]), devices=1)
    return replace(job, world=job.devices)


def _plan_and_assemble(job: Job) -> Extracted:
    """The first process's work; between its ends it encodes its share, too."""
    source = job.opened
    sizes = job.plan(with_progress(source.samples, None, "looking for pictures", lambda _: 1))
    missing = job.missing(len(sizes))
    there = len(sizes) - len(missing)
    done = f"; {there} of {len(sizes)} parts are there already" if there else ""
    print(f"{sum(sizes):,} pictures to encode with {job.backbone}{done}", flush=True)
    for remark in (source.remark, TINY_NOTE if job.backbone == "tiny" and not source.drawn else ""):
        if remark:
            print(remark, file=sys.stderr)
    with _others(job) as check:
        total = sum(sizes[number] for number in missing if number % job.world == 0)
        for _ in with_progress(job.share(len(sizes)), total, "encoding", int):
            check()
        while job.missing(len(sizes)):
            check()
            time.sleep(_POLL)
    found = assemble(job, len(sizes))
    job.remove()
    return found


def _work_when_planned(job: Job) -> None:
    def modified() -> int | None:
        return job.out.stat().st_mtime_ns if job.out.exists() else None

    before = modified()
    while (planned := job.planned()) is None:
        if modified() != before:
            return  # all was done meanwhile
        time.sleep(_POLL)
    for _ in job.share(len(planned["sizes"])):
        pass


@contextmanager
def _others(job: Job) -> Iterator[Callable[[], None]]:
    """Starts the other ``--devices``; gives what raises once one of them has failed."""
    context = multiprocessing.get_context("spawn")
    faults = context.SimpleQueue()
    # A job of its own for each: the towers that this process has loaded stay here.
    jobs = [replace(job, rank=rank, images=job.opened.images) for rank in range(1, job.devices)]
    children = [context.Process(target=_start_other, args=(own, torch.get_num_threads(), faults)) for own in jobs]

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


def _start_other(job: Job, threads: int, faults: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process says so, and stops this one
    end_with_parent()
    torch.set_num_threads(threads)
    try:
        _work_when_planned(job)
    except (UserError, OSError) as error:
        faults.put(error)
        sys.exit(2)


def dry_run(job: Job, images: int | None) -> dict[str, str]:
    """What an extraction would take; some pictures are encoded as the work would do it, and nothing is written.

    Each process of torchrun or SLURM measures, beside the others; nothing comes back but on the first.

    Args:
        images: Reckon with so many pictures; None counts what is there.

    Raises:
        UserError: There are no pictures, or none of those that were tried can be used.
    """
    job = _ranked(job)
    samples = job.opened.samples
    keys = [sample.key for sample in islice(samples, _TRIED)]
    if not keys:
        raise UserError(f"{job.source}: no pictures were found")
    seen, usable, seconds, started = 0, 0, 0.0, time.monotonic()
    for number, (batch, _) in enumerate(job.encoded(keys)):
        usable += len(batch.rows)
        if number or len(keys) <= BATCH:  # the first one starts what decodes, and warms up
            seen, seconds = seen + batch.size, time.monotonic() - started
        else:
            started = time.monotonic()
        if seconds > _TRIED_SECONDS:
            break
    if not usable:
        raise UserError(f"{job.source}: none of the first {len(keys)} pictures can be used")
    if job.rank:
        return {}
    if images is None:
        images = len(keys) + sum(1 for _ in with_progress(samples, None, "looking for pictures", lambda _: 1))
    speed, width = seen / seconds, job.towers.embed_dim * job.type.itemsize + 8
    device = job.towers.device
    on = counted(torch.get_num_threads(), "thread") if device.type == "cpu" else str(device)
    decoding = f"{counted(job.decoders, 'process', 'processes')} to decode" if job.decoders else "decoding included"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 + job.part_size * width / 2**20
    disk = f"{images * width / 2**30:.1f} GiB" if images * width >= 2**30 else f"{images * width / 2**20:.1f} MiB"
    parts = counted(math.ceil(images / job.part_size), "part")
    return {
        "measured": f"{speed:.{0 if speed >= 10 else 1}f} images/s with {job.backbone}, over {seen} images",
        "on": f"{on}, {decoding}{'' if job.world == 1 else f'; {job.world} times that'}",
        "images": f"{images:,}",
        "time": clock(images / speed / job.world),
        "disk": f"{disk}, twice that while parts are put together",
        "files": f"{parts} of {job.part_size:,} in {job.folder.name}, removed at the end",
        "memory": f"about {memory:.0f} MiB for each process that encodes, however many pictures",
    }
