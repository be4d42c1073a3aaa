"""Pictures as cameras and crawls leave them: turned into RGB, or refused by name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hierfit.data.images import Files, open_image
from hierfit.data.samples import leaves_root
from hierfit.errors import UserError


def pixel(path: Path, at: tuple[int, int] = (0, 0)) -> tuple[int, ...]:
    image = open_image(path)
    assert image.mode == "RGB"
    value = image.getpixel(at)
    assert isinstance(value, tuple)
    return value


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        open_image(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("value", "grey"), [(0, 0), (65535, 255), (257 * 128, 128)])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, value: int, grey: int, suffix: str) -> None:
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(np.full((2, 2), value, dtype=np.uint16)).save(path)
    assert pixel(path) == (grey, grey, grey)


PALETTE = Image.new("P", (2, 2), 1)
PALETTE.putpalette([0, 0, 0, 0, 0, 255])


@pytest.mark.parametrize(
    ("picture", "options", "colour"),
    [
        *((Image.new("L", (2, 2), 255).convert(mode), {}, (255, 255, 255)) for mode in ("1", "L", "P", "RGB")),
        (Image.new("RGBA", (2, 2), (255, 0, 0, 0)), {}, (255, 255, 255)),  # transparency lies on white
        (Image.new("LA", (2, 2), (0, 0)), {}, (255, 255, 255)),
        (PALETTE, {"transparency": 1}, (255, 255, 255)),
        (PALETTE, {}, (0, 0, 255)),
    ],
)
def test_modes_that_are_converted(
    picture: Image.Image, options: dict[str, Any], colour: tuple[int, ...], tmp_path: Path
) -> None:
    picture.save(tmp_path / "x.png", **options)
    assert pixel(tmp_path / "x.png") == colour


def test_cmyk_is_converted(tmp_path: Path) -> None:
    path = tmp_path / "print.jpg"
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(path, quality=100)
    red, green, blue = pixel(path)
    assert red > 240
    assert max(green, blue) < 15


def test_exif_turns_the_picture_upright_and_damaged_exif_does_not_cost_it(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise
    picture = Image.new("RGB", (16, 8), "white")
    picture.paste("black", (0, 0, 8, 8))
    picture.save(path, exif=exif, quality=100)
    assert open_image(path).size == (8, 16)
    assert sum(pixel(path, (4, 2))) < 30
    assert sum(pixel(path, (4, 14))) > 735
    Image.new("RGB", (8, 8), "white").save(path, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert min(pixel(path)) > 250


def test_damaged_files_are_named(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole)
    stored = tmp_path / "stored.png"
    Image.new("RGB", (30, 30), (10, 20, 30)).save(stored, compress_level=0)
    assert open_image(stored).size == (30, 30)
    flipped = bytearray(stored.read_bytes())
    flipped[flipped.index(b"IDAT") + 200] ^= 1
    for name, content, message in (
        ("cut.jpg", whole.read_bytes()[:1000], "truncated"),
        ("page.jpg", b"<html>404</html>", "a web page, not a picture"),
        ("empty.png", b"", "an empty file"),
        ("flipped.png", bytes(flipped), "a check sum is wrong (IDAT)"),
    ):
        (tmp_path / name).write_bytes(content)
        assert message in refusal(tmp_path / name)
    assert "no such file" in refusal(tmp_path / "gone.png")
    (tmp_path / "folder.png").mkdir()
    assert "damaged" in refusal(tmp_path / "folder.png")


def test_a_decompression_bomb_is_refused_unopened(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    assert "too large: " in refusal(tmp_path / "bomb.png")


def test_a_large_picture_below_the_limit_passes_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / "large.png"
    Image.new("RGB", (15, 10), "white").save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert pixel(path) == (255, 255, 255)
    assert len(recwarn) == 0


def test_kinds_without_one_conversion_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    Image.fromarray(np.full((2, 2), 0.5, dtype=np.float32)).save(path)
    assert "pictures of kind F have no one conversion to RGB" in refusal(path)
    Image.fromarray(np.full((2, 2), 2**20, dtype=np.int32)).save(path)
    assert "32-bit grey values have no one scale" in refusal(path)


def test_a_stamp_follows_the_file(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    files = Files(tmp_path)
    before = files.stamp("a.png")
    assert files.stamp("a.png") == before
    Image.new("RGB", (3, 3), "red").save(tmp_path / "a.png")
    assert files.stamp("a.png") != before


@pytest.mark.parametrize(
    ("key", "leaves"),
    [("a/b.png", False), ("a/../b", False), ("..", True), ("a/../../b", True), ("/a", True), ("..a", False)],
)
def test_paths_that_leave_the_root(key: str, leaves: bool) -> None:
    assert leaves_root(key) is leaves
