"""Every picture decoded once, by all cores, and what is kept of it: a third of a kilobyte."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from hierfit.data.images import decode
from hierfit.data.progress import with_progress
from hierfit.data.samples import Images
from hierfit.errors import UserError
from hierfit.streams import ALIKE

SIDE = 16
"""Side of the thumbnails, pixels."""

_GRID = 9  # of the perceptual hash: 8 × 8 differences each way
_FACTS = np.dtype([("size", "i4", 2), ("content", "V16"), ("hash", "u2", 8), ("thumb", "u1", (SIDE, SIDE))])
_CHUNK = 32  # pictures that a process takes at once
_FEW = 2 * _CHUNK  # not worth the start of processes
_ORIENTATION = 0x0112
_BLANK = 1.0  # grey levels


@runtime_checkable
class _Stored(Protocol):
    """Pictures that have bytes."""

    def read(self, key: str) -> bytes: ...


@dataclass(frozen=True)
class Pictures:
    """What was seen of n pictures.

    Attributes:
        keys: Their names.
        kinds: Format, mode, and what is odd about it, as ``JPEG RGB, turned by EXIF`` ``[n]``; empty where unreadable.
        faults: Why a picture cannot be used, by key.
        facts: ``[n]`` of: size as stored (width, height); content, a hash of the stored bytes, or of the pixels where
            nothing is stored; hash, see `perceptual_hash`; thumb, grey ``[16, 16]``. Zeros where unreadable.
    """

    keys: Sequence[str]
    kinds: NDArray[np.str_]
    faults: Mapping[str, str]
    facts: NDArray[Any]

    @cached_property
    def readable(self) -> NDArray[np.bool_]:
        """Whether each could be decoded ``[n]``."""
        return np.asarray(self.kinds != "", bool)

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """Readable, and not of one grey only, which all look alike ``[n]``."""
        # The lowest and highest grey, not a deviation: a small thing on a plain ground is a picture.
        spread = np.ptp(self.facts["thumb"].reshape(len(self.facts), SIDE * SIDE), axis=1)
        return self.readable & (spread > _BLANK)

    def of(self, keys: Sequence[str]) -> Pictures:
        """Some of them, in this order."""
        place = {key: row for row, key in enumerate(self.keys)}
        rows = np.array([place[key] for key in keys], dtype=np.int64)
        faults = {key: self.faults[key] for key in keys if key in self.faults}
        return Pictures(keys, self.kinds[rows], faults, self.facts[rows])


def look(images: Images, keys: Sequence[str], workers: int) -> Pictures:
    """Decodes n pictures by so many processes; few pictures stay in this one.

    Raises:
        UserError: A process was killed, as happens when memory runs out.
    """
    loader: DataLoader[Any] = DataLoader(
        _Seen(images, keys),
        batch_size=_CHUNK,
        num_workers=workers if workers > 1 and len(keys) > _FEW else 0,
        collate_fn=list,
    )
    try:
        seen = [each for chunk in with_progress(loader, len(keys), "looking at pictures", len) for each in chunk]
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise UserError(
            "a process that decodes pictures was killed, probably for want of memory",
            hint="Use fewer processes: --workers 1. It then stops at the picture that is too large.",
        ) from error
    kinds = np.array([kind for kind, _ in seen], dtype=np.str_)
    faults = {key: found.decode() for key, (kind, found) in zip(keys, seen, strict=True) if not kind}
    facts = b"".join(found if kind else bytes(_FACTS.itemsize) for kind, found in seen)
    return Pictures(keys, kinds, faults, np.frombuffer(facts, _FACTS))


def perceptual_hash(image: Image.Image) -> NDArray[np.uint16]:
    """128 bits that hardly change when a picture is stored again, smaller or lighter: ``[8]`` uint16.

    Whether each of 8 × 8 cells is lighter than its left neighbour, and than its upper one (dHash, N. Krawetz,
    2013, both ways).
    """
    cells = np.asarray(image.convert("L").resize((_GRID, _GRID), Image.Resampling.BOX), dtype=np.int16)
    bits = np.concatenate([np.diff(cells, axis=1)[:-1].ravel() > 0, np.diff(cells, axis=0)[:, :-1].ravel() > 0])
    packed: NDArray[np.uint16] = np.packbits(bits).view(np.uint16)
    return packed


class _Seen(Dataset[tuple[str, bytes]]):
    """Kind and facts of each picture; no kind and the reason where it cannot be decoded."""

    def __init__(self, images: Images, keys: Sequence[str]) -> None:
        self.images, self.keys = images, keys

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, row: int) -> tuple[str, bytes]:
        key = self.keys[row]
        try:
            if isinstance(self.images, _Stored):
                content = self.images.read(key)
                # A JPEG is decoded coarsely, which reads the whole of it all the same.
                image = decode(BytesIO(content), key, 4 * SIDE)
                size, kind = _header(content, key)
            else:
                image = self.images.load(key)
                content, size, kind = image.tobytes(), image.size, f"drawn {image.mode}"
        except UserError as error:
            return "", str(error).encode(errors=ALIKE)
        content_hash = np.void(hashlib.blake2b(content, digest_size=16).digest())
        thumb = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))
        return kind, np.array((size, content_hash, perceptual_hash(image), thumb), _FACTS).tobytes()


def _header(content: bytes, key: str) -> tuple[tuple[int, int], str]:
    """Size and kind, from the header of a picture that was decoded already."""
    with Image.open(BytesIO(content)) as image:
        odd = []
        if getattr(image, "is_animated", False):
            odd.append("first frame of several")
        try:
            turned = image.getexif().get(_ORIENTATION, 1) != 1
        except Exception:  # damaged EXIF next to sound pixels
            turned = False
        if turned:
            odd.append("turned by EXIF")
        suffix = f".{key.rpartition('.')[2].lower()}"
        meant = Image.registered_extensions().get(suffix)
        if meant is not None and image.format not in (meant, "MPO"):
            odd.append(f"named {suffix}")
        return image.size, ", ".join([f"{image.format} {image.mode}", *odd])
