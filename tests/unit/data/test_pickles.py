"""The restricted unpickler: what it reads, and what it will not be talked into."""

from __future__ import annotations

import os
import pickle
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hierfit.data.layouts.pickles import Fields, load_pickle
from hierfit.errors import UserError


def saved(path: Path, value: object, protocol: int = 2) -> Path:
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


def refused(path: Path, value: object) -> str:
    with pytest.raises(UserError) as caught:
        load_pickle(saved(path, value))
    return str(caught.value)


@pytest.mark.parametrize("protocol", range(5))
def test_plain_data_and_arrays_are_read(protocol: int, tmp_path: Path) -> None:
    value: dict[object, Any] = {
        b"labels": [0, 1, 2**70],
        "texts": ("a", "é", None, True, 1.5),
        b"data": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "floats": np.linspace(0, 1, 4, dtype=">f8"),
        "transposed": np.arange(6, dtype=np.int16).reshape(2, 3).T,
        "empty": np.zeros((0, 3)),
    }
    found = load_pickle(saved(tmp_path / "x", value, protocol))
    assert found.keys() == value.keys()
    for key, entry in value.items():
        if isinstance(entry, np.ndarray):
            assert found[key].dtype == entry.dtype.newbyteorder("=")  # numpy swaps bytes as it reads
            np.testing.assert_array_equal(found[key], entry)
        else:
            assert found[key] == entry


def test_what_python_2_and_numpy_1_wrote(tmp_path: Path) -> None:
    """CIFAR's own files: protocol 2, texts as bytes, numpy's older module names."""
    raw = pickle.dumps({b"data": np.arange(12, dtype=np.uint8).reshape(3, 4)}, 2)
    raw = raw.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    raw = raw.replace(b"X\x02\x00\x00\x00u1", b"U\x02u1").replace(b"X\x01\x00\x00\x00|", b"U\x01|")
    found = load_pickle(saved(tmp_path / "x", raw))
    np.testing.assert_array_equal(found[b"data"], np.arange(12).reshape(3, 4))


class _Runs:
    """Runs a function when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments", "named"),
    [
        (os.system, ("touch {}",), "system"),
        (eval, ("__import__('os').system('touch {}')",), "eval"),
        (exec, ("open('{}', 'w')",), "exec"),
        (subprocess.Popen, (["touch", "{}"],), "Popen"),
        (getattr, (os, "system"), "getattr"),
        (open, ("{}", "w"), "open"),
    ],
)
def test_functions_are_refused_by_name_and_never_called(
    function: Any, arguments: tuple[Any, ...], named: str, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    filled = tuple(
        a.replace("{}", str(trace)) if isinstance(a, str) else [p.replace("{}", str(trace)) for p in a]
        for a in arguments
        if isinstance(a, str | list)
    )
    text = refused(tmp_path / "x", {b"data": [_Runs(function, *filled)]})
    assert named in text
    assert "x: not read: it asks for" in text
    assert not trace.exists()


def test_an_array_cannot_be_called_to_fill_the_memory(tmp_path: Path) -> None:
    refused(tmp_path / "x", _Runs(np.ndarray, (10**13,)))
    refused(tmp_path / "x", b"cnumpy\nndarray\n(L10000000000000L\ntR.")
    refused(tmp_path / "x", b"cnumpy\ndtype\n(S'i4,(100000000,)f8'\ntR.")
    refused(tmp_path / "x", b"cnumpy.core.multiarray\n_reconstruct\n(I1\n(I0\ntS'b'\ntR.")


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    assert "no kind of number" in refused(tmp_path / "x", np.array([{"a": 1}], dtype=object))
    assert "no kind of number" in refused(tmp_path / "x", np.array(["text"]))
    assert "no kind of number" in refused(tmp_path / "x", np.zeros(2, dtype=[("a", "i4")]))


def test_the_state_of_an_array_must_fit_its_values(tmp_path: Path) -> None:
    raw = pickle.dumps(np.arange(4, dtype=np.uint8), 2)
    refused(tmp_path / "x", raw.replace(b"K\x04\x85", b"J\xff\xff\xff\x7f\x85"))


def test_a_file_cannot_change_what_the_next_one_meets(tmp_path: Path) -> None:
    """BUILD sets attributes of whatever lies on the stack, also of functions and classes."""
    whole = pickle.dumps({"a": np.arange(3), "n": 1}, 2)
    for name in (b"numpy\ndtype\n", b"_codecs\nencode\n", b"numpy.core.multiarray\n_reconstruct\n", b"pkg\nThing\n"):
        for state in (b"(dS'__defaults__'\n(I1\ntsb", b"(N(dS'__defaults__'\nNstb", b"(N(dS'__setstate__'\nNstb"):
            path = saved(tmp_path / "bad", b"c" + name + state + b".")
            with suppress(UserError):
                load_pickle(path, {"pkg": "Thing"})
            assert load_pickle(saved(tmp_path / "good", whole))["n"] == 1
            assert Fields().values == {}
    assert np.dtype("u1") == np.uint8


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x80", b"not a pickle", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f", b"I1\n", b"(lp0\n", b"\x82\x01."],
)
def test_damaged_files_are_refused(raw: bytes, tmp_path: Path) -> None:
    assert str(tmp_path / "x") in refused(tmp_path / "x", raw)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing: no such file"):
        load_pickle(tmp_path / "nothing")


def test_any_cut_of_a_good_file_is_refused_or_read(tmp_path: Path) -> None:
    raw = pickle.dumps({b"labels": [1, 2], b"data": np.arange(4, dtype=np.uint8)}, 2)
    for end in range(len(raw)):
        refused(tmp_path / "x", raw[:end])


def test_objects_of_named_classes_come_as_their_fields(tmp_path: Path) -> None:
    # dassl's Datum as Python pickles it: NEWOBJ of a class without arguments, then its __dict__.
    raw = b"cpkg.data\nDatum\n)\x81}(X\x07\x00\x00\x00_impathX\x05\x00\x00\x00a.jpgX\x06\x00\x00\x00_labelK\x03ub."
    found = load_pickle(saved(tmp_path / "x", b"\x80\x02" + raw), {"pkg.data": "Datum"})
    assert isinstance(found, Fields)
    assert found.values == {"_impath": "a.jpg", "_label": 3}
    assert "pkg.data.Datum" in refused(tmp_path / "x", b"\x80\x02" + raw)
