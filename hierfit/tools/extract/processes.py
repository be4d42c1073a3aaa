"""Extraction over processes: those that torchrun or SLURM started, or as many as asked for."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess, parent_process
from pathlib import Path

import torch

from hierfit.data.encode import available_cores
from hierfit.data.progress import with_lines, with_progress
from hierfit.errors import UserError
from hierfit.tools.extract.assemble import Summary, assemble
from hierfit.tools.extract.job import Job
from hierfit.tools.extract.open import Source, open_source


def extract(options: argparse.Namespace) -> Summary | None:
    """Does the work; what came out on the first process, None on others that torchrun or SLURM started.

    Raises:
        UserError: Anything a user can mend. Nothing half-written is left, and what is done is kept.
    """
    rank, world = _ranks()
    if options.devices == 1 or world > 1:
        return _process(options, rank, world)
    context = multiprocessing.get_context("spawn")
    others: list[BaseProcess] = [
        context.Process(target=_child, args=(options, rank)) for rank in range(1, options.devices)
    ]
    for process in others:
        process.start()

    def alive() -> None:
        if any(process.exitcode for process in others):
            raise UserError("one of the processes has ended; what is done is kept", hint="Give the command again.")

    try:
        return _process(options, 0, options.devices, alive)
    finally:  # when this one is done, so are they; where it has failed, they have nothing more to do
        for process in others:
            process.kill()
            process.join()


def open_job(options: argparse.Namespace, rank: int = 0, world: int = 1) -> tuple[Job, Source]:
    """The job that the options describe, and its pictures."""
    if options.devices > 1:
        torch.set_num_threads(max(available_cores() // options.devices, 1))
    named = Path(options.source).expanduser()
    name = str(named.resolve()) if named.exists() else options.source
    source = open_source(options.source, options.root, options.split, options.outside, options.part)
    workers = max(available_cores() // max(world, options.devices), 1) if options.workers is None else options.workers
    asked = {"root": options.root, "split": options.split}
    dtype = getattr(torch, options.dtype)
    skip = options.bad == "skip"
    return Job(options.out, name, asked, options.backbone, dtype, source.images, skip, workers, rank, world), source


def _process(
    options: argparse.Namespace, rank: int, world: int, alive: Callable[[], None] = lambda: None
) -> Summary | None:
    """One process of the work; the first one plans before and puts together after."""
    try:
        job, source = open_job(options, rank, world)
        if rank:
            for _ in job.work(job.todo(len(job.wait_for_plan(alive)))):
                alive()
            return None
        sizes = job.plan(with_progress(source.parts, None, "looking for pictures", lambda part: part.size))
        todo = job.todo(len(sizes))
        there = sum(job.part(number).is_file() for number in range(len(sizes)))
        done = f"; {there} of {len(sizes)} parts are there already" if there else ""
        print(f"{sum(sizes):,} pictures to encode with {options.backbone}{done}", flush=True)
        total = sum(sizes[number] for number in todo)
        for _ in with_lines(with_progress(job.work(todo), total, "encoding", int), total, int):
            alive()
        job.wait_for_parts(len(sizes), alive)
        found = assemble(job, len(sizes), source.tree, source.texts)
        job.remove()
        return found
    except OSError as error:
        raise UserError(
            f"{options.out} is not written: {_told(error)}",
            hint=f"It needs to read {options.source}, and room and leave to write where {options.out} is to lie. "
            "What is done is kept: the same command goes on.",
        ) from error


def _told(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


def _child(options: argparse.Namespace, rank: int) -> None:
    parent = parent_process()
    assert parent is not None

    def alive() -> None:
        if not parent.is_alive():
            sys.exit(1)

    try:
        _process(options, rank, options.devices, alive)
    except UserError as error:
        print(f"process {rank}: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:  # the first process says so
        sys.exit(130)


def _ranks() -> tuple[int, int]:
    """Number of this process and of all, as torchrun or SLURM says; 0 of 1 otherwise."""
    for number, total in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        if number in os.environ and total in os.environ:
            return int(os.environ[number]), int(os.environ[total])
    return 0, 1
