"""Where pictures come from: a data card, a folder, a table, or tar shards; in parts that are worked on one by one.

Nothing here holds all pictures at once: a folder is walked, a table read line by line, a tar from front to back.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from hierfit.data.images import EXTENSIONS, Files, leaves_root, to_rgb
from hierfit.data.layouts.manifest import read_csv
from hierfit.data.table import SPLITS, Images
from hierfit.errors import UserError

Label = tuple[str, ...]
_IN_NAME = re.compile(r"(?:^|[^a-z])(train|val|test)(?:[^a-z]|$)")


class Sample(NamedTuple):
    """One picture: its key, and its label from the root of the tree down."""

    key: str
    label: Label


@dataclass(frozen=True)
class Part:
    """So many pictures of one split: a list of them, or a tar."""

    split: str
    samples: tuple[Sample, ...] = ()
    tar: str = ""

    def to_json(self) -> str:
        """One line."""
        return json.dumps({"split": self.split, "tar": self.tar, "samples": self.samples}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Part:
        """From that line."""
        content = json.loads(text)
        samples = tuple(Sample(key, tuple(label)) for key, label in content["samples"])
        return cls(content["split"], samples, content["tar"])


def parts_of(samples: Iterator[tuple[str, Sample]], size: int) -> Iterator[Part]:
    """Samples as parts of at most so many pictures, each of one split."""
    waiting: dict[str, list[Sample]] = {}
    for split, sample in samples:
        group = waiting.setdefault(split, [])
        group.append(sample)
        if len(group) == size:
            yield Part(split, tuple(waiting.pop(split)))
    for split, group in waiting.items():
        yield Part(split, tuple(group))


def folder_samples(root: Path, split: str) -> Iterator[tuple[str, Sample]]:
    """Pictures below a folder; the folders above one are its label. ``train``, ``val`` and ``test`` are splits."""
    found = [name for name in SPLITS if (root / name).is_dir()]
    for name, folder in [(name, root / name) for name in found] or [(split, root)]:
        for path in _walk(folder):
            label = path.relative_to(folder).parts[:-1]
            yield name, Sample(path.relative_to(root).as_posix(), label or (folder.resolve().name,))


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


def tar_parts(tars: list[Path], split: str) -> Iterator[Part]:
    """One part a tar; its split is the one its name holds (``imagenet-val-0003.tar``), else ``split``."""
    for path in tars:
        named = _IN_NAME.search(path.name.lower())
        yield Part(named[1] if named else split, tar=str(path.resolve()))


def find_tars(source: Path) -> list[Path]:
    """The tar itself, or those in a folder; empty where there are none."""
    if source.is_file() and source.suffix == ".tar":
        return [source]
    return sorted(source.glob("*.tar")) if source.is_dir() else []


def read_tar(path: Path) -> Iterator[tuple[str, Label, bytes]]:
    """Key, label and encoded picture of each sample of a WebDataset-style tar, read once from front to back.

    Files of one sample stand together and share their name up to the first dot: a picture, and ``.cls`` (a number),
    ``.txt`` (names, with ``/`` between) or ``.json`` (``label`` or ``path``). Nothing is ever unpacked: members'
    names are labels on bytes, and links and devices are passed over.

    Raises:
        UserError: The tar is damaged.
    """
    key, picture, label = "", b"", ()  # type: tuple[str, bytes, Label]
    try:
        with tarfile.open(path, mode="r|") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                stem, suffix = _split_name(member.name)
                if stem != key:
                    if picture:
                        yield key, label or ("unlabelled",), picture
                    key, picture, label = stem, b"", ()
                content = tar.extractfile(member)
                assert content is not None
                if suffix in EXTENSIONS:
                    picture = content.read()
                elif suffix in (".cls", ".txt", ".json"):
                    label = _label(suffix, content.read(), f"{path}: {member.name}")
            if picture:
                yield key, label or ("unlabelled",), picture
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{path}: damaged: {error}", hint="Fetch this shard again; finished parts stay.") from error


class Encoded:
    """Pictures of one tar, by key, while they are worked on."""

    def __init__(self, pictures: dict[str, bytes], where: str) -> None:
        self.pictures, self.where = pictures, where

    def load(self, key: str) -> Image.Image:
        """The picture in RGB; raises `UserError` naming it."""
        try:
            with Image.open(io.BytesIO(self.pictures[key])) as image:
                image.load()
                return to_rgb(image)
        except Exception as error:  # Pillow's plug-ins raise nearly anything on damaged files
            raise UserError(f"{self.where}: {key}: damaged: {str(error) or type(error).__name__}") from error

    def stamp(self, key: str) -> str:
        """Its name."""
        return key


def chunks(part: Part, images: Images | None, size: int) -> Iterator[tuple[list[Sample], Images]]:
    """Pieces of a part, with what gives their pictures; of a tar only one piece is in memory."""
    if not part.tar:
        assert images is not None
        yield list(part.samples), images
        return
    found = read_tar(Path(part.tar))
    while piece := list(islice(found, size)):
        pictures = {key: content for key, _, content in piece}
        yield [Sample(key, label) for key, label, _ in piece], Encoded(pictures, Path(part.tar).name)


def files_of(root: Path) -> Files:
    """Pictures below a folder."""
    return Files(root)


def _walk(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        inside = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
    for name, is_folder in inside:
        if is_folder:
            yield from _walk(folder / name)
        elif Path(name).suffix.lower() in EXTENSIONS:
            yield folder / name


def _split_name(name: str) -> tuple[str, str]:
    folder, _, base = name.rpartition("/")
    stem, dot, rest = base.partition(".")
    return f"{folder}/{stem}" if folder else stem, (dot + rest.rpartition(".")[2]).lower() if dot else ""


def _label(suffix: str, content: bytes, where: str) -> Label:
    try:
        text = content.decode("utf-8").strip()
        if suffix == ".json":
            facts = json.loads(text)
            found = facts.get("path", facts.get("label")) if isinstance(facts, dict) else facts
            names = [str(name) for name in found] if isinstance(found, list) else str(found).split("/")
        else:
            names = text.split("/")
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise UserError(f"{where}: not a label: {error}") from error
    return tuple(name.strip() for name in names if name.strip())
