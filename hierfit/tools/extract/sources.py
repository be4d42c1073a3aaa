"""Where pictures come from: a data card, a folder, a table or tars; in parts that are worked on one by one.

Nothing here holds all pictures at once: a folder is walked, one listing in memory; a table is read line by line.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from hierfit.backbone import node_texts
from hierfit.data.card import load_card
from hierfit.data.images import EXTENSIONS, Files, decode, passed_over, passed_over_text
from hierfit.data.names import clean_name
from hierfit.data.records import read_csv
from hierfit.data.samples import SPLITS, Images, Sample, Table, leaves_root, names_of
from hierfit.data.table import read_table
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.tools.extract.tars import read_tar

_IN_NAME = re.compile(r"(?:^|[^a-z])(train|val|test)(?:[^a-z]|$)")
_ENOUGH = 64 * 2**20  # bytes of pictures in memory at once


@dataclass(frozen=True)
class Part:
    """Some pictures of one split: a list of them, or so many of a tar from a place on.

    Attributes:
        split: Theirs.
        size: How many.
        samples: The list; their labels are names from the root of the tree down. Empty for a tar.
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
        return json.dumps({**vars(self), "samples": [sample[1:] for sample in self.samples]})

    @classmethod
    def from_json(cls, text: str) -> Part:
        """From that line."""
        content = json.loads(text)
        samples = tuple(Sample(content["split"], key, tuple(label)) for key, label in content.pop("samples"))
        return cls(**content, samples=samples)


def parts_of(samples: Iterator[Sample], size: int) -> Iterator[Part]:
    """Samples as parts of at most so many pictures, each of one split."""
    waiting: dict[str, list[Sample]] = {}
    for sample in samples:
        group = waiting.setdefault(sample.split, [])
        group.append(sample)
        if len(group) == size:
            yield Part(sample.split, size, tuple(waiting.pop(sample.split)))
    for split, group in waiting.items():
        yield Part(split, len(group), tuple(group))


@dataclass(frozen=True)
class Source:
    """Pictures to encode.

    Attributes:
        parts: As they are found.
        images: Gives the pictures of parts that are lists; None for tars.
        tree: A card's; None where it is made of the labels.
        texts: The prompts of each node of a tree.
        remark: What of the source is not encoded.
        drawn: Whether the bundled towers know such pictures.
    """

    parts: Iterator[Part]
    images: Images | None = None
    tree: Taxonomy | None = None
    texts: Callable[[Taxonomy], list[list[str]]] = lambda tree: node_texts(tree, {})
    remark: str = ""
    drawn: bool = False


def open_source(name: str, root: str | None, split: str, outside: bool, size: int) -> Source:
    """Opens a source; nothing but a card is read yet.

    Args:
        name: Card, folder, table (``.csv``), tar or folder of tars.
        root: Where the data of a card lie.
        split: Of what names none.
        outside: A table's paths may leave its folder.
        size: Pictures a part.

    Raises:
        UserError: There is no such card, or its data are not as it says.
    """
    path = Path(name).expanduser()
    if path.is_file() and path.suffix == ".tar":
        return Source(tar_parts([path], split, size))
    if path.is_dir() and (tars := sorted(path.glob("*.tar"))):
        return Source(tar_parts(tars, split, size))
    if path.is_dir():
        unread = passed_over(path)
        remark = passed_over_text(unread) if unread else ""
        return Source(parts_of(folder_samples(path, split), size), Files(path), remark=remark)
    if path.is_file() and path.suffix == ".csv":
        return Source(parts_of(table_samples(path, split, outside), size), Files(path.parent))
    card = load_card(name)
    table = read_table(card, root)
    if table.images is None:
        raise UserError(f"card {card.name!r} holds features already", hint=f"See `hierfit features export {name}`.")
    return Source(parts_of(card_samples(table), size), table.images, table.taxonomy, card.texts, drawn=card.is_drawn)


def folder_samples(root: Path, split: str) -> Iterator[Sample]:
    """Pictures below a folder; the folders above one are its label. ``train``, ``val`` and ``test`` are splits."""
    found = [name for name in SPLITS if (root / name).is_dir()]
    for name, top in [(name, f"{name}/") for name in found] or [(split, "")]:
        for path in _walk(root, top):
            label = tuple(map(clean_name, path[len(top) :].split("/")[:-1]))
            yield Sample(name, path, label or (clean_name((root / top).resolve().name),))


def table_samples(table: Path, split: str, outside: bool) -> Iterator[Sample]:
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
        yield Sample(name, row["path"], tuple(map(clean_name, filter(None, row["label"].split("/")))))


def card_samples(table: Table) -> Iterator[Sample]:
    """Samples of a data set that its card has read."""
    for name, split in table.splits.items():
        for key, label in zip(split.keys, names_of(table.taxonomy, split.nodes), strict=True):
            yield Sample(name, key, label)


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
    for name in sorted([*names, *folders]):
        if name in folders:
            yield from _walk(root, f"{below}{name}/")
        else:
            yield below + name


def tar_parts(tars: list[Path], split: str, size: int) -> Iterator[Part]:
    """Parts of at most so many pictures; their split is the one that the tar's name holds, else ``split``.

    ``imagenet-val-0003.tar`` holds ``val``.

    Raises:
        UserError: A tar is damaged.
    """
    for path in tars:
        named = _IN_NAME.search(path.name.lower())
        name, tar = named[1] if named else split, str(path.resolve())
        offset = count = 0
        for sample in read_tar(path, content=False):
            if count == size:
                yield Part(name, count, tar=tar, offset=offset)
                count = 0
            offset, count = (sample.offset if count == 0 else offset), count + 1
        if count:
            yield Part(name, count, tar=tar, offset=offset)


class Encoded:
    """Pictures of one tar while they are worked on: their names and bytes; keys are their numbers."""

    def __init__(self, pictures: list[tuple[str, bytes]], where: str) -> None:
        self.pictures, self.where = pictures, where

    def load(self, key: str) -> Image.Image:
        """The picture in RGB, upright; raises `UserError` naming it."""
        name, content = self.pictures[int(key)]
        return decode(io.BytesIO(content), f"{self.where}: {name}")

    def stamp(self, key: str) -> str:
        """Its name."""
        return self.pictures[int(key)][0]


def tar_pieces(part: Part, size: int) -> Iterator[tuple[list[Sample], Encoded]]:
    """The pictures of a part, at most so many at a time, and fewer where they are large."""
    found, left = read_tar(Path(part.tar), part.offset), part.size
    while left:
        samples: list[Sample] = []
        pictures: list[tuple[str, bytes]] = []
        held = 0
        while left and len(samples) < size and held < _ENOUGH:
            packed = next(found, None)
            if packed is None:
                raise UserError(f"{part.tar}: changed while it was worked on", hint="Remove the parts, and begin anew.")
            samples.append(Sample(part.split, str(len(samples)), packed.label))
            pictures.append((packed.key, packed.picture))
            held, left = held + len(packed.picture), left - 1
        yield samples, Encoded(pictures, Path(part.tar).name)
