"""Data sets of the Hugging Face hub on disk: what `save_to_disk` wrote, or a folder of parquet files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from hierfit.config.schema import nearest
from hierfit.data.cache import cache_root
from hierfit.data.drawn import Draw
from hierfit.data.images import decode, leaves_root
from hierfit.data.layouts import folder_of
from hierfit.data.table import Split, Table, nodes_of
from hierfit.errors import UserError

if TYPE_CHECKING:
    from hierfit.data.card import DataCard

_PART = re.compile(r"(.+?)(?:-\d+(?:-of-\d+)?(?:-\w+)?)?\.parquet")
"""``train-00000-of-00002-3f….parquet``: the hub's names for parts of a split."""


@dataclass(frozen=True)
class HfDataset:
    """The root is the folder. Pictures stay where they are; parquet is put once into Arrow files, in hierfit's cache.

    Needs the package ``datasets``: ``pip install "hierfit[hf]"``. Nothing is downloaded, no code of a data set is run.

    Attributes:
        image: Column of the picture.
        label: Column of the label, or the columns of its path, coarse to fine. Class numbers are read as their names.
        splits: What the data set calls each split.
        draw: Shares of validation and test, for a data set of one split, which is the one for ``train``. A share 0 of
            test means that there is one, and validation is drawn from `train`.
        separator: Between the names of a path that stands in one column.
    """

    image: str = "image"
    label: tuple[str, ...] = ("label",)
    splits: Mapping[str, str] = field(default_factory=lambda: {"train": "train", "val": "validation", "test": "test"})
    draw: Draw | None = None
    separator: str = "/"

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """Read the labels; raises `UserError` when the folder holds no data set or lacks a column."""
        root = folder_of(root, card)
        parts = open_hub(root)
        drawn = self.draw is not None and self.draw.test > 0
        wanted = {kind: own for kind, own in self.splits.items() if not drawn or kind == "train"}
        if lacking := [
            f"{kind}: no split {own!r}{nearest(own, parts)}" for kind, own in wanted.items() if own not in parts
        ]:
            raise UserError(f"{root} has not the splits of the card", lacking, "Mend layout.splits in the card.")
        columns = [f"{own}: no column {name!r}{nearest(name, parts[own].column_names)}"
                   for own in wanted.values() for name in (self.image, *self.label)
                   if name not in parts[own].column_names]  # fmt: skip
        if columns:
            raise UserError(
                f"{root} has not the columns of the card", columns, "Mend layout.image and label in the card."
            )
        splits = {}
        for kind, own in wanted.items():
            labels = [path if len(self.label) > 1 else self._one(path) for path in label_paths(parts[own], self.label)]
            problems += [f"{kind}: row {row} has no label" for row, label in enumerate(labels) if not label][:5]
            keys = tuple(f"{own}/{row}" for row in range(len(labels)))
            splits[kind] = Split(keys, nodes_of(card.tree, kind, labels, problems))
        if self.draw:
            splits = self.draw.of(splits, "train")
        return Table(card.tree, splits, Rows(root, {own: parts[own] for own in wanted.values()}, self.image))

    def _one(self, path: tuple[str, ...]) -> str | tuple[str, ...]:
        if len(path) != 1:
            return path  # a list of names
        return path[0] if self.separator == "/" else tuple(path[0].split(self.separator))


class Rows:
    """The pictures of a data set; a key is ``split/row``."""

    def __init__(self, root: Path, parts: Mapping[str, Any], column: str) -> None:
        from datasets import Image as Pictures

        self.root = root.resolve()
        self._column = column
        self._parts = {name: part.select_columns([column]).cast_column(column, Pictures(decode=False))
                       for name, part in parts.items()}  # fmt: skip
        files = sorted(path for path in root.rglob("*") if path.suffix in (".parquet", ".arrow"))
        facts = [(str(path), (stat := path.stat()).st_size, stat.st_mtime_ns) for path in files]
        self._state = hashlib.sha256(repr(facts).encode()).hexdigest()

    def read(self, key: str) -> bytes:
        """What is stored of the picture; raises `UserError` naming it."""
        split, _, row = key.rpartition("/")
        try:
            cell = self._parts[split][int(row)][self._column]
        except Exception as error:  # Arrow's own, on damaged files
            raise UserError(f"{key}: cannot be read: {error}") from error
        if not cell or not (cell.get("bytes") or cell.get("path")):
            raise UserError(f"{key}: there is no picture")
        if cell["bytes"]:
            return bytes(cell["bytes"])
        if leaves_root(cell["path"]) and not Path(cell["path"]).is_relative_to(self.root):
            raise UserError(f"{key}: the path leaves the root: {cell['path']}")
        try:
            return (self.root / cell["path"]).read_bytes()
        except (OSError, ValueError) as error:
            raise UserError(f"{key}: cannot be read: {error}") from error

    def load(self, key: str) -> Image.Image:
        """The picture in RGB, upright; raises `UserError` naming it."""
        return decode(BytesIO(self.read(key)), key)

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
            return {name: datasets.Dataset.from_parquet([str(p) for p in paths], cache_dir=cache)
                    for name, paths in files.items()}  # fmt: skip
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
        if any(part.startswith(".") for part in path.relative_to(root).parts):
            continue
        match = _PART.fullmatch(path.name)
        name = match[1] if match else path.stem
        found.setdefault(path.parent.name if name.isdecimal() or name == "part" else name, []).append(path)
    return found


def label_paths(part: Any, columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The label of each row as names coarse to fine; empty ones at the end are dropped."""
    cells = [_names(part, column) for column in columns]
    paths = []
    for row in zip(*cells, strict=True):
        path = tuple(name for cell in row for name in cell)
        while path and not path[-1]:
            path = path[:-1]
        paths.append(path)
    return paths


def _names(part: Any, column: str) -> list[tuple[str, ...]]:
    from datasets import ClassLabel

    kind = part.features[column]
    own = kind if isinstance(kind, ClassLabel) else getattr(kind, "feature", None)
    classes = own.names if isinstance(own, ClassLabel) else None

    def name(value: object) -> str:
        if value is None or (classes is not None and value == -1):
            return ""
        return str(classes[int(str(value))] if classes is not None else value).strip()

    values = part.select_columns([column]).with_format(None).to_dict()[column]
    return [tuple(map(name, value)) if isinstance(value, list) else (name(value),) for value in values]
