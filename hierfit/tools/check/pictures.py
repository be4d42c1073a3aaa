"""Every picture decoded once, by all cores, and what is kept of it: a third of a kilobyte."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hierfit.data.decode import made_of
from hierfit.data.images import Stored, decode
from hierfit.data.progress import with_progress
from hierfit.data.samples import Images
from hierfit.errors import UserError
from hierfit.streams import as_text

SIDE = 16
"""Side of the thumbnails, pixels."""

_GRID = 9  # of the perceptual hash: 8 × 8 differences each way
_FACTS = np.dtype([("size", "i4", 2), ("content", "V16"), ("hash", "u2", 8), ("thumb", "u1", (SIDE, SIDE))])
_ORIENTATION = 0x0112
_BLANK = 1.0  # grey levels


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
        return self.readable & (np.ptp(self.facts["thumb"].reshape(len(self.facts), SIDE * SIDE), axis=1) > _BLANK)

    def of(self, keys: Sequence[str]) -> Pictures:
        """Some of them, in this order."""
        place = {key: row for row, key in enumerate(self.keys)}
        rows = np.array([place[key] for key in keys], dtype=np.int64)
        faults = {key: self.faults[key] for key in keys if key in self.faults}
        return Pictures(keys, self.kinds[rows], faults, self.facts[rows])


def look(images: Images, keys: Sequence[str], workers: int) -> Pictures:
    """Decodes n pictures by so many processes; one is this one.

    Raises:
        UserError: A process was killed, as happens when memory runs out.
    """
    chunks = made_of(keys, partial(_seen, images), workers if workers > 1 else 0)
    seen = [each for chunk in with_progress(chunks, len(keys), "looking at pictures", len) for each in chunk]
    faults = {key: as_text(str(each)) for key, each in zip(keys, seen, strict=True) if isinstance(each, UserError)}
    kinds = np.array(["" if isinstance(each, UserError) else each[0] for each in seen], dtype=np.str_)
    facts = b"".join(bytes(_FACTS.itemsize) if isinstance(each, UserError) else each[1] for each in seen)
    return Pictures(keys, kinds, faults, np.frombuffer(facts, _FACTS))


def _seen(images: Images, key: str) -> tuple[str, bytes]:
    """Kind and facts of a picture."""
    if isinstance(images, Stored):
        content = images.read(key)
        # A JPEG is decoded coarsely, which reads the whole of it all the same.
        image = decode(BytesIO(content), key, 4 * SIDE)
        size, kind = _header(content, key)
    else:
        image = images.load(key)
        content, size, kind = image.tobytes(), image.size, f"drawn {image.mode}"
    content_hash = np.void(hashlib.blake2b(content, digest_size=16).digest())
    thumb = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))
    return kind, np.array((size, content_hash, perceptual_hash(image), thumb), _FACTS).tobytes()


def _header(content: bytes, key: str) -> tuple[tuple[int, int], str]:
    """Size and kind, from the header of a picture that was decoded already."""
    with Image.open(BytesIO(content)) as image:
        odd = ["first frame of several"] if getattr(image, "is_animated", False) else []
        try:
            turned = image.getexif().get(_ORIENTATION, 1) != 1
        except Exception:  # damaged EXIF next to sound pixels
            turned = False
        odd += ["turned by EXIF"] if turned else []
        suffix = f".{key.rpartition('.')[2].lower()}"
        meant = Image.registered_extensions().get(suffix)
        if meant is not None and image.format not in (meant, "MPO"):
            odd.append(f"named {suffix}")
        return image.size, ", ".join([f"{image.format} {image.mode}", *odd])


def perceptual_hash(image: Image.Image) -> NDArray[np.uint16]:
    """128 bits that hardly change when a picture is stored again, smaller or lighter: ``[8]`` uint16.

    Whether each of 8 × 8 cells is lighter than its left neighbour, and than its upper one (dHash, N. Krawetz,
    2013, both ways).
    """
    cells = np.asarray(image.convert("L").resize((_GRID, _GRID), Image.Resampling.BOX), dtype=np.int16)
    bits = np.concatenate([np.diff(cells, axis=1)[:-1].ravel() > 0, np.diff(cells, axis=0)[:, :-1].ravel() > 0])
    packed: NDArray[np.uint16] = np.packbits(bits).view(np.uint16)
    return packed
