"""MATLAB files: what is read, and how damaged ones are refused."""

from __future__ import annotations

import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from hierfit.data.matlab import read_mat, read_numbers, read_rows, read_texts
from hierfit.errors import UserError


@pytest.fixture(params=[False, True], ids=["plain", "compressed"])
def mat(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "x.mat"
    kind = [("class", object), ("fname", object)]
    variables = {
        "labels": np.array([[3, 1, 2]], dtype=np.uint8),
        "halves": np.array([[0.5]]),
        "names": np.array([["a b", "c"]], dtype=object),
        "texts": np.array([["é", ""], ["日本", "x" * 50]], dtype=object),
        "square": np.arange(6, dtype=np.int16).reshape(2, 3),
        "complex": np.array([[1 + 2j]]),
        "empty": np.zeros((0, 3)),
        "nested": {"a": {"b": {"c": np.array([[1.5, 2.5]])}}},
        "mixed": np.array([["a", 1]], dtype=object),
        "rows": np.array([[(np.uint8(1), "a.jpg"), (np.uint8(2), "b.jpg")]], dtype=kind),
        "one": np.array([[(np.uint8(7), "z.jpg")]], dtype=kind),
    }
    savemat(path, variables, do_compression=request.param)
    return path


def test_numbers_texts_and_structures(mat: Path) -> None:
    assert read_numbers(mat, "labels") == [3, 1, 2]
    assert read_texts(mat, "names") == ["a b", "c"]
    rows = read_rows(mat, "rows", {"class": int, "fname": str})
    assert [(row["class"], row["fname"]) for row in rows] == [(1, "a.jpg"), (2, "b.jpg")]
    assert [row["fname"] for row in read_rows(mat, "one", {"fname": str})] == ["z.jpg"]


def test_shapes_order_and_nesting(mat: Path) -> None:
    np.testing.assert_array_equal(read_mat(mat, "square"), np.arange(6).reshape(2, 3))
    assert read_numbers(mat, "square") == [0, 3, 1, 4, 2, 5]  # down the columns
    assert read_texts(mat, "texts") == ["é", "日本", "", "x" * 50]
    assert read_mat(mat, "empty").shape == (0, 3)
    np.testing.assert_array_equal(read_mat(mat, "nested")[0]["a"][0]["b"][0]["c"], [[1.5, 2.5]])
    with pytest.raises(UserError, match="complex numbers in 'complex'"):
        read_mat(mat, "complex")


def test_numbers_equal_scipys(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for kind in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"):
        values = generator.integers(0, 100, (3, 4)).astype(kind)
        savemat(tmp_path / "x.mat", {"values": values})
        found = read_mat(tmp_path / "x.mat", "values")
        np.testing.assert_array_equal(found, loadmat(tmp_path / "x.mat")["values"])


def test_what_does_not_fit_is_named(mat: Path) -> None:
    for read, name, words in (
        (read_numbers, "halves", "does not hold whole numbers"),
        (read_numbers, "names", "does not hold whole numbers"),
        (read_texts, "mixed", "does not hold texts"),
        (read_texts, "nothing", "it has no variable 'nothing'"),
    ):
        with pytest.raises(UserError, match=words):
            read(mat, name)
    with pytest.raises(UserError, match=r"rows\(1\) has no field 'box' of type str"):
        read_rows(mat, "rows", {"box": str})
    with pytest.raises(UserError, match=r"labels\(1\) has no field"):
        read_rows(mat, "labels", {"class": int})


@pytest.mark.parametrize("raw", [b"", b"garbage", b"\x00" * 200, b"MATLAB 5.0 MAT-file" + b"\xff" * 400])
def test_garbage_is_refused(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    path.write_bytes(raw)
    with pytest.raises(UserError, match=r"x\.mat: "):
        read_mat(path, "labels")


def test_cuts_and_flipped_bytes_of_a_good_file_raise_nothing_else(mat: Path, tmp_path: Path) -> None:
    """scipy's reader crashes the process on some of these."""
    raw = mat.read_bytes()
    generator = np.random.default_rng(0)
    path = tmp_path / "damaged.mat"
    for _ in range(150):
        damaged = bytearray(raw[: generator.integers(1, len(raw) + 1)])
        for place in generator.integers(len(damaged), size=3):
            damaged[place] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged)
        for name in ("labels", "rows", "names", "nested"):
            with suppress(UserError):
                read_mat(path, name)


def test_a_small_file_cannot_grow_to_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hierfit.data.matlab._MAX_BYTES", 1 << 20)
    bomb = zlib.compress(b"\0" * ((1 << 20) + 8), 9)
    head = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
    (tmp_path / "x.mat").write_bytes(head + (15).to_bytes(4, "little") + len(bomb).to_bytes(4, "little") + bomb)
    with pytest.raises(UserError, match=r"x\.mat: damaged: a variable of more than 1 MiB"):
        read_mat(tmp_path / "x.mat", "x")


def test_files_of_version_7_3_say_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x00" * 400)
    with pytest.raises(UserError, match="save it with -v7"):
        read_mat(path, "labels")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_mat(tmp_path / "none.mat", "x")
