"""Where pictures come from: a data card, a folder, a table or tars; in parts that are worked on one by one.

Nothing here holds all pictures at once: a folder is walked, one listing in memory; a table is read line by line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hierfit.backbone import node_texts
from hierfit.data.card import load_card
from hierfit.data.images import EXTENSIONS, Files, passed_over, passed_over_text
from hierfit.data.names import clean_name
from hierfit.data.records import read_csv
from hierfit.data.samples import SPLITS, Images, Sample, Table, leaves_root, names_of
from hierfit.data.table import read_table
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.tools.extract.parts import Part, parts_of
from hierfit.tools.extract.tars import tar_parts


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
