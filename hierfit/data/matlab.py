"""MATLAB files, version 5: numbers, texts, cells and structures.

Read here and not by scipy, which a damaged file can make crash the process.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from hierfit.errors import UserError

_MAX_BYTES = 1 << 28  # of a decompressed variable
_MAX_DEPTH = 8
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR, _NUMBERS = 1, 2, 4, range(6, 16)
_COMPLEX = 0x0800  # a flag, and here a kind of its own
_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_UTF8, _UTF16 = 16, 17


class _DamagedError(Exception):
    """The file is not as its format says."""


def read_mat(path: Path, name: str) -> Any:
    """One variable of a file: numbers as an array, a text as `str`, a cell array as a list, a structure as a list of
    dictionaries; both in MATLAB's order, down the columns.

    Raises:
        UserError: The file is missing, damaged, of another version (7.3 is HDF5), has no such variable, or it is of a
            kind that is not read (complex, sparse, objects).
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    if raw.startswith(b"MATLAB 7.3"):
        raise UserError(f"{path}: MATLAB 7.3 files are not read; save it with -v7")
    order = {b"IM": "<", b"MI": ">"}.get(raw[126:128])
    if order is None:
        raise UserError(f"{path}: damaged, or no MATLAB file of version 5 to 7")
    try:
        for kind, data in _elements(raw[128:], order):
            if kind == _COMPRESSED:
                kind, data = next(_elements(_decompressed(data), order), (0, b""))
            if kind == _MATRIX and (found := _Matrix.read(data, order)) and found.name == name:
                return found.value(0)
    except (_DamagedError, zlib.error, ValueError, OverflowError) as error:
        raise UserError(f"{path}: damaged: {error}") from error
    raise UserError(f"{path}: it has no variable {name!r}")


def read_numbers(path: Path, name: str) -> list[int]:
    """A variable that holds whole numbers; raises `UserError` as `read_mat` does, or when they are none."""
    values = read_mat(path, name)
    if not isinstance(values, np.ndarray) or not np.array_equal(values, np.floor(values)):
        raise UserError(f"{path}: {name} does not hold whole numbers")
    return [int(value) for value in values.ravel(order="F")]


def read_texts(path: Path, name: str) -> list[str]:
    """A cell array of texts; raises `UserError` as `read_mat` does, or when it holds others."""
    values = read_mat(path, name)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise UserError(f"{path}: {name} does not hold texts")
    return values


def read_rows(path: Path, name: str, fields: Mapping[str, type]) -> list[dict[str, Any]]:
    """A structure array, each with these fields: texts (`str`) or single whole numbers (`int`); others are left out.

    Raises:
        UserError: As `read_mat`, or an entry lacks a field of that type.
    """
    rows = read_mat(path, name)
    found = []
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], 1):
        values = {field: _single(row.get(field)) if isinstance(row, dict) else None for field in fields}
        for field, kind in fields.items():
            if type(values[field]) is not kind:
                raise UserError(f"{path}: {name}({number}) has no field {field!r} of type {kind.__name__}")
        found.append(values)
    return found


def _single(value: object) -> object:
    """The number in an array of one whole number; other values as they are."""
    if isinstance(value, np.ndarray) and value.size == 1 and isinstance(number := value.item(), Integral | float):
        return int(number) if number == number // 1 else number
    return value


def _decompressed(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    whole = unpacker.decompress(data, _MAX_BYTES)
    if unpacker.unconsumed_tail:
        raise _DamagedError(f"a variable of more than {_MAX_BYTES >> 20} MiB")
    return whole


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of each element, one after the other."""
    place = 0
    while place + 8 <= len(data):
        kind, size = (int(v) for v in np.frombuffer(data, f"{order}u4", 2, place))
        if kind >> 16:  # a small one: type and size in one word, and up to four bytes
            kind, size, start, step = kind & 0xFFFF, kind >> 16, place + 4, 8
            if size > 4:
                raise _DamagedError(f"a small element of {size} bytes")
        else:
            start = place + 8
            step = 8 + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        if start + size > len(data):
            raise _DamagedError("it ends too early")
        yield kind, data[start : start + size]
        place += step


@dataclass
class _Matrix:
    """The head of an array, and the elements that hold its content."""

    name: str
    kind: int
    shape: tuple[int, ...]
    rest: Iterator[tuple[int, bytes]]
    order: str

    @classmethod
    def read(cls, data: bytes, order: str) -> _Matrix | None:
        """None for an array of no bytes, which stands for an empty one."""
        if not data:
            return None
        parts = _elements(data, order)
        flags = _numbers(parts, order)
        shape = tuple(int(size) for size in _numbers(parts, order))
        name = bytes(_numbers(parts, order).astype("u1")).decode("latin1")
        if not len(flags) or len(shape) < 2 or min(shape) < 0:
            raise _DamagedError("an array without a size")
        kind = _COMPLEX if int(flags[0]) & _COMPLEX else int(flags[0]) & 0xFF
        return cls(name, kind, shape, parts, order)

    @property
    def size(self) -> int:
        """Number of entries."""
        size = 1
        for length in self.shape:
            size *= length
        return size

    def value(self, depth: int) -> Any:
        """What it holds, as `read_mat` gives it."""
        if depth > _MAX_DEPTH:
            raise _DamagedError(f"arrays in arrays, more than {_MAX_DEPTH} deep")
        if self.kind in _NUMBERS:
            values = _numbers(self.rest, self.order)
            if values.size != self.size:
                raise _DamagedError(f"{values.size} numbers in an array of {self.size}")
            return values.reshape(self.shape, order="F")
        if self.kind == _CHAR:
            return self._text()
        if self.kind == _CELL:
            return [self._inner(depth) for _ in range(self.size)]
        if self.kind == _STRUCT:
            length = int(_numbers(self.rest, self.order)[:1].sum())
            raw = bytes(_numbers(self.rest, self.order).astype("u1"))
            if length < 1:
                raise _DamagedError("a structure without names")
            names = [raw[i : i + length].split(b"\0")[0].decode("latin1") for i in range(0, len(raw), length)]
            return [{name: self._inner(depth) for name in names} for _ in range(self.size if names else 0)]
        what = "complex numbers" if self.kind == _COMPLEX else f"an array of class {self.kind}"
        raise _DamagedError(f"{what} in {self.name!r}, which are not read")

    def _inner(self, depth: int) -> Any:
        kind, data = next(self.rest, (0, b""))
        if kind != _MATRIX:
            raise _DamagedError("an array is missing in an array")
        found = _Matrix.read(data, self.order)
        return np.zeros((0, 0)) if found is None else found.value(depth + 1)

    def _text(self) -> str:
        kind, data = next(self.rest, (_UTF8, b""))
        if sum(length > 1 for length in self.shape) > 1:
            raise _DamagedError("a text of several lines")
        if kind == _UTF8:
            return data.decode("utf-8", "replace")
        if kind == _UTF16 or _DTYPES.get(kind, "")[-1:] == "2":
            return data.decode(f"utf-16-{'le' if self.order == '<' else 'be'}", "replace")
        return data.decode("latin1")


def _numbers(parts: Iterator[tuple[int, bytes]], order: str) -> np.ndarray[Any, Any]:
    """The next element, which must hold numbers."""
    kind, data = next(parts, (0, b""))
    if kind not in _DTYPES:
        raise _DamagedError(f"numbers expected, found an element of type {kind}")
    return np.frombuffer(data, order + _DTYPES[kind])
