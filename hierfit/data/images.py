"""Pictures on disk: whatever a camera or a web crawl left behind, turned into RGB, or refused by name."""

from __future__ import annotations

import os
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from io import BytesIO
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from hierfit.errors import UserError, reading
from hierfit.taxonomy.checks import counted

try:
    from pillow_heif import register_heif_opener
except ImportError:
    _HEIF = False
else:
    register_heif_opener()
    _HEIF = True

EXTENSIONS = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".jfif", ".avif"))
if _HEIF:
    EXTENSIONS |= {".heic", ".heif"}
UNREAD = {
    *(".heic", ".heif", ".hif", ".jp2", ".j2k", ".jpx", ".jxl", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw"),
    *(".orf", ".rw2", ".raf", ".psd", ".tga", ".svg", ".eps", ".pdf", ".ico", ".exr", ".hdr", ".dds", ".dcm"),
    *(".mp4", ".mov", ".avi", ".mkv"),
} - EXTENSIONS
"""Endings of pictures, and of what may hold some, that are not read."""

_FORMATS = ["JPEG", "PNG", "BMP", "GIF", "PPM", "WEBP", "TIFF", *(["HEIF"] if _HEIF else [])]
if "avif" in features.modules and features.check("avif"):
    _FORMATS.append("AVIF")
"""What is opened, whatever a file is called; of Pillow's other kinds one starts a program (PostScript)."""

_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_PIXELS = 120_000_000
"""More is refused: a picture in memory takes up to 8 bytes a pixel, and any number of them fit into a small file."""


class Stored:
    """Pictures of which the bytes are kept somewhere."""

    def read(self, key: str) -> bytes:
        """What is stored of the picture; raises `UserError` naming it."""
        raise NotImplementedError

    def load(self, key: str) -> Image.Image:
        """The picture in RGB, upright; raises `UserError` naming it."""
        return decode(BytesIO(self.read(key)), key)


class Files(Stored):
    """The pictures below one folder; a key is a path relative to it, with ``/``. For ``least`` see `open_image`."""

    def __init__(self, root: Path, least: int | None = None) -> None:
        self.root, self.least = root.resolve(), least

    def load(self, key: str) -> Image.Image:
        """The picture in RGB, upright; raises `UserError` naming the file."""
        return open_image(self.root / key, self.least)

    def read(self, key: str) -> bytes:
        """What is stored of the picture; raises `UserError` naming the file."""
        with reading(path := self.root / key):
            return path.read_bytes()

    def leading_out(self, keys: Iterable[str]) -> list[str]:
        """Those of the pictures that lie elsewhere, and the root only links to. Each folder is looked up once."""
        inside: dict[str, bool] = {}
        found = []
        for key in keys:
            folder, _, name = key.rpartition("/")
            if folder not in inside:
                inside[folder] = (self.root / folder).resolve().is_relative_to(self.root)
            path = self.root / folder / name
            if not inside[folder] or (path.is_symlink() and not path.resolve().is_relative_to(self.root)):
                found.append(key)
        return found

    def stamp(self, key: str) -> str:
        """Path, size and modification time: reading every byte would cost more than it is worth."""
        path = self.root / key
        facts = path.stat()
        return f"{path}:{facts.st_size}:{facts.st_mtime_ns}"


def open_image(path: Path, least: int | None = None) -> Image.Image:
    """Decode a picture.

    Args:
        path: Any file Pillow reads; the first frame counts.
        least: Decode a JPEG at a half, a quarter or an eighth of its size where both sides keep this many pixels:
            three times as fast for a camera's pictures.

    Returns:
        8-bit RGB, turned upright by its EXIF orientation. Transparency lies on white; 16-bit grey is scaled by the
        largest value that the file names, or that the fewest of 8, 10, 12, 14 or 16 bits hold which its values need;
        CMYK and palettes are converted.

    Raises:
        UserError: Names the file and says why it cannot be used: unreadable, truncated, too large, or of a
            kind that has no one conversion to RGB (32-bit, Lab).
    """
    return decode(path, str(path), least)


def decode(source: Path | BinaryIO, name: str, least: int | None = None) -> Image.Image:
    """Decode a picture from a path or a stream; `name` is what errors call it. See `open_image`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large size and odd metadata; what matters is raised
            with Image.open(source, formats=_FORMATS) as image:
                if least is not None:
                    image.draft(None, (least, least))
                if image.width * image.height > _MOST_PIXELS:
                    raise UserError(f"too large: {image.width} × {image.height} pixels")
                if image.format == "PNG" and image.fp is not None:
                    _check_sums(image.fp)
                image.load()
                with suppress(Exception):  # damaged EXIF next to sound pixels: as good as one without EXIF
                    ImageOps.exif_transpose(image, in_place=True)
                return to_rgb(image)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    except FileNotFoundError as error:
        raise UserError(f"{name}: no such file") from error
    except UnidentifiedImageError as error:
        raise UserError(f"{name}: {_what_else(source)}") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{name}: too large: {error}") from error
    except Exception as error:  # Pillow's plug-ins raise nearly anything on damaged files
        raise UserError(f"{name}: damaged: {str(error) or type(error).__name__}") from error


def _what_else(source: Path | BinaryIO) -> str:
    """What a file is that is no picture: what clones and downloads leave in place of one."""
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
        file.seek(0)
        head = file.read(64)
    if head.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the picture: run `git lfs pull` where it lies"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "a web page, not a picture: the download has failed"
    return "not a picture, or of an unknown format" if head else "an empty file"


def pictures_below(folder: Path) -> Iterator[Path]:
    """All pictures by their suffix, in the order of their paths, one folder's names at a time; hidden ones are not
    seen, nor those behind a link to a folder that it lies in itself."""

    def is_within(where: str, path: str) -> bool:
        return os.path.islink(path) and Path(os.path.realpath(where)).is_relative_to(os.path.realpath(path))

    for where, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(n for n in folders if n[0] != "." and not is_within(where, os.path.join(where, n)))
        yield from (Path(where, name) for name in sorted(files) if is_picture(name))


def is_picture(name: str) -> bool:
    """Whether a file of this name is taken for a picture."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS and not name.startswith(".")


def passed_over(folder: Path) -> dict[str, int]:
    """Files below a folder that are pictures, or may hold some, but are not read: how many of each ending.

    Files without an ending count where their first bytes are those of a picture.
    """
    found: Counter[str] = Counter()
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (name for name in files if not name.startswith(".")):
            suffix = os.path.splitext(name)[1].lower()
            if suffix in UNREAD:
                found[suffix] += 1
            elif not suffix and _starts_as_picture(Path(where, name)):
                found["without an ending"] += 1
    return dict(found.most_common())


def passed_over_text(found: Mapping[str, int]) -> str:
    """What is passed over, and what to do: ``11 files are passed over: .heic 11 (…)``."""
    kinds = ", ".join(f"{kind} {count}" for kind, count in found.items())
    ways = []
    if found.keys() & {".heic", ".heif"}:
        ways.append('pip install "hierfit[heic]" reads HEIC')
    ways.append("convert them to JPEG or PNG" if found.keys() - {"without an ending"} else "give them one: .jpg, .png")
    files = counted(sum(found.values()), "file is", "files are")
    return f"{files} passed over: {kinds} ({'; or '.join(ways)})"


def _starts_as_picture(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return head.startswith((b"\xff\xd8\xff", _PNG, b"GIF8", b"II*\0", b"MM\0*")) or head[8:12] == b"WEBP"


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of a decoded picture; raises `UserError` for a mode without one conversion."""
    if image.mode.startswith("I"):  # "I;16" and its byte orders; Pillow gives 16-bit files as "I" too
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise UserError("32-bit grey values have no one scale; store it with 8 or 16 bits")
        top = _largest_value(image, int(values.max()))
        return Image.fromarray((values.astype(np.int64) * 255 // top).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return _on_white(image)
    if image.mode in ("RGB", "L", "1", "P", "CMYK", "YCbCr", "HSV"):
        return image if image.mode == "RGB" else image.convert("RGB")
    raise UserError(f"pictures of kind {image.mode} have no one conversion to RGB; store it as RGB")


def _largest_value(image: Image.Image, largest: int) -> int:
    """What white is in a picture of more than 8 bits: 4095 where a camera's 12 bits lie in 16."""
    for tag in (281, 341):  # TIFF's MaxSampleValue and SMaxSampleValue
        stated = getattr(image, "tag_v2", {}).get(tag)
        stated = stated[0] if isinstance(stated, tuple) and stated else stated
        if isinstance(stated, int | float) and largest <= stated <= 65535 and stated > 0:
            return int(stated)
    # Bits that cameras, microscopes and scanners put into 16.
    return next(top for bits in (8, 10, 12, 14, 16) if (top := (1 << bits) - 1) >= largest)


def _on_white(image: Image.Image) -> Image.Image:
    """Strip by strip: in one piece it would be in memory five times."""
    flat = Image.new("RGB", image.size)
    for top in range(0, image.height, 512):
        strip = image.crop((0, top, image.width, min(top + 512, image.height))).convert("RGBA")
        flat.paste(Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip).convert("RGB"), (0, top))
    return flat


def _check_sums(file: IO[bytes]) -> None:
    """Refuses a PNG whose pixels are not those that were stored; Pillow does not look at their check sums."""
    place = file.tell()
    file.seek(len(_PNG))
    while len(head := file.read(8)) == 8:
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind not in (b"IHDR", b"PLTE", b"IDAT"):
            if kind == b"IEND":
                break
            file.seek(size + 4, os.SEEK_CUR)
            continue
        content, told = file.read(size), file.read(4)
        if len(told) == 4 and zlib.crc32(content, zlib.crc32(kind)) != int.from_bytes(told, "big"):
            raise UserError(f"damaged: a check sum is wrong ({kind.decode()})")
    file.seek(place)
