"""Where pictures come from: a data card, a folder, a table or tars. Only the samples of a card are held all at once.

Tars are WebDataset-style shards: files of one sample stand together and share their name up to the first dot. Beside a
picture stands its label: ``.cls`` (a number), ``.txt`` (names, ``/`` between) or ``.json`` (``label`` or ``path``).
Nothing is unpacked: members' names are labels on bytes, and links, devices and sparse files are passed over.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from hierfit.backbone import node_texts
from hierfit.data.card import load_card
from hierfit.data.images import EXTENSIONS, Files, Stored, passed_over, passed_over_text, pictures_below
from hierfit.data.names import clean_name
from hierfit.data.records import read_by_column
from hierfit.data.samples import SPLITS, Images, Sample, leaves_root, names_of
from hierfit.data.table import read_table
from hierfit.errors import UserError, reading
from hierfit.taxonomy import Taxonomy

_IN_NAME = re.compile(r"(?:^|[^a-z])(train|val|test)(?:[^a-z]|$)")


@dataclass(frozen=True)
class PictureSource:
    """Pictures to encode.

    Attributes:
        samples: As they are found; labels are names from the root of the tree down.
        tree: A card's; None where it is made of the labels.
        texts: The prompts of each node of a tree.
        remark: What of the source is not encoded.
        drawn: Whether the bundled towers know such pictures.
    """

    samples: Iterator[Sample]
    images: Images
    tree: Taxonomy | None = None
    texts: Callable[[Taxonomy], list[list[str]]] = lambda tree: node_texts(tree, {})
    remark: str = ""
    drawn: bool = False


def open_source(name: str, root: str | None, split: str, outside: bool) -> PictureSource:
    """Opens a source; nothing but a card is read yet.

    Args:
        name: Card, folder, table (``.csv``), tar or folder of tars.
        outside: A table's paths may leave its folder.

    Raises:
        UserError: There is no such card, or its data are not as it says.
    """
    path = Path(name).expanduser()
    if path.is_file() and path.suffix == ".tar":
        return PictureSource(tar_samples([path], split), Tars(path.parent))
    if path.is_dir() and (tars := sorted(path.glob("*.tar"))):
        return PictureSource(tar_samples(tars, split), Tars(path))
    if path.is_dir():
        remark = passed_over_text(unread) if (unread := passed_over(path)) else ""
        return PictureSource(_folder_samples(path, split), Files(path), remark=remark)
    if path.is_file() and path.suffix == ".csv":
        return PictureSource(table_samples(path, split, outside), Files(path.parent))
    card = load_card(name)
    table = read_table(card, root)
    if table.images is None:
        raise UserError(f"card {card.name!r} holds features already", hint=f"See `hierfit features export {name}`.")
    samples = (
        Sample(part, key, label)
        for part, found in table.splits.items()
        for key, label in zip(found.keys, names_of(table.taxonomy, found.nodes), strict=True)
    )
    return PictureSource(samples, table.images, table.taxonomy, card.texts, drawn=card.is_drawn)


def _folder_samples(root: Path, split: str) -> Iterator[Sample]:
    """Pictures below a folder; the folders above one are its label. ``train``, ``val`` and ``test`` are splits."""
    for name, top in [(s, root / s) for s in SPLITS if (root / s).is_dir()] or [(split, root)]:
        for path in pictures_below(top):
            label = path.relative_to(top).parts[:-1] or (top.resolve().name,)
            yield Sample(name, path.relative_to(root).as_posix(), tuple(map(clean_name, label)))


def table_samples(table: Path, split: str, outside: bool) -> Iterator[Sample]:
    """Rows of a CSV with the columns ``path``, ``label`` (a path with ``/``) and perhaps ``split``.

    Raises:
        UserError: Columns are missing, a row has too few cells, or its path leaves the table's folder.
    """
    for line, row, _ in read_by_column(table, ("path", "label")):
        if not row.get("path") or not row.get("label"):
            raise UserError(f"{table}:{line}: path or label is empty")
        if leaves_root(row["path"]) and not outside:
            raise UserError(
                f"{table}:{line}: the path leaves the folder {table.parent}: {row['path']}",
                hint="--outside allows that, for a table you trust.",
            )
        if (name := row.get("split") or split) not in SPLITS:
            raise UserError(f"{table}:{line}: unknown split {name!r}")
        yield Sample(name, row["path"], tuple(map(clean_name, filter(None, row["label"].split("/")))))


def tar_samples(tars: Sequence[Path], split: str) -> Iterator[Sample]:
    """Pictures of shards, of which headers and labels are read; for their keys see `Tars`.

    The split is one that a shard's name holds (``imagenet-val-0003.tar``), else ``split``.

    Raises:
        UserError: A shard is damaged, or a label cannot be read.
    """
    for path in tars:
        named = _IN_NAME.search(path.name.lower())
        try:
            with tarfile.open(path, "r:") as tar:
                for _, members in groupby(_members(tar), key=lambda member: _name_parts(member.name)[0]):
                    of_kind = {_name_parts(member.name)[1]: member for member in members}
                    label = next((of_kind[kind] for kind in (".json", ".txt", ".cls") if kind in of_kind), None)
                    names = () if label is None else _label_in(tar, label, path)
                    for picture in [member for kind, member in of_kind.items() if kind in EXTENSIONS][-1:]:
                        key = f"{path.name}/{picture.name}@{picture.offset_data}+{picture.size}"
                        yield Sample(named[1] if named else split, key, names or ("unlabelled",))
        except UserError:
            raise
        except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError) as error:  # of numbers in headers, too
            raise UserError(f"{path}: damaged: {error}", hint="Fetch this shard again; finished parts stay.") from error


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Its files."""
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # it would keep every header
        if member.size < 0:
            raise tarfile.ReadError(f"a size below 0 at byte {member.offset}")
        if member.isfile() and not member.issparse():  # a sparse file of a few bytes can be read as any number of them
            yield member
    # tarfile takes a header that it cannot read for the end.
    file = tar.fileobj
    assert file is not None
    file.seek(tar.offset)
    if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"no header at byte {tar.offset}")


def _name_parts(name: str) -> tuple[str, str]:
    """A member's name up to the first dot of its last part, and its ending."""
    folder, _, base = name.rpartition("/")
    stem, dot, rest = base.partition(".")
    return f"{folder}/{stem}" if folder else stem, (dot + rest.rpartition(".")[2]).lower() if dot else ""


def _label_in(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> tuple[str, ...]:
    file = tar.extractfile(member)
    assert file is not None
    try:
        text = file.read().decode("utf-8").strip()
        found: object = text
        if member.name.lower().endswith(".json"):
            facts = json.loads(text)
            found = facts.get("path", facts.get("label")) if isinstance(facts, dict) else facts
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: {member.name}: not a label: {error}") from error
    names = map(str, found) if isinstance(found, list) else str(found).split("/")
    return tuple(name.strip() for name in names if name.strip())


@dataclass(frozen=True)
class Tars(Stored):
    """Pictures of the shards in a folder; a key says where the bytes of one lie: ``shard.tar/7.jpg@1536+20480``."""

    folder: Path

    def read(self, key: str) -> bytes:
        """What is stored of the picture; raises `UserError` naming it."""
        offset, size = map(int, key.rpartition("@")[2].split("+"))
        with reading(key), (self.folder / key.partition("/")[0]).open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def stamp(self, key: str) -> str:
        """Its key."""
        return key
