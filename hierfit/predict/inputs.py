"""What ``hierfit predict`` is given: images, folders of them, lists of them, or a feature bundle."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor
from torch.nn.functional import normalize

from hierfit.config.schema import nearest
from hierfit.data.images import EXTENSIONS
from hierfit.errors import UserError

_TABLES = {".csv": ",", ".tsv": "\t"}
_LIST, BUNDLE = ".txt", ".safetensors"
_COLUMN = "path"


def pictures(inputs: Sequence[str], stdin: Iterable[str]) -> list[Path]:
    """The files that inputs stand for, in order.

    Args:
        inputs: An image; a folder, for all images below it; a ``.txt`` with a path a line, or a ``.csv`` or ``.tsv``
            with a column ``path``, relative to where it lies; ``-`` for a path a line on `stdin`.
        stdin: Its lines.

    Raises:
        UserError: Names every input that does not exist or holds no image.
    """
    found: list[Path] = []
    problems: list[str] = []
    for given in inputs:
        path = Path(given)
        try:
            if given == "-":
                found += [Path(line.strip()) for line in stdin if line.strip()]
            elif path.is_dir():
                inside = _below(path)
                problems += [] if inside else [f"{given}: there is no image below this folder"]
                found += inside
            elif not path.is_file():
                problems.append(f"{given}: there is no such file or folder")
            elif path.suffix.lower() in (_LIST, *_TABLES):
                found += [path.parent / name for name in _listed(path)]
            elif path.suffix.lower() == BUNDLE:
                problems.append(f"{given}: a feature bundle goes alone")
            else:
                found.append(path)
        except UserError as error:
            problems += error.problems or (error.summary,)
    if not found and not problems:
        problems.append("nothing is named")
    if problems:
        raise UserError("there is nothing to predict from", problems)
    return found


def bundle_features(path: Path, split: str, width: int) -> tuple[list[str], Tensor, str]:
    """Names and L2-normalised features ``[n, d]`` of a split of a feature bundle, and what made them.

    Raises:
        UserError: The file is not sound, has no such split, or features of another width.
    """
    from hierfit.data.bundle import read_bundle

    bundle = read_bundle(path)
    if split not in bundle.splits:
        raise UserError(f"{path}: there is no split {split!r}{nearest(split, bundle.splits)}")
    features = normalize(bundle.splits[split].features.float(), dim=-1)
    if features.shape[1] != width:
        raise UserError(f"{path}: its features are {features.shape[1]} wide, the model takes {width}")
    return [f"{split}/{row}" for row in range(len(features))], features, bundle.backbone


def _below(folder: Path) -> list[Path]:
    found = []
    for where, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = [name for name in sorted(files) if not name.startswith(".")]
        found += [Path(where, name) for name in names if Path(name).suffix.lower() in EXTENSIONS]
    return found


def _listed(path: Path) -> list[str]:
    if path.suffix.lower() == _LIST:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read: {error}") from error
        return [line.strip() for line in lines if line.strip()]
    from hierfit.data.records import read_csv

    (_, header), *rows = list(read_csv(path, _TABLES[path.suffix.lower()])) or [(0, [])]
    if _COLUMN not in header:
        raise UserError(f"{path}: there is no column {_COLUMN!r}{nearest(_COLUMN, header)}")
    column = header.index(_COLUMN)
    for line, cells in rows:
        if len(cells) <= column:
            raise UserError(f"{path}: line {line} has no cell in column {_COLUMN!r}")
    return [cells[column] for _, cells in rows]
