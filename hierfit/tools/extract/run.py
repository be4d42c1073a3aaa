"""Extraction over processes: as many as asked for here, or those that torchrun or SLURM started; and its dry run."""

from __future__ import annotations

import math
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hierfit.backbone.source import TINY_NOTE
from hierfit.data.decode import BATCH, decoded, run_padded
from hierfit.data.encode import available_cores
from hierfit.data.progress import clock, with_progress
from hierfit.errors import UserError
from hierfit.streams import end_with_parent
from hierfit.tools.extract.assemble import Summary, assemble
from hierfit.tools.extract.job import Job, Request
from hierfit.tools.extract.sources import Source, open_source
from hierfit.tools.printing import counted

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
        if rank:
            _help(job, rank, world)
            return None
        return _lead(job, source, world, 1 if world > 1 else asked.devices)
    except OSError as error:
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise UserError(
            f"{asked.out} is not written: {where}",
            hint=f"It needs to read {asked.source}, and room and leave to write where {asked.out} is to lie. "
            "What is done is kept: the same command goes on.",
        ) from error


def _open(asked: Request, rank: int = 0, world: int = 1) -> tuple[Job, Source]:
    if asked.devices > 1:
        torch.set_num_threads(max(available_cores() // asked.devices, 1))
    source = open_source(asked.source, asked.root, asked.split, asked.outside, asked.part)
    workers = max(available_cores() // max(world, asked.devices), 1) if asked.workers is None else asked.workers
    return Job(asked, source.images, workers, rank), source


def _lead(job: Job, source: Source, world: int, devices: int) -> Summary:
    """The process that plans before and puts together after; what it works on is its share of the missing parts."""
    sizes = job.plan(with_progress(source.parts, None, "looking for pictures", lambda part: part.size))
    missing = job.missing(len(sizes))
    there = len(sizes) - len(missing)
    done = f"; {there} of {len(sizes)} parts are there already" if there else ""
    print(f"{sum(sizes):,} pictures to encode with {job.asked.backbone}{done}", flush=True)
    for remark in (source.remark, TINY_NOTE if job.asked.backbone == "tiny" and not source.drawn else ""):
        if remark:
            print(remark, file=sys.stderr)
    own = [number for number in missing if number % world == 0]
    total = sum(sizes[number] for number in own)
    batches = _over_processes(job, own, sizes, devices) if devices > 1 else _here(job, own)
    for _ in with_progress(batches, total, "encoding", int):
        pass
    _until(lambda: not job.missing(len(sizes)))
    found = assemble(job, len(sizes), source.tree, source.texts)
    job.remove()
    return found


def _help(job: Job, rank: int, world: int) -> None:
    """One more process of torchrun or SLURM: its share of what the first one plans."""
    before = _stamp(job.asked.out)
    _until(lambda: job.sizes() is not None or _stamp(job.asked.out) != before)
    sizes = job.sizes() or []  # none: all was done meanwhile
    for _ in _here(job, [number for number in job.missing(len(sizes)) if number % world == rank]):
        pass


def _here(job: Job, parts: Sequence[int]) -> Iterator[int]:
    for number in parts:
        yield from job.encode(number)


def _over_processes(job: Job, parts: Sequence[int], sizes: Sequence[int], devices: int) -> Iterator[int]:
    """Parts encoded by processes of which each has a device; gives the pictures of each part when it is done."""
    context = multiprocessing.get_context("spawn")
    numbers, stop = context.SimpleQueue(), context.Event()
    for number in range(devices):
        numbers.put(number)
    # A job of its own: the towers that this process has loaded stay here.
    state = (replace(job), numbers, stop, torch.get_num_threads())
    with ProcessPoolExecutor(devices, context, initializer=_start, initargs=state) as pool:
        try:
            work = {pool.submit(_encode, number): number for number in parts}
            for future in as_completed(work):
                future.result()
                yield sizes[work[future]]
        except BrokenProcessPool as error:
            raise UserError(
                "one of the processes has ended; what is done is kept", hint="Give the command again."
            ) from error
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


_job: Job  # of a process of the pool
_stop: Any


def _start(job: Job, numbers: Any, stop: Any, threads: int) -> None:
    global _job, _stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process says so, and stops this one
    end_with_parent()
    torch.set_num_threads(threads)
    _job, _stop = replace(job, device=numbers.get()), stop


def _encode(number: int) -> None:
    for _ in _job.encode(number):
        if _stop.is_set():
            return


def _until(happens: Callable[[], bool]) -> None:
    while not happens():
        time.sleep(_PATIENCE)


def _stamp(path: Path) -> int | None:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime_ns
    return None


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
    first = next(source.parts, None)
    if first is None:
        raise UserError(f"{asked.source}: no pictures were found")
    samples, pictures = next(iter(job.pieces(first)))
    keys = [sample.key for sample in samples[:_MOST]]
    seen, usable, seconds, started = 0, 0, 0.0, time.monotonic()
    for number, batch in enumerate(decoded(keys, pictures, job.towers.preprocess, job.workers)):
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
        rest = with_progress(source.parts, None, "looking for pictures", lambda part: part.size)
        images = first.size + sum(part.size for part in rest)
    speed, processes = seen / seconds, max(world, asked.devices)
    width = job.towers.embed_dim * job.dtype.itemsize + 8
    parts = math.ceil(images / asked.part)
    device = job.towers.device
    on = counted(torch.get_num_threads(), "thread") if device.type == "cpu" else str(device)
    decoding = f"{counted(job.workers, 'process', 'processes')} to decode" if job.workers else "decoding included"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 + asked.part * width / 2**20
    return {
        "measured": f"{speed:.{0 if speed >= 10 else 1}f} images/s with {asked.backbone}, over {seen} images",
        "on": f"{on}, {decoding}{'' if processes == 1 else f'; {processes} times that'}",
        "images": f"{images:,}",
        "time": clock(images / speed / processes),
        "disk": f"{_size(images * width)}, twice that while parts are put together",
        "files": f"{counted(parts, 'part')} of {asked.part:,} in {job.folder.name}, removed at the end",
        "memory": f"about {memory:.0f} MiB for each process that encodes, however many pictures",
    }


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
