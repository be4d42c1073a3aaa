"""Where pictures come from: a data card, a folder or a table; in parts that are worked on one by one.

Nothing here holds all pictures at once: a folder is walked, one listing in memory; a table is read line by line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hierfit.data.images import EXTENSIONS, leaves_root
from hierfit.data.layouts.manifest import read_csv
from hierfit.data.table import SPLITS, Table, names_of
from hierfit.errors import UserError

Label = tuple[str, ...]


class Sample(NamedTuple):
    """One picture: its key, and its label from the root of the tree down."""

    key: str
    label: Label


@dataclass(frozen=True)
class Part:
    """Some pictures of one split: a list of them, or so many of a tar from a place on.

    Attributes:
        split: Theirs.
        size: How many.
        samples: The list; empty for a tar.
        tar: Its path; empty for a list.
        offset: Of the first one's header in the tar, bytes.
    """

    split: str
    size: int
    samples: tuple[Sample, ...] = ()
    tar: str = ""
    offset: int = 0

    def to_json(self) -> str:
        """One line."""
        return json.dumps(vars(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Part:
        """From that line."""
        content = json.loads(text)
        samples = tuple(Sample(key, tuple(label)) for key, label in content.pop("samples"))
        return cls(**content, samples=samples)


def parts_of(samples: Iterator[tuple[str, Sample]], size: int) -> Iterator[Part]:
    """Samples as parts of at most so many pictures, each of one split."""
    waiting: dict[str, list[Sample]] = {}
    for split, sample in samples:
        group = waiting.setdefault(split, [])
        group.append(sample)
        if len(group) == size:
            yield Part(split, size, tuple(waiting.pop(split)))
    for split, group in waiting.items():
        yield Part(split, len(group), tuple(group))


def folder_samples(root: Path, split: str) -> Iterator[tuple[str, Sample]]:
    """Pictures below a folder; the folders above one are its label. ``train``, ``val`` and ``test`` are splits."""
    found = [name for name in SPLITS if (root / name).is_dir()]
    for name, top in [(name, f"{name}/") for name in found] or [(split, "")]:
        for path in _walk(root, top):
            label = tuple(path[len(top) :].split("/")[:-1])
            yield name, Sample(path, label or ((root / top).resolve().name,))


def table_samples(table: Path, split: str, outside: bool) -> Iterator[tuple[str, Sample]]:
    """Rows of a CSV with the columns ``path``, ``label`` (a path with ``/``) and perhaps ``split``.

    Raises:
        UserError: Columns are missing, a row has too few cells, or its path leaves the table's folder.
    """
    lines = read_csv(table)
    _, header = next(lines, (0, []))
    if absent := [f"no column {name!r}" for name in ("path", "label") if name not in header]:
        raise UserError(f"{table}: not the table of a data set", absent, "Name the columns path,label[,split].")
    for line, cells in lines:
        row = dict(zip(header, cells, strict=False))
        if not row.get("path") or not row.get("label"):
            raise UserError(f"{table}:{line}: path or label is empty")
        if leaves_root(row["path"]) and not outside:
            raise UserError(
                f"{table}:{line}: the path leaves the folder {table.parent}: {row['path']}",
                hint="--outside allows that, for a table you trust.",
            )
        name = row.get("split") or split
        if name not in SPLITS:
            raise UserError(f"{table}:{line}: unknown split {name!r}")
        yield name, Sample(row["path"], tuple(part for part in row["label"].split("/") if part))


def card_samples(table: Table) -> Iterator[tuple[str, Sample]]:
    """Samples of a data set that its card has read."""
    for name, split in table.splits.items():
        for key, label in zip(split.keys, names_of(table.taxonomy, split.nodes), strict=True):
            yield name, Sample(key, label)


def _walk(root: Path, below: str) -> Iterator[str]:
    """Paths of pictures from the root on, sorted; texts only: of a flat folder of millions all names are held."""
    names: list[str] = []
    folders: set[str] = set()
    with os.scandir(root / below) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.add(entry.name)
            elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS:
                names.append(entry.name)
    names += folders
    names.sort()
    for name in names:
        if name in folders:
            yield from _walk(root, f"{below}{name}/")
        else:
            yield below + name
