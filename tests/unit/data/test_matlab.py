"""MATLAB files: what is read, and how damaged ones are refused."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from hierfit.data.matlab import read_mat, read_numbers, read_rows, read_texts
from hierfit.errors import UserError


@pytest.fixture
def mat(tmp_path: Path) -> Path:
    path = tmp_path / "x.mat"
    kind = [("class", object), ("fname", object)]
    variables = {
        "labels": np.array([[3, 1, 2]], dtype=np.uint8),
        "halves": np.array([[0.5]]),
        "names": np.array([["a b", "c"]], dtype=object),
        "mixed": np.array([["a", 1]], dtype=object),
        "rows": np.array([[(np.uint8(1), "a.jpg"), (np.uint8(2), "b.jpg")]], dtype=kind),
        "one": np.array([[(np.uint8(7), "z.jpg")]], dtype=kind),
    }
    savemat(path, variables)
    return path


def test_numbers_texts_and_structures(mat: Path) -> None:
    assert read_numbers(mat, "labels") == [3, 1, 2]
    assert read_texts(mat, "names") == ["a b", "c"]
    rows = read_rows(mat, "rows", {"class": int, "fname": str})
    assert [(row["class"], row["fname"]) for row in rows] == [(1, "a.jpg"), (2, "b.jpg")]
    assert [row["fname"] for row in read_rows(mat, "one", {"fname": str})] == ["z.jpg"]


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
    raw = mat.read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(raw[: generator.integers(1, len(raw) + 1)])
        damaged[generator.integers(len(damaged))] ^= int(generator.integers(1, 256))
        path = tmp_path / "damaged.mat"
        path.write_bytes(damaged)
        with suppress(UserError):
            assert all(type(value) is int for value in read_numbers(path, "labels"))


def test_files_of_version_7_3_say_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x00" * 400)
    with pytest.raises(UserError, match="save it with -v7"):
        read_mat(path, "labels")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_mat(tmp_path / "none.mat", "x")
