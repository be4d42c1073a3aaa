"""WebDataset-style tar shards: files of one sample stand together and share their name up to the first dot.

A sample is a picture and its label: ``.cls`` (a number), ``.txt`` (names, with ``/`` between) or ``.json`` (``label``
or ``path``). Nothing is ever unpacked: members' names are labels on bytes, and links and devices are passed over.
Planning reads headers only; work reads from where a part begins, some pictures at a time.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from hierfit.data.images import EXTENSIONS, decode
from hierfit.data.samples import Sample
from hierfit.errors import UserError
from hierfit.tools.extract.parts import Part

_IN_NAME = re.compile(r"(?:^|[^a-z])(train|val|test)(?:[^a-z]|$)")
_ENOUGH = 64 * 2**20  # bytes of pictures in memory at once


class Packed(NamedTuple):
    """A sample of a tar: its name, where its first header begins, its label and its encoded picture."""

    key: str
    offset: int
    label: tuple[str, ...]
    picture: bytes


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
