"""What a stranger could put into pictures, and into tar shards of them; for the fuzzers."""

from __future__ import annotations

import io
import random
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from hostile import DEEP, PATHS, damaged
from PIL import Image


def picture(rng: random.Random, kind: str = "PNG", side: int = 16) -> bytes:
    """A sound picture."""
    pixels = np.frombuffer(rng.randbytes(side * side * 3), np.uint8).reshape(side, side, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
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


def bad_picture(mark: Path, rng: random.Random) -> tuple[str, bytes]:
    """A bomb, a kind that runs programs, or damage."""
    kind = rng.choice(["PNG bomb", "PNG text bomb", "PNG header", "TIFF tags", "GIF screen", "PostScript", "other kind",
                       "damage", "damage", "damage"])  # fmt: skip
    match kind:
        case "PNG bomb":  # sides below, around and above Pillow's limit, in kinds of 1 to 8 bytes a pixel
            side = rng.choice([4000, 9000, 13000, 14000, 30000])
            depth, colour, width = rng.choice(
                [(8, 0, 1), (8, 2, 3), (8, 6, 4), (16, 0, 2), (16, 2, 6), (16, 6, 8), (1, 0, 1)]
            )
            rows = _zeros(side * (1 + side * width)) if rng.random() < 0.25 and side < 14000 else _zeros(1000)
            return kind, png(side, side, depth, colour, rows)
        case "PNG text bomb":
            name = rng.choice([b"zTXt", b"iTXt", b"iCCP"])
            packed = b"a\0\1\0\0\0" if name == b"iTXt" else b"a\0\0"
            return kind, png(
                1, 1, 8, 0, zlib.compress(b"\0\0"), *[chunk(name, packed + _zeros(1 << 28))] * rng.choice([1, 9])
            )
        case "PNG header":
            sizes = [rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 65535]) for _ in range(2)]
            return kind, png(sizes[0], sizes[1], rng.choice([1, 8, 16, 99]), rng.choice([0, 2, 3, 4, 6, 9]), b"x")
        case "TIFF tags":
            raw = bytearray(picture(rng, "TIFF"))
            at = int.from_bytes(raw[4:8], "little") + 2 + 12 * rng.randrange(8)
            raw[at + 4 : at + 12] = struct.pack(
                "<II", rng.choice([0, 1, 2**32 - 1, 2**28]), rng.choice([0, 8, 2**31, 40])
            )
            return kind, bytes(raw)
        case "GIF screen":
            raw = bytearray(picture(rng, "GIF"))
            raw[6:10] = struct.pack("<HH", rng.choice([0, 65535]), rng.choice([0, 1, 65535]))
            return kind, bytes(raw)
        case "PostScript":
            program = f"(%pipe%touch {mark}) (w) file closefile showpage"
            return kind, f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{program}\n%%EOF\n".encode()
        case "other kind":
            head = rng.choice([b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"\xd7\xcd\xc6\x9a", b"8BPS\0\1", b"SIMPLE  =",
                               b"%PDF-1.7", b"\0\0\0\x0cjP  \r\n\x87\n", b"\x89HDF\r\n\x1a\n", b"GRIB", b"BUFR",
                               b"<svg/>"])  # fmt: skip
            return kind, head + rng.randbytes(600)
    made = rng.choice(["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
    how, raw = damaged(picture(rng, made), rng)
    return f"{made} {how}", raw


# ---------------------------------------------------------------------- tar shards


def bad_tar(mark: Path, rng: random.Random) -> tuple[str, bytes]:
    """A shard with a hostile member, or damage, among sound ones."""
    buffer = io.BytesIO()
    kind = rng.choice(["path", "link", "hard link", "device", "member twice", "sparse", "PAX", "size", "label",
                       "picture", "folder", "compressed", "damage", "damage"])  # fmt: skip
    with tarfile.open(fileobj=buffer, mode="w", format=rng.choice([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])) as tar:

        def add(name: str, content: bytes = b"", **facts: Any) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for key, value in facts.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(content) if content else None)

        def sound(number: int) -> None:
            add(f"{number}.png", picture(rng))
            add(f"{number}.txt", b"a/b")

        sound(0)
        match kind:
            case "path":
                name = rng.choice([p for p in PATHS if p and "\0" not in p])
                add(f"{name}.png", picture(rng))
                add(f"{name}.cls", b"1")
            case "link":
                add("l", type=tarfile.SYMTYPE, linkname=rng.choice(["..", "/", "../secrets", str(mark.parent), "l"]))
                add("l/MARK.png", picture(rng))
                add("x.png", type=tarfile.SYMTYPE, linkname="../secrets/secret.png")
            case "hard link":
                add(
                    "x.png",
                    type=tarfile.LNKTYPE,
                    linkname=rng.choice(["../secrets/secret.png", "/etc/passwd", "x.png"]),
                )
                add("x.txt", b"a")
            case "device":
                device = rng.choice(
                    [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, b"S", b"V", b"Z"]
                )
                add("x.png", type=device, devmajor=1, devminor=5)
            case "member twice":
                for name in ("0.png", "0.txt", "0.jpg", "1.png", "0.png"):
                    add(name, picture(rng) if "txt" not in name else b"c")
            case "PAX":
                facts = rng.choice([{"size": "99999999999"}, {"size": "-1"}, {"size": "x"}, {"path": "../MARK"},
                                    {"mtime": "nan"}, {"path": "a\0b.png"}, {"GNU.sparse.size": "99999999999"},
                                    {"hdrcharset": "BINARY"}, {"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
                                    "GNU.sparse.realsize": "9999999999"}, {"GNU.sparse.map": "0,9999999999",
                                    "GNU.sparse.size": "9999999999"}, {"GNU.sparse.map": "0,1,2",
                                    "GNU.sparse.size": "1"}, {"comment": "x" * 10**6}, {"uid": "1e99"},
                                    {"linkpath": "/etc"}])  # fmt: skip
                add("x.png", picture(rng), pax_headers=facts)
            case "label":
                suffix = rng.choice(["json", "txt", "cls"])
                add("x.png", picture(rng))
                add(f"x.{suffix}", rng.choice([DEEP.encode(), b"", b"/", b"\xff", b"a\0b", b"..", b"../..",
                                               b'{"label": null}', b'{"label": [[1]]}', b"[]", b"9" * 5000,
                                               b"a/" * 5000, b'{"path": {}}', b"null", b"a" * 10**6]))  # fmt: skip
            case "picture":
                name, content = bad_picture(mark, rng)
                kind = f"picture: {name}"
                add("x.png", content)
            case "folder":
                add("x.png", type=tarfile.DIRTYPE)
                add("." * rng.choice([1, 2, 3]) + ".png", picture(rng))
        if kind != "device":
            sound(9)
    raw = buffer.getvalue()
    match kind:
        case "sparse":
            raw = _sparse(rng) + raw
        case "size":
            raw = _resized(raw, rng)
        case "compressed":
            packer = zlib.compressobj(9, zlib.DEFLATED, 31)
            raw = packer.compress(raw) + packer.flush()
        case "damage":
            how, raw = damaged(raw, rng)
            kind = f"damage: {how}"
    return kind, raw


def _sparse(rng: random.Random) -> bytes:
    """A GNU sparse member: next to no bytes, and a size of gigabytes."""
    size = rng.choice([1 << 31, 1 << 33, 1 << 40])
    head = bytearray(tarfile.TarInfo("x.png").tobuf(tarfile.GNU_FORMAT))
    head[124:136] = b"%011o\0" % 512
    head[156:157] = tarfile.GNUTYPE_SPARSE
    head[386:398] = (b"%011o\0" % (size - 512)) if size < 1 << 33 else b"\x80" + (size - 512).to_bytes(11, "big")
    head[398:410] = b"%011o\0" % 512
    head[483:495] = (b"%011o\0" % size) if size < 1 << 33 else b"\x80" + size.to_bytes(11, "big")
    return _summed(head) + bytes(512)


def _resized(raw: bytes, rng: random.Random) -> bytes:
    """The first member's size: negative, huge, no number."""
    head = bytearray(raw[:512])
    head[124:136] = rng.choice([b"\xff" * 12, b"\x80" + b"\xff" * 11, b"77777777777\0", b"-0000000001\0", b"x" * 12,
                                bytes(12), b"\x80" + (1 << 62).to_bytes(11, "big")])  # fmt: skip
    return _summed(head) + raw[512:]


def _summed(head: bytearray) -> bytes:
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)
