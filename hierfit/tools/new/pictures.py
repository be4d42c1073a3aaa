"""Which file each cell of a table means: paths from elsewhere, absolute, without ending, or in another spelling."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from urllib.parse import unquote

from hierfit.data.images import EXTENSIONS
from hierfit.tools.new.exports import names_picture

_LOOKED_AT = 2000  # cells, to find out how they begin
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the names of files

Parts = tuple[str, ...]
Way = tuple[Parts, Parts]
"""What is cut off from the beginning of a cell, and the folder that stands in its place."""


class UnclearError(ValueError):
    """Cells that fit several files alike."""


class Pictures:
    """The files below a folder, found by more or less of their paths; case and Unicode forms do not matter.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths: set[str] = set()
        self._path: dict[Parts, str] = {}  # of each path, and of each without its ending
        self._named: dict[str, list[Parts]] = {}  # paths by their last part, with ending and without
        self.folders: set[str] = set()
        self._folders: set[Parts] = {()}
        for path in sorted(_files(root), key=lambda path: (_ending(path) not in EXTENSIONS, path)):
            self.paths.add(path)
            self.folders.add(path.rpartition("/")[0])
            parts = _parts(path)
            bare = (*parts[:-1], _stem(parts[-1]))
            for form in dict.fromkeys((parts, bare, (*bare[:-1], _without_zeros(bare[-1])))):
                if form not in self._path:
                    self._path[form] = path
                    self._named.setdefault(form[-1], []).append(form)
            self._folders.update(parts[:depth] for depth in range(1, len(parts)))

    def find(self, cells: Sequence[str], near: str = "") -> list[str]:
        """Path from the root of the picture that each cell names; empty where none is there.

        All cells are read in the same few ways: one folder before them, and one beginning cut off. A cell that is a
        bare name is found wherever it lies, if one file alone has it.

        Args:
            cells: Paths as a table has them.
            near: Folder of that table from the root on; its files go first.

        Raises:
            UnclearError: Most of them fit several files.
        """
        if all(cell in self.paths for cell in cells) and not near:
            return list(cells)
        known = [_parts(cell) for cell in cells]
        here = _parts(near)
        votes: Counter[Way] = Counter()
        unclear = 0
        looked_at = known[:: max(len(known) // _LOOKED_AT, 1)]
        for parts in looked_at:
            ways = list(self._ways(parts, here))
            unclear += len(ways) > 1
            votes.update(ways)
        if unclear > len(looked_at) / 2:
            shown = sorted("/".join(folder) or "." for _, folder in votes)[:3]
            raise UnclearError(f"{cells[0]!r} and others are in {', '.join(shown)} and so on")
        most = max(votes.values(), default=0)
        # The beginning that is cut off must not be a folder that is there: its file is missing then, and no other's.
        ways = [
            way for way, count in votes.most_common() if count >= max(most / 20, min(most, 2)) and self._is_cut(way)
        ]
        ways += [way for way in (((), here), ((), ())) if way not in ways]
        ways.sort(key=lambda way: (way != ((), here), way != ((), ())))
        before = f"{near}/" if near else ""
        return [
            f"{before}{cell}" if f"{before}{cell}" in self.paths else self._one(parts, ways)
            for cell, parts in zip(cells, known, strict=True)
        ]

    def _one(self, parts: Parts, ways: Sequence[Way]) -> str:
        for form in _forms(parts):
            for cut, folder in ways:
                if form[: len(cut)] == cut and (found := self._path.get((*folder, *form[len(cut) :]))):
                    return found
            if len(form) == 1 and len(there := self._named.get(form[0], [])) == 1:
                return self._path[there[0]]
        return ""

    def _ways(self, parts: Parts, here: Parts) -> Iterator[Way]:
        """How a cell may be read, by the files that end most like it."""
        for form in _forms(parts):
            found: dict[Way, int] = {}
            for path in self._named.get(form[-1], ()):
                same = sum(
                    1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(form[::-1], path[::-1], strict=False))
                )
                found[form[:-same], path[:-same]] = same
            for exact in ((), here), ((), ()):
                if exact in found:
                    yield exact
                    return
            if found:
                longest = max(found.values())
                yield from (way for way, same in found.items() if same == longest)
                return

    def _is_cut(self, way: Way) -> bool:
        cut, _ = way
        return not cut or cut not in self._folders


def _forms(parts: Parts) -> Iterator[Parts]:
    """The parts of a cell as they are, without the ending, and without what an upload put before the name."""
    if not parts:
        return
    yield parts
    if names_picture(parts[-1]):
        yield (*parts[:-1], _stem(parts[-1]))
    if (name := _without_zeros(_stem(parts[-1]))) != parts[-1]:
        yield (*parts[:-1], name)
    if (name := _UPLOADED.sub("", parts[-1])) != parts[-1]:
        yield (name,)


def _parts(path: str) -> Parts:
    """``C:\\im\\A.JPG``, ``file:///data/im/a.jpg`` and ``/data/local-files/?d=im/a.jpg`` as parts, of one case."""
    if "?d=" in path:
        path = path.partition("?d=")[2]
    if "://" in path:
        path = unquote(path.partition("://")[2].partition("?")[0])
    text = unicodedata.normalize("NFC", path).replace("\\", "/").casefold()
    return tuple(part for part in text.split("/") if part not in ("", "."))


def _stem(name: str) -> str:
    return os.path.splitext(name)[0] if names_picture(name) else name


def _without_zeros(stem: str) -> str:
    """``7`` of ``007``, which a spreadsheet takes for a number."""
    return stem.lstrip("0") or "0" if stem.isdecimal() else stem


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _files(root: Path) -> Iterator[str]:
    for where, folders, files in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = os.path.relpath(where, root).replace(os.sep, "/")
        before = "" if inside == "." else f"{inside}/"
        yield from (f"{before}{name}" for name in files if not name.startswith(".") and _may_be_picture(name))


def _may_be_picture(name: str) -> bool:
    return names_picture(name) or not os.path.splitext(name)[1]
