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

from typing_extensions import TypedDict  # Python's own serves pydantic from 3.12 on

from hierfit.data.home import Home, first_of
from hierfit.data.records import checked
from hierfit.data.samples import Sample
from hierfit.errors import UserError, reading

_SECONDS, _BYTES = 120, 1 << 30

_Car = TypedDict("_Car", {"fname": str, "class": tuple[int]})

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
    value = np.asarray(value)
    flat = value.ravel(order="F")
    if value.dtype.names:
        return [{{name: plain(row[name]) for name in value.dtype.names}} for row in flat]
    if value.dtype == object:
        return [plain(entry) for entry in flat]
    if value.dtype.kind == "U" and value.size < 2:
        return "".join(flat)
    if value.dtype.kind in "buif":
        return flat.tolist()
    raise TypeError("it holds " + str(value.dtype))

found = loadmat(sys.argv[1], appendmat=False, variable_names=sys.argv[2:])
print(json.dumps({{name: plain(found[name]) for name in sys.argv[2:] if name in found}}))
"""


def read_mat(path: Path, **kinds: Any) -> list[Any]:
    """Variables of a file of version 4 to 7, each of a type (see `hierfit.data.records.checked`).

    Numbers come as a list, a text as `str`, a cell array as a list, a structure as a list of dictionaries; all in
    MATLAB's order, down the columns.

    Raises:
        UserError: The file is missing, damaged, of another version (7.3 is HDF5), has no such variable, or it is of
            another type, or of a kind that is not read (complex, sparse, objects).
    """
    with reading(path), path.open("rb") as file:
        head = file.read(10)
    if head == b"MATLAB 7.3":
        raise UserError(f"{path}: MATLAB 7.3 files are not read; save it with -v7")
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # threads reserve memory
    command = [sys.executable, "-c", READER, str(path.absolute()), *kinds]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, env=environment, check=True)
        found = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError, RecursionError) as error:
        said = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip().splitlines()
        reason = f" ({said[-1]})" if said else ""
        raise UserError(f"{path}: damaged, or no MATLAB file of version 4 to 7{reason}") from error
    if lacking := [f"{path}: it has no variable {name!r}" for name in kinds if name not in found]:
        raise UserError("\n".join(lacking))
    return [checked(found[name], kind, f"{path}: {name}") for name, kind in kinds.items()]


def cars(home: Home) -> Iterator[Sample]:
    """Stanford Cars: ``devkit/cars_meta.mat``, ``devkit/cars_train_annos.mat``, ``cars_test_annos_withlabels.mat``.

    The last of the three may lie in ``devkit`` too; pictures lie in ``cars_train`` and ``cars_test``.
    """
    meta, train, test = "devkit/cars_meta.mat", "devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat"
    test = f"{test}|devkit/{test}"
    place = home.base = home.holding([meta, train, test, "cars_train", "cars_test"])
    (classes,) = read_mat(place / meta, class_names=list[str])
    for split, file in {"train": train, "test": str(first_of(place, test))}.items():
        (rows,) = read_mat(place / file, annotations=list[_Car])
        for row, (number,) in ((row, row["class"]) for row in rows):
            if 1 <= number <= len(classes):
                yield Sample(split, f"cars_{split}/{row['fname']}", classes[number - 1])
            else:
                home.problems.append(f"{file}: {row['fname']} is of class {number}, of 1 … {len(classes)} in {meta}")


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
    (labels,) = read_mat(place / "imagelabels.mat", labels=list[int])
    outside = sorted({label for label in labels if not 1 <= label <= len(names)})
    home.report(f"imagelabels.mat: not of 1 … {len(names)}: class", list(map(str, outside)))
    parts = read_mat(place / "setid.mat", **dict.fromkeys(variables.values(), list[int]))
    for (split, variable), values in zip(variables.items(), parts, strict=True):
        for number in values:
            if not 1 <= number <= len(labels):
                home.report(f"setid.mat: {variable}: not of {len(labels)} labelled pictures:", [str(number)])
            elif 1 <= (label := labels[number - 1]) <= len(names):
                yield Sample(split, f"image_{number:05d}.jpg", names[label - 1])
