"""Data sets that come with MATLAB files, and the reader of those: scipy's, in a process of its own.

A damaged file can make scipy crash the process, or fill the memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hierfit.data.home import Home
from hierfit.data.samples import Sample
from hierfit.errors import UserError

_SECONDS, _BYTES = 120, 1 << 30

READER = f"""
import json, sys
sys.path = [entry for entry in sys.path if entry]  # no module of the current folder
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, ({_BYTES}, {_BYTES}))
except ImportError:
    pass
import numpy as np
from scipy.io import loadmat

def plain(value):
    if not isinstance(value, np.ndarray):
        return plain(np.asarray(value))
    flat = value.ravel(order="F")
    if value.dtype.names:
        return [{{name: plain(row[name]) for name in value.dtype.names}} for row in flat]
    if value.dtype == object:
        return [plain(entry) for entry in flat]
    if value.dtype.kind == "U" and value.size < 2:
        return "".join(flat)
    if value.dtype.kind in "buif":
        return {{"numbers": flat.tolist()}}
    raise TypeError("it holds " + str(value.dtype))

found = loadmat(sys.argv[1], appendmat=False, variable_names=sys.argv[2:])
print(json.dumps({{name: plain(found[name]) for name in sys.argv[2:] if name in found}}))
"""


def read_mat(path: Path, *names: str) -> list[Any]:
    """Variables of a file of version 4 to 7.

    Numbers come as ``{"numbers": [...]}``, a text as `str`, a cell array as a list, a structure as a list of
    dictionaries; all in MATLAB's order, down the columns.

    Raises:
        UserError: The file is missing, damaged, of another version (7.3 is HDF5), has no such variable, or it is of a
            kind that is not read (complex, sparse, objects).
    """
    try:
        with path.open("rb") as file:
            head = file.read(10)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    if head == b"MATLAB 7.3":
        raise UserError(f"{path}: MATLAB 7.3 files are not read; save it with -v7")
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # threads reserve memory
    command = [sys.executable, "-c", READER, str(path.absolute()), *names]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, env=environment, check=True)
        found = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError, RecursionError) as error:
        said = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip().splitlines()
        reason = f" ({said[-1]})" if said else ""
        raise UserError(f"{path}: damaged, or no MATLAB file of version 4 to 7{reason}") from error
    if lacking := [f"{path}: it has no variable {name!r}" for name in names if name not in found]:
        raise UserError("\n".join(lacking))
    return [found[name] for name in names]


def whole_numbers(values: object, what: str) -> list[int]:
    """The numbers of a variable; raises `UserError` where they are none, or not whole."""
    numbers = values.get("numbers") if isinstance(values, dict) else None
    if not isinstance(numbers, list) or any(number % 1 for number in numbers):
        raise UserError(f"{what} does not hold whole numbers")
    return [int(number) for number in numbers]


def rows_of(values: object, fields: Mapping[str, type], what: str) -> list[dict[str, Any]]:
    """A structure array, each with these fields: texts (`str`) or single whole numbers (`int`); others are left out.

    Raises:
        UserError: An entry lacks a field of that type.
    """
    found = []
    for number, row in enumerate(values if isinstance(values, list) else [values], 1):
        entry = {field: _single(row.get(field)) if isinstance(row, dict) else None for field in fields}
        for field, kind in fields.items():
            if type(entry[field]) is not kind:
                raise UserError(f"{what}({number}) has no field {field!r} of type {kind.__name__}")
        found.append(entry)
    return found


def _single(value: Any) -> object:
    """The number in an array of one whole number; other values as they are."""
    numbers: list[float] = value.get("numbers", []) if isinstance(value, dict) else []
    return int(numbers[0]) if len(numbers) == 1 and numbers[0] % 1 == 0 else value


def cars(home: Home) -> Iterator[Sample]:
    """Stanford Cars: ``devkit/cars_meta.mat``, ``devkit/cars_train_annos.mat``, ``cars_test_annos_withlabels.mat``.

    The last of the three may lie in ``devkit`` too; pictures lie in ``cars_train`` and ``cars_test``.
    """
    meta, train, test = "devkit/cars_meta.mat", "devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat"
    if (home.folder() / "devkit" / test).is_file():
        test = f"devkit/{test}"
    place = home.base = home.holding([meta, train, test, "cars_train", "cars_test"])
    (classes,) = read_mat(place / meta, "class_names")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise UserError(f"{place / meta}: class_names does not hold texts")
    for split, file in {"train": train, "test": test}.items():
        (annotations,) = read_mat(place / file, "annotations")
        rows = rows_of(annotations, {"fname": str, "class": int}, f"{place / file}: annotations")
        for number, row in enumerate(rows, 1):
            if 1 <= row["class"] <= len(classes):
                yield Sample(split, f"cars_{split}/{row['fname']}", classes[row["class"] - 1])
            else:
                home.problems.append(
                    f"{file}: annotations({number}) is of class {row['class']}, of 1 … {len(classes)} in {meta}"
                )


def flowers(
    home: Home, *, variables: Mapping[str, str] = {"train": "trnid", "val": "valid", "test": "tstid"}
) -> Iterator[Sample]:
    """Oxford Flowers 102: ``imagelabels.mat``, ``setid.mat`` and ``jpg/image_00001.jpg``.

    Args:
        home: Where they lie. Class i is line i of the card's tree.
        variables: Variable of each split in ``setid.mat``.
    """
    place = home.holding(["imagelabels.mat", "setid.mat", "jpg"])
    home.base = place / "jpg"
    names = [home.card.tree.names[leaf] for leaf in home.card.tree.leaves.tolist()]
    labels = whole_numbers(read_mat(place / "imagelabels.mat", "labels")[0], f"{place / 'imagelabels.mat'}: labels")
    outside = sorted({label for label in labels if not 1 <= label <= len(names)})
    home.report(f"imagelabels.mat: not of 1 … {len(names)}: class", list(map(str, outside)))
    parts = read_mat(place / "setid.mat", *variables.values())
    for (split, variable), values in zip(variables.items(), parts, strict=True):
        unknown = []
        for number in whole_numbers(values, f"{place / 'setid.mat'}: {variable}"):
            if not 1 <= number <= len(labels):
                unknown.append(str(number))
            elif 1 <= (label := labels[number - 1]) <= len(names):
                yield Sample(split, f"image_{number:05d}.jpg", names[label - 1])
        home.report(f"setid.mat: {variable}: not of {len(labels)} labelled pictures:", unknown)
