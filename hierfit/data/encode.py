"""Pictures and texts through frozen towers, each once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor

from hierfit.backbone import Backbone, encode_texts
from hierfit.data.cache import VectorCache, digest
from hierfit.data.decode import BATCH, Transform, decoded, run_padded
from hierfit.data.progress import with_progress
from hierfit.data.samples import Images, Split
from hierfit.errors import UserError

SHARD = 16 * BATCH
"""Images a shard: what a killed run loses at most."""


def encode(
    keys: Sequence[str],
    images: Images,
    transform: Transform,
    tower: Callable[[Tensor], Tensor],
    cache: VectorCache,
    num_workers: int = 0,
    device: torch.device | str = "cpu",
    title: str = "encoding",
) -> Tensor:
    """Features of pictures, from the cache as far as it has them; the others are computed and added to it.

    The tower always sees batches of one size, the last one padded: a feature then comes out bit for bit the
    same whichever pictures stand beside it, so results do not depend on what earlier runs have left in the
    cache.

    Args:
        keys: n samples.
        images: Their pictures.
        transform: Picture to tensor ``[3, S, S]``; runs in the workers.
        tower: ``[32, 3, S, S]`` to features ``[32, d]``.
        cache: Keeps the features.
        num_workers: Processes that decode pictures; 0 decodes in this one.
        device: Where the tower is.
        title: Shown before the progress bar (a terminal only).

    Returns:
        Features ``[n, d]`` on the CPU, float32, in the order of the keys.

    Raises:
        UserError: Lists all pictures that cannot be decoded. From the first one on nothing more is encoded,
            so that the list is there soon; what is in the cache by then is sound and stays.
    """
    digests = [digest(images.stamp(key)) for key in keys]
    features, missing = cache.read(digests)
    if not len(missing):
        return features
    todo = missing.tolist()
    loader = decoded([keys[row] for row in todo], images, transform, num_workers)
    problems: list[str] = []
    waiting: list[Tensor] = []
    done = 0
    for batch in with_progress(loader, len(todo), title, lambda one: one.size):
        problems += batch.problems.values()
        if problems:
            continue
        waiting.append(run_padded(tower, batch.pixels.to(device)).cpu().float())
        count = sum(map(len, waiting))
        if count == SHARD or done + count == len(todo):
            rows, values = missing[done : done + count], torch.cat(waiting)
            cache.add([digests[row] for row in rows.tolist()], values)
            if not features.shape[1]:
                features = torch.zeros(len(keys), values.shape[1])
            features[rows] = values
            waiting, done = [], done + count
    if problems:
        raise UserError(
            f"{len(problems)} of {len(todo)} pictures cannot be used",
            problems,
            "Mend these files, or take them out of the data set.",
        )
    return features


def check(keys: Sequence[str], images: Images, cache: VectorCache, num_workers: int = 0) -> None:
    """Decode every picture once, so that a bad one stops a run at its start and not in its third hour.

    What is sound is remembered in `cache` (as vectors of no length), and not decoded again while it is
    unchanged.

    Raises:
        UserError: Lists all pictures that cannot be decoded.
    """
    encode(keys, images, _nothing, torch.nn.Identity(), cache, num_workers, title="checking pictures")


def encoded(
    splits: Mapping[str, Split], images: Images, towers: Backbone, cache: VectorCache, num_workers: int
) -> dict[str, Split]:
    """Splits with their features, all in one go: one progress bar, and one list of all pictures that cannot be used."""
    everything = [key for split in splits.values() for key in split.keys]
    features = encode(everything, images, towers.preprocess, towers.encode_image, cache, num_workers, towers.device)
    parts = features.split([len(split) for split in splits.values()])
    return {name: replace(split, features=part) for (name, split), part in zip(splits.items(), parts, strict=True)}


def node_features(backbone: Backbone, texts: Sequence[Sequence[str]], cache: VectorCache) -> Tensor:
    """Text features of all nodes ``[N, d]`` from their prompts, through the cache, on the CPU."""
    # Kept tree by tree: a feature changes in its last bits with the texts that share its batch.
    together = repr(texts)
    digests = [digest(together, str(node)) for node in range(len(texts))]
    text, missing = cache.read(digests)
    if len(missing):
        text = encode_texts(backbone, texts).cpu()
        cache.add(digests, text)
    return text


def available_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _nothing(image: Image.Image) -> Tensor:
    return torch.empty(0)
