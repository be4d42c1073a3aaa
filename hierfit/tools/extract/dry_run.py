"""How long an extraction would take, and how much disk: some pictures are encoded and forgotten."""

from __future__ import annotations

import time

import torch

from hierfit.data.decode import BATCH, decoded, run_padded
from hierfit.data.progress import clock, with_progress
from hierfit.errors import UserError
from hierfit.tools.extract.job import Job
from hierfit.tools.extract.sources import Source

_MOST = 32 * BATCH  # pictures
_ENOUGH = 20.0  # seconds


def dry_run(job: Job, source: Source, images: int | None, devices: int) -> list[tuple[str, str]]:
    """What it would take, facts and their values; nothing is written.

    Args:
        job: What would be done.
        source: Its pictures; the first of them are encoded as the work would do it.
        images: Reckon with so many pictures; None counts what is there.
        devices: Processes that encode.

    Raises:
        UserError: There are no pictures, or none of those that were tried can be used.
    """
    first = next(source.parts, None)
    if first is None:
        raise UserError(f"{job.source}: no pictures were found")
    samples, pictures = next(iter(job.pieces(first)))
    keys = [sample.key for sample in samples[:_MOST]]
    seen, usable, seconds = 0, 0, 0.0
    started = time.monotonic()
    batches = decoded(keys, pictures, job.towers.preprocess, job.workers)
    for number, batch in enumerate(batches):
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
        raise UserError(f"{job.source}: none of the first {len(keys)} pictures can be used")
    if images is None:
        rest = with_progress(source.parts, None, "looking for pictures", lambda part: part.size)
        count = first.size + sum(part.size for part in rest)
    else:
        count = images
    speed = seen / seconds
    disk = count * (job.towers.embed_dim * job.dtype.itemsize + 8)
    threads = torch.get_num_threads()
    device = f"{threads} thread{'s' * (threads != 1)}" if job.towers.device.type == "cpu" else str(job.towers.device)
    decode = f"{job.workers} process{'es' * (job.workers != 1)} to decode" if job.workers else "decoding included"
    processes = "" if devices == 1 else f"; {devices} times that"
    return [
        ("measured", f"{speed:.{0 if speed >= 10 else 1}f} images/s with {job.backbone}, over {seen} images"),
        ("on", f"{device}, {decode}{processes}"),
        ("images", f"{count:,}"),
        ("time", clock(count / speed / devices)),
        ("disk", f"{_size(disk)}, twice that while parts are put together"),
    ]


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
