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
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from hierfit.data.images import EXTENSIONS, decode
from hierfit.errors import UserError
from hierfit.tools.extract.parts import Label, Part, Sample

_IN_NAME = re.compile(r"(?:^|[^a-z])(train|val|test)(?:[^a-z]|$)")
_ENOUGH = 64 * 2**20  # bytes of pictures in memory at once


def find_tars(source: Path) -> list[Path]:
    """The tar itself, or those in a folder; empty where there are none."""
    if source.is_file() and source.suffix == ".tar":
        return [source]
    return sorted(source.glob("*.tar")) if source.is_dir() else []


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
        with _opened(path, 0) as opened:
            for group in _groups(opened):
                if group.picture is None:
                    continue
                if count == size:
                    yield Part(name, count, tar=tar, offset=offset)
                    count = 0
                offset, count = (group.offset if count == 0 else offset), count + 1
        if count:
            yield Part(name, count, tar=tar, offset=offset)


def read_tar(path: Path, offset: int = 0) -> Iterator[tuple[str, Label, bytes]]:
    """Key, label and encoded picture of each sample, from a place on.

    Raises:
        UserError: The tar is damaged.
    """
    with _opened(path, offset) as tar:
        for group in _groups(tar):
            if group.picture is None:
                continue
            label: Label = ()
            if group.label is not None:
                suffix = _split_name(group.label.name)[1]
                label = _label(suffix, _content(tar, group.label), f"{path}: {group.label.name}")
            yield group.key, label or ("unlabelled",), _content(tar, group.picture)


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
            key, label, content = next(found, ("", (), b""))
            if not content:
                raise UserError(f"{part.tar}: changed while it was worked on", hint="Remove the parts, and begin anew.")
            samples.append(Sample(str(len(samples)), label))
            pictures.append((key, content))
            held, left = held + len(content), left - 1
        yield samples, Encoded(pictures, Path(part.tar).name)


class _Group(NamedTuple):
    key: str
    offset: int
    picture: tarfile.TarInfo | None
    label: tarfile.TarInfo | None


def _groups(tar: tarfile.TarFile) -> Iterator[_Group]:
    group: _Group | None = None
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # it would keep every header
        if not member.isfile() or member.issparse():  # a sparse file of a few bytes can be read as any number of them
            continue
        key, suffix = _split_name(member.name)
        if group is None or key != group.key:
            if group is not None:
                yield group
            group = _Group(key, member.offset, None, None)
        if suffix in EXTENSIONS:
            group = group._replace(picture=member)
        elif suffix in (".cls", ".txt", ".json"):
            group = group._replace(label=member)
    if group is not None:
        yield group
    # tarfile takes a header that it cannot read for the end.
    file = tar.fileobj
    assert file is not None
    file.seek(tar.offset)
    if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"no header at byte {tar.offset}")


@contextmanager
def _opened(path: Path, offset: int) -> Iterator[tarfile.TarFile]:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                yield tar
    except UserError:
        raise
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError) as error:  # of numbers in headers, too
        raise UserError(f"{path}: damaged: {error}", hint="Fetch this shard again; finished parts stay.") from error


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


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
