"""``hierfit features``: extract and inspect feature bundles."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hierfit.errors import UserError

if TYPE_CHECKING:
    from hierfit.data.extract.job import Job
    from hierfit.data.extract.sources import Part, Sample
    from hierfit.data.table import Images
    from hierfit.taxonomy import Taxonomy


def features(arguments: Sequence[str]) -> None:
    """Runs one of the commands on features."""
    parser = argparse.ArgumentParser(
        prog="hierfit features", description="Features of pictures, as one file.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    extract = commands.add_parser(
        "extract",
        help="encode pictures into a bundle; killed, the same command goes on",
        description="Encode the pictures of a data card, a folder (its folders are labels), a CSV (path,label[,split]) "
        "or WebDataset-style tar shards into one hierfit.features/1 file. Work is done in parts: after a kill the same "
        "command goes on where it was. Memory does not grow with the number of pictures. torchrun and srun work, too.",
        allow_abbrev=False,
    )
    extract.add_argument("source", metavar="SOURCE", help="card, folder, table.csv, shard.tar or a folder of shards")
    extract.add_argument("--out", type=Path, required=True, metavar="FILE", help="the bundle (.safetensors)")
    extract.add_argument("--backbone", default="tiny", help="tiny, a folder or a hub name (default: tiny)")
    extract.add_argument("--root", metavar="PATH", help="where the data of a card lie (data.root)")
    extract.add_argument("--split", default="train", choices=("train", "val", "test"), help="where nothing names one")
    extract.add_argument("--dtype", default="float16", choices=("float16", "float32"), help="of the features")
    extract.add_argument("--bad", default="fatal", choices=("fatal", "skip"), help="pictures that cannot be read")
    extract.add_argument("--outside", action="store_true", help="paths of a table may leave its folder")
    extract.add_argument("--part", type=int, default=4096, metavar="N", help="pictures a part: what a kill costs")
    extract.add_argument("--workers", type=int, metavar="N", help="processes that decode, for each that encodes")
    extract.add_argument("--devices", type=int, default=1, metavar="N", help="processes that encode, one a GPU")
    extract.add_argument("--dry-run", action="store_true", help="measure some batches; say how long and how large")
    extract.add_argument("--images", type=float, metavar="N", help="with --dry-run: for so many pictures (2.7e6)")
    extract.set_defaults(run=_extract)
    inspect = commands.add_parser("inspect", help="what a bundle holds", allow_abbrev=False)
    inspect.add_argument("file", type=Path, metavar="FILE")
    inspect.set_defaults(run=_inspect)
    options = parser.parse_args(arguments)
    options.run(options)


def _extract(options: argparse.Namespace) -> None:
    from hierfit.data.extract.job import ranks

    rank, world = ranks()
    if options.devices > 1 and world == 1 and not options.dry_run:
        _spawn(options)
    else:
        _process(options, rank, world)


def _process(options: argparse.Namespace, rank: int, world: int, alive: Callable[[], None] = lambda: None) -> None:
    """One process of the work; the first one plans before and puts together after."""
    job, parts, tree, texts = _job(options, world)
    if options.dry_run:
        _dry_run(options, job, parts)
        return
    count = job.plan(parts) if rank == 0 else job.wait_for_plan()
    job.work(count, rank, world, (lambda line: print(line, flush=True)) if rank == 0 else (lambda line: None))
    if rank:
        return
    job.wait_for_parts(count, alive)
    found = job.assemble(count, tree, texts)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if found.bad:
        listed = "\n".join(f"  - {line}" for line in found.bad[:20])
        print(f"{len(found.bad)} pictures were passed over:\n{listed}", file=sys.stderr)
    levels = ", ".join(f"{name} {size}" for name, size in zip(found.tree.levels, found.tree.level_sizes, strict=True))
    print(f"{found.images:,} images · {levels} · peak memory {peak:.0f} MiB\nWritten to {options.out}")
    print(f"Look at it:  hierfit features inspect {options.out}")


def _job(
    options: argparse.Namespace, world: int
) -> tuple[Job, Iterator[Part], Taxonomy | None, Callable[[Taxonomy], list[list[str]]]]:
    import torch

    from hierfit.backbone import node_texts
    from hierfit.data.card import load_card
    from hierfit.data.encode import available_cores
    from hierfit.data.extract import sources
    from hierfit.data.extract.job import Job
    from hierfit.data.table import read_table

    source = Path(options.source).expanduser()
    images: Images | None = None
    tree: Taxonomy | None = None
    texts: Callable[[Taxonomy], list[list[str]]] = lambda tree: node_texts(tree, {})  # noqa: E731
    samples: Iterator[tuple[str, Sample]]
    if tars := sources.find_tars(source):
        parts = sources.tar_parts(tars, options.split)
    else:
        if source.is_dir():
            images, samples = sources.files_of(source), sources.folder_samples(source, options.split)
        elif source.is_file() and source.suffix == ".csv":
            images = sources.files_of(source.parent)
            samples = sources.table_samples(source, options.split, options.outside)
        else:
            card = load_card(options.source)
            table = read_table(card, options.root)
            if table.images is None:
                raise UserError(f"card {card.name!r} holds features already")
            images, tree, texts = table.images, table.taxonomy, card.texts
            samples = _card_samples(table)
        parts = sources.parts_of(samples, options.part)
    workers = max(available_cores() // max(world, options.devices), 1) if options.workers is None else options.workers
    dtype = getattr(torch, options.dtype)
    job = Job(options.out, options.source, options.backbone, dtype, images, options.bad == "skip", workers)
    return job, parts, tree, texts


def _card_samples(table: Any) -> Iterator[tuple[str, Sample]]:
    from hierfit.data.extract.sources import Sample

    tree = table.taxonomy
    for name, split in table.splits.items():
        for key, path in zip(split.keys, tree.paths(split.nodes).tolist(), strict=True):
            yield name, Sample(key, tuple(tree.names[v] for v in path if v >= 0))


def _dry_run(options: argparse.Namespace, job: Job, parts: Iterator[Part]) -> None:
    from hierfit.backbone import Backbone
    from hierfit.data.decode import BATCH, decoded, run_padded
    from hierfit.data.extract.job import clock
    from hierfit.data.extract.sources import chunks, read_tar

    first = next(parts, None)
    if first is None:
        raise UserError(f"{options.source}: no pictures were found")
    towers = Backbone.load(job.backbone)
    samples, images = next(chunks(first, job.images, 5 * BATCH))
    keys, seconds, width, seen = [sample.key for sample in samples[: 5 * BATCH]], 0.0, 0, 0
    started = time.monotonic()
    for number, batch in enumerate(decoded(keys, images, towers.preprocess)):
        if len(batch.pixels):
            width = run_padded(towers.encode_image, batch.pixels).shape[1]
        if number or len(keys) <= BATCH:  # the first one warms up
            seen, seconds = seen + batch.size, seconds + time.monotonic() - started
        started = time.monotonic()
    rest = list(islice(parts, 10**9)) if first.tar else None
    if options.images:
        count = int(options.images)
    elif rest is not None:
        count = sum(1 for _ in read_tar(Path(first.tar))) * (1 + len(rest))
    else:
        count = sum(len(part.samples) for part in chain([first], parts))
    speed = seen / seconds
    disk = count * (width * job.dtype.itemsize + 8)
    print(f"{speed:.0f} images/s on one core of this machine with {job.backbone} (over {seen} images)")
    print(
        f"{count:,} images: {clock(count / speed)} on one core, {clock(count / speed / max(job.workers, 1))} on "
        f"{max(job.workers, 1)}; {disk / 2**30:.2f} GiB, and as much again while parts are put together"
    )


def _spawn(options: argparse.Namespace) -> None:
    """Processes on this machine, one a device; the end of one that fails is the end of all."""
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_child, args=(options, rank)) for rank in range(1, options.devices)]
    for process in others:
        process.start()

    def alive() -> None:
        if any(process.exitcode for process in others):
            raise UserError("one of the processes has failed; what it said stands above", hint="Run it again.")

    try:
        _process(options, 0, options.devices, alive)
    finally:
        for process in others:
            process.join(None if not sys.exc_info()[0] else 0)
            if process.is_alive():
                process.kill()


def _child(options: argparse.Namespace, rank: int) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        _process(options, rank, options.devices)
    except UserError as error:
        print(f"process {rank}: error: {error}", file=sys.stderr)
        sys.exit(2)


def _inspect(options: argparse.Namespace) -> None:
    from hierfit.data.bundle import read_bundle

    bundle = read_bundle(options.file)
    tree = bundle.taxonomy
    print(f"{options.file}: backbone {bundle.backbone}, logit scale {bundle.logit_scale:g}")
    print(f"  tree    {', '.join(f'{n} {s}' for n, s in zip(tree.levels, tree.level_sizes, strict=True))}")
    for name, split in bundle.splits.items():
        n, width = split.features.shape
        norms = split.features.float().norm(dim=-1)
        coarse = f", {int((split.labels < 0).sum())} not labelled at a leaf" if split.paths is not None else ""
        kind, leaves = str(split.features.dtype).removeprefix("torch."), len(split.labels[split.labels >= 0].unique())
        print(
            f"  {name:7} {n:,} × {width} {kind}, norms {norms.min():.3g} to {norms.max():.3g}, {leaves} leaves{coarse}"
        )
    text = "all nodes" if bundle.node_text is not None else "leaves" if bundle.text is not None else "none"
    print(f"  text    {text}")
    if bundle.note:
        print(f"  note    {bundle.note}")
