"""Vectors kept on disk under the hash of what they were computed from."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hierfit.errors import UserError
from hierfit.tensors import write_tensors

VERSION = "1"
"""Raise it when the decoding of pictures or this format changes: older entries are then computed anew."""

_DIGEST_BYTES = 16


class VectorCache:
    """An append-only folder of shards, each a safetensors file of vectors and the digests they belong to.

    Everything follows from one rule: *a shard is written once, whole, under the hash of its digests*. A
    killed run leaves whole shards, and the next computes only what is missing; two processes at work on the
    same samples write the same files; a vector is found by its sample, so every draw and split shares it.
    Labels are not stored, so a mended taxonomy needs nothing encoded again. A shard whose checksum is wrong
    is removed with a warning, and its samples count as missing.

    Args:
        folder: One folder for everything that the digests do not cover: the weights and preprocessing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, digests: Sequence[bytes]) -> tuple[Tensor, Tensor]:
        """Look vectors up.

        Args:
            digests: n digests, see `digest`.

        Returns:
            The vectors ``[n, d]`` (rows not found are zero; d is 0 when nothing is found), and the
            ascending rows not found ``[m]``. Reads the whole folder: O(vectors stored).
        """
        row_of = {key: row for row, key in enumerate(digests)}
        vectors, missing = torch.zeros(len(digests), 0), torch.ones(len(digests), dtype=torch.bool)
        for path in sorted(self.folder.glob("*.safetensors")):
            shard = _load(path)
            if shard is None or shard[1].shape[1] != (vectors.shape[1] or shard[1].shape[1]):
                warnings.warn(f"{path} is damaged; its features are computed again", stacklevel=2)
                path.unlink(missing_ok=True)
                continue
            keys, values = shard
            hits = [(i, row) for i, key in enumerate(keys) if (row := row_of.get(key)) is not None]
            if not hits:
                continue
            if not vectors.shape[1]:
                vectors = torch.zeros(len(digests), values.shape[1])
            here, there = torch.tensor(hits).T
            vectors[there] = values[here]
            missing[there] = False
        return vectors, missing.nonzero().squeeze(1)

    def add(self, digests: Sequence[bytes], vectors: Tensor) -> None:
        """Store ``vectors [m, d]`` (float32) as one shard.

        Raises:
            UserError: The folder cannot be written to.
        """
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


def _load(path: Path) -> tuple[list[bytes], Tensor] | None:
    try:
        with safe_open(path, framework="pt") as file:
            keys, values = file.get_tensor("digests"), file.get_tensor("vectors")
            told = (file.metadata() or {}).get("sha256")
    except FileNotFoundError:  # another process has just removed it
        return [], torch.zeros(0, 0)
    except (SafetensorError, OSError):
        return None
    if (keys.dtype, values.dtype) != (torch.uint8, torch.float32) or values.ndim != 2:
        return None
    if keys.shape != (len(values), _DIGEST_BYTES) or told != _checksum(keys, values):
        return None
    raw = keys.numpy().tobytes()
    return [raw[i : i + _DIGEST_BYTES] for i in range(0, len(raw), _DIGEST_BYTES)], values


def _checksum(keys: Tensor, values: Tensor) -> str:
    return hashlib.sha256(keys.numpy().tobytes() + values.numpy().tobytes()).hexdigest()
