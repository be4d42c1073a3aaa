"""What a stranger could put into pictures, and into tar shards of them; for the fuzzers."""

from __future__ import annotations

import io
import random
import struct
import tarfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from hostile import DEEP, MARK, PATHS, damaged
from PIL import Image, ImageCms

KINDS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "webp": "WEBP", "bmp": "BMP", "tif": "TIFF", "ppm": "PPM"}
"""Pillow's names, by ending."""

Made = tuple[str, bytes, "np.ndarray | None"]
"""A file name, what it holds, and the pixels that a reader must see, where there is no doubt about them."""


def picture(seed: object, side: int = 24) -> Image.Image:
    """Smooth colours."""
    cells = np.frombuffer(random.Random(str(seed)).randbytes(48), np.uint8).reshape(4, 4, 3)
    return Image.fromarray(cells).resize((side, side), Image.Resampling.BICUBIC)


def stored(image: Image.Image, ending: str = "png", **options: Any) -> bytes:
    """A picture's file."""
    buffer = io.BytesIO()
    image.save(buffer, KINDS[ending], **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *before: bytes) -> bytes:
    """A PNG of compressed rows; `before` are further chunks."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(before) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _zeros(size: int) -> bytes:
    """`size` zeros, compressed at once: a flushed block can be repeated, and the check sum of zeros is their number."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    rest = packer.compress(bytes(size & 0xFFFFF)) + packer.flush()
    return b"\x78\xda" + block * (size >> 20) + rest + (size % 65521 << 16 | 1).to_bytes(4, "big")


def odd_picture(rng: random.Random) -> tuple[str, Made]:
    """Sound, of a usual or an odd kind."""
    image, ending = picture(rng.randrange(1000), rng.choice([1, 7, 24])), rng.choice(list(KINDS))
    exact = np.asarray(image)
    white, grey = np.full_like(exact, 255), np.asarray(image.convert("L"))
    frames = [frame.quantize(8) for frame in (image, *(picture(n, image.width) for n in range(2)))]
    colours = np.array(frames[0].getpalette(), np.uint8).reshape(-1, 3)[np.asarray(frames[0])]
    kind = rng.choice(["plain", "plain", "plain", "wrong ending", "no picture", "16 bit", "32 bit", "palette",
                       "transparent", "CMYK", "Lab", "animated GIF", "turned"])  # fmt: skip
    match kind:
        case "plain":
            return ending, (f"x.{ending}", stored(image, ending), None if ending in ("jpg", "gif", "webp") else exact)
        case "wrong ending":
            return kind, (f"x.{ending}", stored(image), exact)
        case "no picture":
            heads = [b"", b"\0" * 100, b"hello", b"<svg/>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"]
            return kind, (f"x.{ending}", rng.choice(heads), None)
        case "16 bit":
            deep = Image.fromarray(grey.astype(np.uint16) * 257)
            return kind, ("x.png", stored(deep), np.repeat(grey[..., None], 3, axis=2))
        case "32 bit":
            return kind, ("x.tif", stored(Image.fromarray(np.full((4, 4), 1 << 20, np.int32)), "tif"), None)
        case "palette":
            return kind, ("x.png", stored(frames[0]), colours)
        case "animated GIF":
            return kind, ("x.gif", stored(frames[0], "gif", save_all=True, append_images=frames[1:]), colours)
        case "transparent":
            return kind, ("x.png", stored(Image.fromarray(np.dstack([exact, white[..., 0] * 0]), "RGBA")), white)
        case "CMYK":
            return kind, ("x.jpg", stored(image.convert("CMYK"), "jpg"), None)
        case "Lab":
            rgb, lab = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
            return kind, ("x.tif", stored(ImageCms.profileToProfile(image, rgb, lab, outputMode="LAB"), "tif"), None)
    exif = Image.Exif()
    exif[0x0112], turns = rng.choice([(3, 2), (6, 3), (8, 1)])
    return kind, ("x.png", stored(image, exif=exif), np.rot90(exact, turns))


def bad_picture(rng: random.Random) -> tuple[str, Made]:
    """An odd kind, a bomb, one that runs programs, or damage."""
    kind = rng.choice(["odd", "odd", "odd", "odd", "PNG bomb", "PNG text bomb", "PNG header", "TIFF tags", "GIF screen",
                       "PostScript", "other kind", "damage", "damage", "damage", "damage"])  # fmt: skip
    raw = b""
    match kind:
        case "odd":
            return odd_picture(rng)
        case "PNG bomb":  # sides below, around and above Pillow's limit, in kinds of 1 to 8 bytes a pixel
            side = rng.choice([4000, 9000, 13000, 14000, 30000, 60_000, 2**31 - 1])
            kinds = [(8, 0, 1), (8, 2, 3), (8, 6, 4), (16, 0, 2), (16, 2, 6), (16, 6, 8), (1, 0, 1)]
            depth, colour, width = rng.choice(kinds)
            rows = side * (1 + side * width) if rng.random() < 0.25 and side < 14000 else 1000
            raw = png(side, side, depth, colour, _zeros(rows))
        case "PNG text bomb":
            name = rng.choice([b"zTXt", b"iTXt", b"iCCP"])
            text = chunk(name, (b"a\0\1\0\0\0" if name == b"iTXt" else b"a\0\0") + _zeros(1 << 28))
            raw = png(1, 1, 8, 0, zlib.compress(b"\0\0"), *[text] * rng.choice([1, 9]))
        case "PNG header":
            width, height = (rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 65535]) for _ in range(2))
            raw = png(width, height, rng.choice([1, 8, 16, 99]), rng.choice([0, 2, 3, 4, 6, 9]), b"x")
        case "TIFF tags":
            tags = bytearray(stored(picture(rng.random()), "tif"))
            at = int.from_bytes(tags[4:8], "little") + 2 + 12 * rng.randrange(8)
            tag = rng.choice([0, 1, 2**32 - 1, 2**28]), rng.choice([0, 8, 2**31, 40])
            tags[at + 4 : at + 12] = struct.pack("<II", *tag)
            raw = bytes(tags)
        case "GIF screen":
            raw = stored(picture(rng.random()), "gif")
            raw = raw[:6] + struct.pack("<HH", rng.choice([0, 65535]), rng.choice([0, 1, 65535])) + raw[10:]
        case "PostScript":
            program = f"(%pipe%touch {MARK}) (w) file closefile showpage"
            raw = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{program}\n%%EOF\n".encode()
        case "other kind":
            heads = [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"\xd7\xcd\xc6\x9a", b"8BPS\0\1", b"SIMPLE  =", b"%PDF-1.7",
                     b"\0\0\0\x0cjP  \r\n\x87\n", b"\x89HDF\r\n\x1a\n", b"GRIB", b"BUFR", b"<svg/>"]  # fmt: skip
            raw = rng.choice(heads) + rng.randbytes(600)
        case "damage":
            of, (name, raw, _) = odd_picture(rng)
            how, raw = damaged(raw, rng)
            return f"{of}, {how}", (name, raw, None)
    return kind, ("x.png", raw, None)


PAX = [{"size": "99999999999"}, {"size": "-1"}, {"size": "x"}, {"path": MARK}, {"mtime": "nan"}, {"path": "a\0b.png"},
       {"GNU.sparse.size": "99999999999"}, {"hdrcharset": "BINARY"},
       {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9999999999"},
       {"GNU.sparse.map": "0,9999999999", "GNU.sparse.size": "9999999999"},
       {"GNU.sparse.map": "0,1,2", "GNU.sparse.size": "1"}, {"comment": "x" * 10**6}, {"uid": "1e99"},
       {"linkpath": "/etc"}]  # fmt: skip
LABELS = [DEEP.encode(), b"", b"/", b"\xff", b"a\0b", b"..", b"../..", b'{"label": null}', b'{"label": [[1]]}', b"[]",
          b"9" * 5000, b"a/" * 5000, b'{"path": {}}', b"null", b"a" * 10**6]  # fmt: skip
DEVICES = [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, b"S", b"V", b"Z"]


def bad_tar(_: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A shard with a hostile member, or damage, among sound ones."""
    buffer, sound = io.BytesIO(), stored(picture(rng.random()))
    kind = rng.choice(["path", "link", "hard link", "device", "member twice", "sparse", "PAX", "size", "label",
                       "picture", "folder", "compressed", "damage", "damage"])  # fmt: skip
    with tarfile.open(fileobj=buffer, mode="w", format=rng.choice([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])) as tar:

        def add(name: str, content: bytes = b"", **facts: Any) -> None:
            member = tarfile.TarInfo(name)
            for key, value in {"size": len(content), **facts}.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(content) if content else None)

        add("0.png", sound)
        add("0.txt", b"a/b")
        match kind:
            case "path":
                name = rng.choice([p for p in PATHS if p and "\0" not in p])
                add(f"{name}.png", sound)
                add(f"{name}.cls", b"1")
            case "link":
                add("l", type=tarfile.SYMTYPE, linkname=rng.choice(["..", "/", "../secrets", "l"]))
                add("l/MARK.png", sound)
                add("x.png", type=tarfile.SYMTYPE, linkname=PATHS[0])
            case "hard link":
                add("x.png", type=tarfile.LNKTYPE, linkname=rng.choice([PATHS[0], "/etc/passwd", "x.png"]))
                add("x.txt", b"a")
            case "device":
                add("x.png", type=rng.choice(DEVICES), devmajor=1, devminor=5)
            case "member twice":
                for name in ("0.png", "0.txt", "0.jpg", "1.png", "0.png"):
                    add(name, sound if "txt" not in name else b"c")
            case "PAX":
                add("x.png", sound, pax_headers=rng.choice(PAX))
            case "label":
                add("x.png", sound)
                add(f"x.{rng.choice(['json', 'txt', 'cls'])}", rng.choice(LABELS))
            case "picture":
                kind, (name, content, _pixels) = bad_picture(rng)
                add(name, content)
            case "folder":
                add("x.png", type=tarfile.DIRTYPE)
                add("." * rng.choice([1, 2, 3]) + ".png", sound)
        if kind != "device":
            add("9.png", sound)
            add("9.txt", b"a/b")
    raw = buffer.getvalue()
    match kind:
        case "sparse":  # next to no bytes, and a size of gigabytes
            size = rng.choice([1 << 31, 1 << 33, 1 << 40])
            fields = {124: _octal(512), 156: tarfile.GNUTYPE_SPARSE, 386: _octal(size - 512), 398: _octal(512)}
            empty = tarfile.TarInfo("x.png").tobuf(tarfile.GNU_FORMAT)
            raw = _with_fields(empty, fields | {483: _octal(size)}) + bytes(512) + raw
        case "size":
            sizes = [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"77777777777\0", b"-0000000001\0", b"x" * 12, bytes(12),
                     b"\x80" + (1 << 62).to_bytes(11, "big")]  # fmt: skip
            raw = _with_fields(raw[:512], {124: rng.choice(sizes)}) + raw[512:]
        case "compressed":
            packer = zlib.compressobj(9, zlib.DEFLATED, 31)
            raw = packer.compress(raw) + packer.flush()
        case "damage":
            return damaged(raw, rng)
    return kind, raw


def _octal(size: int) -> bytes:
    return b"%011o\0" % size if size < 1 << 33 else b"\x80" + size.to_bytes(11, "big")


def _with_fields(head: bytes, fields: Mapping[int, bytes]) -> bytes:
    """The header of a member with other fields, and its check sum."""
    made = bytearray(head)
    for at, field in {**fields, 148: b" " * 8}.items():
        made[at : at + len(field)] = field
    made[148:156] = b"%06o\0 " % sum(made)
    return bytes(made)
