"""Features of pictures and texts from frozen towers, each computed once and kept on disk."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from hierfit.backbone import Backbone, encode_texts
from hierfit.data.samples import Images, Split
from hierfit.errors import UserError
from hierfit.tensors import read_tensors, write_tensors

SHARD = 512
"""Images a shard, in whole batches of the tower: what a killed run loses at most."""
VERSION = "1"
"""Raise it when the decoding of pictures or this format changes: older entries are then computed anew."""

_DIGEST_BYTES = 16


@dataclass(frozen=True)
class VectorCache:
    """An append-only folder of shards, each a safetensors file of vectors and the digests they belong to.

    Everything follows from one rule: *a shard is written once, whole, under the hash of its digests*. A killed run
    leaves whole shards, and the next computes only what is missing; two processes at work on the same samples write the
    same files; a vector is found by its sample, so every draw and split shares it. Labels are not stored, so a mended
    taxonomy needs nothing encoded again. A shard whose checksum is wrong is removed with a warning, and its samples
    count as missing.

    Attributes:
        folder: One folder for everything that the digests do not cover: the weights and preprocessing.
    """

    folder: Path

    def read(self, digests: Sequence[bytes]) -> tuple[Tensor, Tensor]:
        """The vectors of n digests ``[n, d]``, and the ascending rows not found ``[m]``; O(vectors stored).

        Rows not found are zero; d is 0 when nothing is found.
        """
        row_of = {key: row for row, key in enumerate(digests)}
        vectors, missing = torch.zeros(len(digests), 0), torch.ones(len(digests), dtype=torch.bool)
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                keys, values = _read_shard(path)
                if vectors.shape[1] not in (0, values.shape[1]):
                    raise ValueError("vectors of another length")
            except FileNotFoundError:  # another process has just removed it
                continue
            except (SafetensorError, OSError, ValueError):
                warnings.warn(f"{path} is damaged; its features are computed again", stacklevel=2)
                path.unlink(missing_ok=True)
                continue
            hits = [(i, row) for i, key in enumerate(keys) if (row := row_of.get(key)) is not None]
            if hits:
                vectors = vectors if vectors.shape[1] else torch.zeros(len(digests), values.shape[1])
                here, there = torch.tensor(hits).T
                vectors[there] = values[here]
                missing[there] = False
        return vectors, missing.nonzero().squeeze(1)

    def add(self, digests: Sequence[bytes], vectors: Tensor) -> None:
        """Store ``vectors [m, d]`` (float32) as one shard; raises `UserError` where the folder cannot be written to."""
        keys = torch.frombuffer(bytearray(b"".join(digests)), dtype=torch.uint8).view(-1, _DIGEST_BYTES)
        values = vectors.detach().cpu().float().contiguous()
        path = self.folder / f"{digest(*(key.hex() for key in digests)).hex()}.safetensors"
        try:
            write_tensors(path, {"digests": keys, "vectors": values}, {"sha256": _checksum(keys, values)})
        except OSError as error:
            raise UserError(
                f"the feature cache {self.folder} cannot be written to: {error}",
                hint="Set data.cache_dir, or the environment variable HIERFIT_CACHE, to a folder with room.",
            ) from error


def digest(*parts: str) -> bytes:
    """16-byte hash of texts; different lists of texts have different hashes."""
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(joined.encode()).digest()[:_DIGEST_BYTES]


def cache_root(chosen: str | None) -> Path:
    """Where caches lie: as chosen, else ``$HIERFIT_CACHE``, else ``~/.cache/hierfit``."""
    return Path(chosen or os.environ.get("HIERFIT_CACHE") or "~/.cache/hierfit").expanduser()


def cache_of(card: str, chosen: str | None, *what: str) -> VectorCache:
    """Where the vectors of a data card are kept: ``what`` they are, and of which towers."""
    return VectorCache(cache_root(chosen) / card / digest(VERSION, *what).hex())


def _read_shard(path: Path) -> tuple[list[bytes], Tensor]:
    """Digests and vectors; raises `SafetensorError`, `OSError` or `ValueError` where it is damaged."""
    tensors, facts = read_tensors(path, "digests", "vectors")
    keys, values = tensors["digests"], tensors["vectors"]
    if (keys.dtype, values.dtype, values.ndim) != (torch.uint8, torch.float32, 2):
        raise ValueError("other types")
    if keys.shape != (len(values), _DIGEST_BYTES) or facts.get("sha256") != _checksum(keys, values):
        raise ValueError("another checksum")
    return [key.tobytes() for key in keys.numpy()], values


def _checksum(keys: Tensor, values: Tensor) -> str:
    return hashlib.sha256(keys.numpy().tobytes() + values.numpy().tobytes()).hexdigest()


def encode(
    keys: Sequence[str],
    images: Images,
    transform: Callable[[Image.Image], Tensor],
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
        transform: Picture to tensor ``[3, S, S]``; runs in the workers.
        tower: ``[32, 3, S, S]`` to features ``[32, d]``.
        num_workers: Processes that decode pictures; 0 decodes in this one.

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
    from hierfit.data.decode import through_tower  # here: most runs find all their features
    from hierfit.data.progress import with_progress

    todo = missing.tolist()
    batches = through_tower([keys[row] for row in todo], images.load, transform, tower, num_workers, device, True)
    problems: list[str] = []
    waiting: list[Tensor] = []
    done = 0
    for batch, found in with_progress(batches, len(todo), title, lambda made: made[0].size):
        problems += batch.problems.values()
        if problems:
            continue
        waiting.append(found.cpu().float())
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


def check_pictures(keys: Sequence[str], images: Images, cache: VectorCache, num_workers: int = 0) -> None:
    """Decode every picture once, so that a bad one stops a run at its start and not in its third hour.

    What is sound is remembered in `cache` (as vectors of no length), and not decoded again while it is unchanged.
    Raises `UserError` as `encode` does.
    """
    encode(keys, images, _no_pixels, torch.nn.Identity(), cache, num_workers, title="checking pictures")


def _no_pixels(image: Image.Image) -> Tensor:
    return torch.empty(0)


def encoded(
    splits: Mapping[str, Split], images: Images, towers: Backbone, card: str, cache_dir: str | None, num_workers: int
) -> dict[str, Split]:
    """A card's splits with their features, in one go: one progress bar, one list of pictures that cannot be used."""
    cache = cache_of(card, cache_dir, "images", towers.fingerprint)
    everything = [key for split in splits.values() for key in split.keys]
    features = encode(everything, images, towers.preprocess, towers.encode_image, cache, num_workers, towers.device)
    parts = features.split([len(split) for split in splits.values()])
    return {name: replace(split, features=part) for (name, split), part in zip(splits.items(), parts, strict=True)}


def node_features(backbone: Backbone, texts: Sequence[Sequence[str]], card: str, cache_dir: str | None) -> Tensor:
    """Text features of all nodes ``[N, d]`` of a card from their prompts, through the cache, on the CPU."""
    cache = cache_of(card, cache_dir, "text", backbone.fingerprint)
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
