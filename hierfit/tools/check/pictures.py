"""Every picture decoded once, by all cores, and what is kept of it: a third of a kilobyte."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from io import BytesIO
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hierfit.data.images import decode
from hierfit.data.progress import with_progress
from hierfit.data.table import Images
from hierfit.errors import UserError

BATCH = 32
SIDE = 16
"""Side of the thumbnails, pixels."""

_GRID = 9  # of the perceptual hash: 8 × 8 differences each way
_FEW = 2 * BATCH  # not worth the start of processes
_ORIENTATION = 0x0112
_BLANK = 1.0  # grey levels


@runtime_checkable
class Stored(Protocol):
    """Pictures that have bytes."""

    def read(self, key: str) -> bytes:
        """What is stored; raises `UserError` naming the picture."""


@dataclass(frozen=True)
class Pictures:
    """What was seen of n pictures.

    Attributes:
        faults: Why a picture cannot be used, by row.
        sizes: Width and height as stored ``[n, 2]``; 0 where unreadable.
        kinds: Format, mode, and what is odd about it: ``JPEG RGB, turned by EXIF`` ``[n]``.
        content: Hash of the stored bytes ``[n]``, or of the pixels where nothing is stored.
        hashes: Perceptual hash, 128 bits as eight numbers ``[n, 8]`` uint16; see `perceptual_hash`.
        thumbs: Grey thumbnails ``[n, 16, 16]`` uint8.
        usable: Readable, and not of one grey only, which all look alike ``[n]`` bool.
    """

    faults: dict[int, str]
    sizes: NDArray[np.int32]
    kinds: NDArray[np.str_]
    content: NDArray[np.void]
    hashes: NDArray[np.uint16]
    thumbs: NDArray[np.uint8]
    usable: NDArray[np.bool_]


class _Seen(NamedTuple):
    size: tuple[int, int]
    kind: str
    content: bytes
    thumb: NDArray[np.uint8]
    hash: NDArray[np.uint16]


def look(images: Images, keys: Sequence[str], workers: int) -> Pictures:
    """Decode n pictures.

    Args:
        images: Where they come from.
        keys: Their names.
        workers: Processes; 1 or few pictures stay in this one.

    Raises:
        UserError: A process was killed, as happens when memory runs out.
    """
    n = len(keys)
    sizes, content = np.zeros((n, 2), np.int32), np.zeros((n, 16), np.uint8)
    hashes, thumbs = np.zeros((n, 8), np.uint16), np.zeros((n, SIDE, SIDE), np.uint8)
    kinds: list[str] = []
    faults: dict[int, str] = {}
    batches = [keys[i : i + BATCH] for i in range(0, n, BATCH)]
    for batch in with_progress(_looked(images, batches, workers), n, "looking at pictures", len):
        for seen in batch:
            row = len(kinds)
            if isinstance(seen, str):
                faults[row] = seen
                kinds.append("")
                continue
            kinds.append(seen.kind)
            sizes[row], hashes[row], thumbs[row] = seen.size, seen.hash, seen.thumb
            content[row] = np.frombuffer(seen.content, np.uint8)
    readable = np.ones(n, bool)
    readable[list(faults)] = False
    # The lowest and highest grey, not a deviation: a small thing on a plain ground is a picture.
    varied = np.ptp(thumbs.reshape(n, -1), axis=1) > _BLANK if n else np.zeros(0, bool)
    whole = np.ascontiguousarray(content).view("V16").reshape(n)
    return Pictures(faults, sizes, np.array(kinds, dtype=np.str_), whole, hashes, thumbs, readable & varied)


def perceptual_hash(image: Image.Image) -> NDArray[np.uint16]:
    """128 bits that hardly change when a picture is stored again, smaller or lighter: ``[8]`` uint16.

    Whether each of 8 × 8 cells is lighter than its left neighbour, and than its upper one (dHash, N. Krawetz,
    2013, both ways).
    """
    cells = np.asarray(image.convert("L").resize((_GRID, _GRID), Image.Resampling.BOX), dtype=np.int16)
    bits = np.concatenate([np.diff(cells, axis=1)[:-1].ravel() > 0, np.diff(cells, axis=0)[:, :-1].ravel() > 0])
    packed: NDArray[np.uint16] = np.packbits(bits).view(np.uint16)
    return packed


_images: Images  # of a worker process


def _looked(images: Images, batches: list[Sequence[str]], workers: int) -> Iterator[list[_Seen | str]]:
    _start(images)
    if workers <= 1 or sum(map(len, batches)) <= _FEW:
        yield from map(_look_at, batches)
        return
    with ProcessPoolExecutor(workers, initializer=_start, initargs=(images,)) as pool:
        try:
            yield from pool.map(_look_at, batches)
        except BrokenProcessPool as error:
            raise UserError(
                "a process that decodes pictures was killed, probably for want of memory",
                hint="Use fewer processes: --workers 1. It then stops at the picture that is too large.",
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _start(images: Images) -> None:
    global _images
    _images = images


def _look_at(keys: Sequence[str]) -> list[_Seen | str]:
    return [_seen(key) for key in keys]


def _seen(key: str) -> _Seen | str:
    try:
        if isinstance(_images, Stored):
            data = _images.read(key)
            content = hashlib.blake2b(data, digest_size=16).digest()
            # A JPEG is decoded coarsely, which reads the whole of it all the same.
            image = decode(BytesIO(data), key, 4 * SIDE)
            size, kind = _facts(data, key)
        else:
            image = _images.load(key)
            content = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
            size, kind = image.size, f"drawn {image.mode}"
    except UserError as error:
        return str(error)
    thumb = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))
    return _Seen(size, kind, content, thumb, perceptual_hash(image))


def _facts(data: bytes, key: str) -> tuple[tuple[int, int], str]:
    """Size and kind, from the header of a picture that was decoded already."""
    with Image.open(BytesIO(data)) as image:
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
