"""Data sets of the Hugging Face hub on disk: what `save_to_disk` wrote, or a folder of parquet files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hierfit.data.encode import cache_root
from hierfit.data.home import Home
from hierfit.data.images import Stored
from hierfit.data.samples import Sample, leaves_root
from hierfit.data.splits import Shares
from hierfit.errors import UserError, nearest

_PARQUET = re.compile(r"(.+?)(?:-\d+(?:-of-\d+)?(?:-\w+)?)?\.parquet")
"""``train-00000-of-00002-3f….parquet``: the hub's names for parts of a split."""


def hf_dataset(
    home: Home,
    *,
    image: str = "image",
    label: tuple[str, ...] = ("label",),
    splits: Mapping[str, str] = {"train": "train", "val": "validation", "test": "test"},
    draw: Shares | None = None,
    separator: str = "/",
) -> Iterator[Sample]:
    """The root is the folder. Pictures stay where they are; parquet is put once into Arrow files, in hierfit's cache.

    Needs the package ``datasets``: ``pip install "hierfit[hf]"``. Nothing is downloaded, no code of a data set is run.

    Args:
        image: Column of the picture.
        label: Column of the label, or the columns of its path, coarse to fine. Class numbers are read as their names.
        splits: What the data set calls each split.
        draw: Shares of validation and test, for a data set of one split, which is the one for ``train``. A share 0 of
            test means that there is one, and validation is drawn from `train`.
        separator: Between the names of a path that stands in one column.
    """
    root = home.folder()
    parts = open_hub(root)
    drawn = draw is not None and draw.test > 0
    wanted = {kind: own for kind, own in splits.items() if not drawn or kind == "train"}
    lacking = [f"{kind}: no split {own!r}{nearest(own, parts)}" for kind, own in wanted.items() if own not in parts]
    for own in filter(parts.get, wanted.values()):
        there = parts[own].column_names
        lacking += [f"{own}: no column {name!r}{nearest(name, there)}" for name in (image, *label) if name not in there]
    if lacking:
        hint = "Mend layout.splits, image and label in the card."
        raise UserError(f"{root} has not the splits and columns of the card", lacking, hint)
    home.images = HubPictures(root, {own: parts[own] for own in wanted.values()}, image)
    home.names, home.empty, home.draw = None, list(wanted), draw
    for kind, own in wanted.items():
        for row, path in enumerate(label_paths(parts[own], label)):
            if not path:
                home.report(f"{kind}: no label in row", [str(row)])
            elif len(label) > 1 or len(path) != 1:  # a list of names
                yield Sample(kind, f"{own}/{row}", path)
            else:
                yield Sample(kind, f"{own}/{row}", path[0] if separator == "/" else tuple(path[0].split(separator)))


class HubPictures(Stored):
    """The pictures of a data set; a key is ``split/row``."""

    def __init__(self, root: Path, parts: Mapping[str, Any], column: str) -> None:
        from datasets import Image as Pictures

        self.root = root.resolve()
        self._column = column
        undecoded = Pictures(decode=False)
        self._parts = {n: part.select_columns([column]).cast_column(column, undecoded) for n, part in parts.items()}
        files = sorted(path for path in root.rglob("*") if path.suffix in (".parquet", ".arrow"))
        facts = [(str(path), (stat := path.stat()).st_size, stat.st_mtime_ns) for path in files]
        self._state = hashlib.sha256(repr(facts).encode()).hexdigest()

    def read(self, key: str) -> bytes:
        """What is stored of the picture; raises `UserError` naming it."""
        split, _, row = key.rpartition("/")
        try:
            cell = self._parts[split][int(row)][self._column] or {}
            if found := cell.get("bytes"):
                return bytes(found)
            if not (path := cell.get("path")):
                raise UserError(f"{key}: there is no picture")
            if leaves_root(path) and not Path(path).is_relative_to(self.root):
                raise UserError(f"{key}: the path leaves the root: {path}")
            return (self.root / path).read_bytes()
        except UserError:
            raise
        except Exception as error:  # Arrow's own, on damaged files
            raise UserError(f"{key}: cannot be read: {error}") from error

    def stamp(self, key: str) -> str:
        """Names, sizes and times of the files, and the row."""
        return f"{self._state} {key}"


def open_hub(root: Path) -> dict[str, Any]:
    """The splits of a folder as `datasets.Dataset`, by their own names.

    Raises:
        UserError: `datasets` is not installed, or the folder holds no data set it can read.
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            f"{root} is a data set of the Hugging Face hub, which the package datasets reads; it is not installed",
            hint='pip install -c constraints.txt "hierfit[hf]"',
        ) from error
    shown = datasets.utils.logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        if files := parquet_files(root):
            cache = str(cache_root(None) / "hf_datasets")
            named = {name: list(map(str, paths)) for name, paths in files.items()}
            return {name: datasets.Dataset.from_parquet(paths, cache_dir=cache) for name, paths in named.items()}
        found = datasets.load_from_disk(str(root))
        return dict(found) if isinstance(found, datasets.DatasetDict) else {"train": found}
    except Exception as error:  # of Arrow, of parquet, of JSON, of the file system
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise UserError(f"{root}: this data set cannot be read", [f"{type(error).__name__}: {reason}"]) from error
    finally:
        if shown:
            datasets.enable_progress_bars()


def parquet_files(root: Path) -> dict[str, list[Path]]:
    """The parquet files of each split, by the hub's names of files or folders."""
    found: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*.parquet")):
        if not any(part.startswith(".") for part in path.relative_to(root).parts):
            match = _PARQUET.fullmatch(path.name)
            name = match[1] if match else path.stem
            found.setdefault(path.parent.name if name.isdecimal() or name == "part" else name, []).append(path)
    return found


def label_paths(part: Any, columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The label of each row as names coarse to fine; empty ones at the end are dropped."""
    from datasets import ClassLabel

    cells = []
    for column in columns:
        kind = part.features[column]
        own = kind if isinstance(kind, ClassLabel) else getattr(kind, "feature", None)
        classes = own.names if isinstance(own, ClassLabel) else None
        values = part.select_columns([column]).with_format(None).to_dict()[column]
        cells.append([[_label_name(v, classes) for v in (x if isinstance(x, list) else [x])] for x in values])
    paths = []
    for row in zip(*cells, strict=True):
        path = [name for cell in row for name in cell]
        while path and not path[-1]:
            path.pop()
        paths.append(tuple(path))
    return paths


def _label_name(value: object, classes: list[str] | None) -> str:
    if value is None or (classes is not None and value == -1):
        return ""
    return str(classes[int(str(value))] if classes is not None else value).strip()
