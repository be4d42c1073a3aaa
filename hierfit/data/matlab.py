"""Arrays out of MATLAB files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hierfit.errors import UserError

Row = Mapping[str, Any]


def read_mat(path: Path, name: str) -> np.ndarray[Any, Any]:
    """One variable of a ``.mat`` file (to version 7.2), without its axes of length 1.

    A structure array comes as an array of dictionaries, a cell array as one of its entries.

    Raises:
        UserError: The file is missing, damaged, of version 7.3 (HDF5), or has no such variable.
    """
    from scipy.io import loadmat  # half a second

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        found = loadmat(path, variable_names=[name], simplify_cells=True)
    except NotImplementedError as error:
        raise UserError(f"{path}: MATLAB 7.3 files are not read; save it with -v7") from error
    except Exception as error:  # scipy raises nearly anything on a damaged file
        raise UserError(f"{path}: damaged, or no MATLAB file: {str(error) or type(error).__name__}") from error
    if name not in found:
        raise UserError(f"{path}: it has no variable {name!r}")
    return np.atleast_1d(found[name])


def read_numbers(path: Path, name: str) -> list[int]:
    """A variable that holds whole numbers; raises `UserError` as `read_mat` does, or when they are none."""
    values = read_mat(path, name).ravel()
    if values.dtype.kind not in "iuf" or not np.array_equal(values, np.floor(values)):
        raise UserError(f"{path}: {name} does not hold whole numbers")
    return [int(value) for value in values]


def read_texts(path: Path, name: str) -> list[str]:
    """A variable that holds texts; raises `UserError` as `read_mat` does, or when it holds others."""
    values = read_mat(path, name).ravel().tolist()
    if not all(isinstance(value, str) for value in values):
        raise UserError(f"{path}: {name} does not hold texts")
    return values


def read_rows(path: Path, name: str, fields: Mapping[str, type]) -> list[Row]:
    """A structure array; raises `UserError` as `read_mat` does, or when an entry lacks a field of that type."""
    rows = read_mat(path, name).ravel().tolist()
    for number, row in enumerate(rows, 1):
        for field, kind in fields.items():
            if not isinstance(row, dict) or not isinstance(row.get(field), kind):
                raise UserError(f"{path}: {name}({number}) has no field {field!r} of type {kind.__name__}")
    return rows
