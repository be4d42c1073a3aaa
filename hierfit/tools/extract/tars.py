"""WebDataset-style tar shards: files of one sample stand together and share their name up to the first dot.

A sample is a picture and its label: ``.cls`` (a number), ``.txt`` (names, with ``/`` between) or ``.json`` (``label``
or ``path``). Nothing is ever unpacked: members' names are labels on bytes, and links and devices are passed over.
Planning reads headers only; work reads from where a part begins, some pictures at a time.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from hierfit.data.images import EXTENSIONS
from hierfit.errors import UserError


class Packed(NamedTuple):
    """A sample of a tar: its name, where its first header begins, its label and its encoded picture."""

    key: str
    offset: int
    label: tuple[str, ...]
    picture: bytes


def read_tar(path: Path, offset: int = 0, content: bool = True) -> Iterator[Packed]:
    """Each sample, from a place on; without labels and pictures where the content is not wanted.

    Raises:
        UserError: The tar is damaged, or a label cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for key, members in groupby(_members(tar), key=lambda member: _split_name(member.name)[0]):
                    start, picture, label = -1, None, None
                    for member in members:
                        start = member.offset if start < 0 else start
                        suffix = _split_name(member.name)[1]
                        picture = member if suffix in EXTENSIONS else picture
                        label = member if suffix in (".cls", ".txt", ".json") else label
                    if picture is not None and content:
                        names = () if label is None else _label(label.name, _content(tar, label), path)
                        yield Packed(key, start, names or ("unlabelled",), _content(tar, picture))
                    elif picture is not None:
                        yield Packed(key, start, (), b"")
    except UserError:
        raise
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError) as error:  # of numbers in headers, too
        raise UserError(f"{path}: damaged: {error}", hint="Fetch this shard again; finished parts stay.") from error


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Its files."""
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # it would keep every header
        if member.isfile() and not member.issparse():  # a sparse file of a few bytes can be read as any number of them
            yield member
    # tarfile takes a header that it cannot read for the end.
    file = tar.fileobj
    assert file is not None
    file.seek(tar.offset)
    if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"no header at byte {tar.offset}")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def _split_name(name: str) -> tuple[str, str]:
    folder, _, base = name.rpartition("/")
    stem, dot, rest = base.partition(".")
    return f"{folder}/{stem}" if folder else stem, (dot + rest.rpartition(".")[2]).lower() if dot else ""


def _label(name: str, content: bytes, path: Path) -> tuple[str, ...]:
    try:
        text = content.decode("utf-8").strip()
        found: object = text
        if name.lower().endswith(".json"):
            facts = json.loads(text)
            found = facts.get("path", facts.get("label")) if isinstance(facts, dict) else facts
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: {name}: not a label: {error}") from error
    names = map(str, found) if isinstance(found, list) else str(found).split("/")
    return tuple(name.strip() for name in names if name.strip())
