"""MATLAB files: what is read, and how damaged ones are refused."""

from __future__ import annotations

import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from hierfit.data.layouts.matlab import read_mat
from hierfit.errors import UserError


@pytest.fixture(scope="module")
def mat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mat") / "x.mat"
    kind = [("class", object), ("fname", object)]
    variables = {
        "square": np.arange(6, dtype=np.int16).reshape(2, 3),
        "halves": np.array([[0.5]]),
        "texts": np.array([["é", ""], ["日本", "x" * 50]], dtype=object),
        "complex": np.array([[1 + 2j]]),
        "empty": np.zeros((0, 3)),
        "nested": {"a": {"b": {"c": np.array([[1.5, 2.5]])}}},
        "rows": np.array([[(np.uint8(1), "a.jpg"), (np.uint8(2), "b.jpg")]], dtype=kind),
        "one": np.array([[(np.uint8(7), "z.jpg")]], dtype=kind),
    }
    savemat(path, variables, do_compression=True)
    return path


def test_numbers_texts_and_structures_come_down_the_columns(mat: Path) -> None:
    square, halves, texts, empty = read_mat(mat, square=list[int], halves=list[float], texts=list[str], empty=list[int])
    assert square == [0, 3, 1, 4, 2, 5]
    assert halves == [0.5]
    assert texts == ["é", "日本", "", "x" * 50]
    assert empty == []
    rows, one, nested = read_mat(mat, rows=Any, one=Any, nested=Any)
    assert rows == [{"class": [1], "fname": "a.jpg"}, {"class": [2], "fname": "b.jpg"}]
    assert one == [{"class": [7], "fname": "z.jpg"}]
    assert nested == [{"a": [{"b": [{"c": [1.5, 2.5]}]}]}]


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ({"halves": list[int]}, "halves is not of this form.*0: Input should be a valid integer"),
        ({"texts": list[int]}, "texts is not of this form.*0: Input should be a valid integer"),
        ({"rows": list[str]}, "rows is not of this form.*0: Input should be a valid string"),
        ({"rows": Any, "nothing": Any}, "x.mat: it has no variable 'nothing'"),
        ({"complex": Any}, "it holds complex128"),
    ],
)
def test_what_does_not_fit_is_named(kinds: dict[str, Any], message: str, mat: Path) -> None:
    with pytest.raises(UserError, match=f"(?s){message}"):
        read_mat(mat, **kinds)


def raw_mat(kind: int, content: bytes) -> bytes:
    """A file of one element."""
    return (
        b"MATLAB 5.0".ljust(124)
        + b"\0\x01IM"
        + kind.to_bytes(4, "little")
        + len(content).to_bytes(4, "little")
        + content
    )


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "damaged, or no MATLAB file"),
        (b"MATLAB 5.0 MAT-file" + b"\xff" * 400, "damaged, or no MATLAB file"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\x02IM" + bytes(400), "save it with -v7"),
        (raw_mat(15, zlib.compress(bytes(3 << 30), 9)), "damaged, or no MATLAB file"),
        (None, "No such file"),
    ],
    ids=["empty", "garbage", "7.3", "a small file that would fill the memory", "missing"],
)
def test_what_cannot_be_read_is_refused_by_name(raw: bytes | None, message: str, tmp_path: Path) -> None:
    if raw is not None:
        (tmp_path / "x.mat").write_bytes(raw)
    with pytest.raises(UserError, match=rf"x\.mat: .*{message}"):
        read_mat(tmp_path / "x.mat", x=Any)


def test_a_file_that_crashes_scipy_crashes_its_reader_only(tmp_path: Path) -> None:
    kind = [("class", object), ("fname", object)]
    rows = np.array([[(np.uint8(1), "a.jpg"), (np.uint8(2), "b.jpg")]], dtype=kind)
    names, labels = np.array([["a b", "c"]], dtype=object), np.array([[3, 1, 2]], dtype=np.uint8)
    path = tmp_path / "x.mat"
    savemat(path, {"rows": rows, "names": names, "labels": labels})
    raw = path.read_bytes()
    for seed in (98, 125, 136):  # found by trying: scipy 1.17 dies of each
        generator, damaged = np.random.default_rng(seed), bytearray(raw)
        for place in generator.integers(128, len(raw), size=2):
            damaged[place] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"x\.mat: damaged"):
            read_mat(path, rows=Any, names=Any, labels=Any)


def test_cuts_and_flipped_bytes_of_a_good_file_raise_nothing_else(mat: Path, tmp_path: Path) -> None:
    raw = mat.read_bytes()
    generator = np.random.default_rng(0)
    path = tmp_path / "damaged.mat"
    for _ in range(8):
        damaged = bytearray(raw[: generator.integers(1, len(raw) + 1)])
        for place in generator.integers(len(damaged), size=3):
            damaged[place] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged)
        with suppress(UserError):
            read_mat(path, square=list[int], rows=Any, texts=list[str])
