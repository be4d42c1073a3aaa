"""Which column of a table names the pictures, and which file each of its cells means."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from urllib.parse import unquote

from hierfit.data.images import EXTENSIONS
from hierfit.errors import UserError, nearest
from hierfit.tools.new.found import Options, split_in, split_word
from hierfit.tools.new.records import Records, names_picture

_LOOKED_AT = 2000  # cells, to find out how they begin
_TRIED = 500  # cells, to find out which column names pictures
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the names of files
_BESIDE = ("annotations", "labels", "metadata", "json", "csv")  # folders of tables, beside those of pictures

PathParts = tuple[str, ...]
Way = tuple[PathParts, PathParts]
"""What is cut off from the beginning of a cell, and the folder that stands in its place."""


class UnclearError(ValueError):
    """Cells that fit several files alike."""


class PathIndex:
    """The files below a folder, found by more or less of their paths; case and Unicode forms do not matter."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths: set[str] = set()
        self._path: dict[PathParts, str] = {}  # of each path, and of each without its ending
        self._named: dict[str, list[PathParts]] = {}  # paths by their last part, with ending and without
        self.folders: set[str] = set()
        self._folders: set[PathParts] = {()}
        for path in sorted(_files(root), key=lambda path: (_ending(path) not in EXTENSIONS, path)):
            self.paths.add(path)
            self.folders.add(path.rpartition("/")[0])
            parts = _parts(path)
            for form in _forms(parts):
                if form not in self._path:
                    self._path[form] = path
                    self._named.setdefault(form[-1], []).append(form)
            self._folders.update(parts[:depth] for depth in range(1, len(parts)))

    def find(self, cells: Sequence[str], near: str = "") -> list[str]:
        """Path from the root of the picture that each cell names; empty where none is there.

        All cells are read in the same few ways: one folder before them, and one beginning cut off. A cell that is a
        bare name is found wherever it lies, if one file alone has it. Files in the table's own folder (`near`, from the
        root on) go first.

        Raises:
            UnclearError: Most of them fit several files.
        """
        if not near and all(cell in self.paths for cell in cells):
            return list(cells)
        known, here = [_parts(cell) for cell in cells], _parts(near)
        looked_at = [self._ways(parts, here) for parts in known[:: max(len(known) // _LOOKED_AT, 1)]]
        votes = Counter(way for ways in looked_at for way in ways)
        if sum(len(ways) > 1 for ways in looked_at) > len(looked_at) / 2:
            shown = sorted("/".join(folder) or "." for _, folder in votes)[:3]
            raise UnclearError(f"{cells[0]!r} and others are in {', '.join(shown)} and so on")
        most = max(votes.values(), default=0)
        # The beginning that is cut off must not be a folder that is there: its file is missing then, and no other's.
        ways = dict.fromkeys((((), here), ((), ()))) | {
            (cut, folder): None for (cut, folder), count in votes.most_common()
            if count >= max(most / 20, min(most, 2)) and not (cut and cut in self._folders)}  # fmt: skip
        before = f"{near}/" if near else ""
        return [f"{before}{cell}" if f"{before}{cell}" in self.paths else self._one(parts, [*ways])
                for cell, parts in zip(cells, known, strict=True)]  # fmt: skip

    def _one(self, parts: PathParts, ways: Sequence[Way]) -> str:
        for form in _forms(parts):
            for cut, folder in ways:
                if form[: len(cut)] == cut and (found := self._path.get((*folder, *form[len(cut) :]))):
                    return found
            if len(form) == 1 and len(there := self._named.get(form[0], [])) == 1:
                return self._path[there[0]]
        return ""

    def _ways(self, parts: PathParts, here: PathParts) -> list[Way]:
        """How a cell may be read, by the files that end most like it."""
        for form in _forms(parts):
            found: dict[Way, int] = {}
            for path in self._named.get(form[-1], ()):
                pairs = zip(reversed(form), reversed(path), strict=False)
                same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
                found[form[:-same], path[:-same]] = same
            exact: list[Way] = [way for way in (((), here), ((), ())) if way in found]
            if found:
                return exact[:1] or [way for way, same in found.items() if same == max(found.values())]
        return []


def locate(
    root: Path, parts: Mapping[str, Records], names: Sequence[str], options: Options
) -> tuple[Path, str, list[str]]:
    """The folder of the pictures, the column that names them, and the path of each row's, empty where none is there.

    `root` is the folder of the table, `parts` the table of each split, or one, and `names` the columns they share.

    Raises:
        UserError: No column names pictures that are there, or it fits several of them alike.
    """
    if options.path and options.path not in names:
        raise UserError(f"--path-column: there is no column {options.path!r}{nearest(options.path, names)}")
    first = next(iter(parts.values()))
    candidates = [options.path] if options.path else [n for n in names if len(set(first.columns[n])) > 1] or list(names)
    unclear: UnclearError | None = None
    for home in _homes(root, parts, candidates):
        files = PathIndex(home)
        found: dict[str, int] = {}
        for name in candidates:
            try:
                found[name] = len(set(_paths(files, parts, [name], _TRIED)) - {""})
            except UnclearError as error:
                unclear = error
                for folder in names:  # a column of folders may stand beside that of names
                    if folder != name and (paths := _joined(files, parts, [folder, name])):
                        return home, name, paths
        best = max(found, key=lambda name: (found[name], sum(map(names_picture, first.columns[name]))), default="")
        if best and found[best]:
            return home, best, _paths(files, parts, [best])
    if unclear is not None:
        hint = "Give the folder that is meant, with the table in it; or paths instead of names."
        raise UserError(f"{first.path}: its names fit several pictures alike", [str(unclear)], hint)
    cells = [cell for name in names for cell in first.columns[name] if names_picture(cell)]
    if cells:
        links = any("://" in cell for cell in cells)
        hint = ("hierfit downloads nothing: fetch the pictures first. " if links else "") + (
            f"Paths start from {root} or a folder in it: put the table beside the pictures; --path-column names the "
            "column."
        )
    else:
        hint = ("If it is the tree: hierfit data new FOLDER --taxonomy FILE, with the folder of the pictures. If a "
                "column names pictures, say which: --path-column.")  # fmt: skip
    what = f"no column of {first.path} holds paths of pictures that are there"
    raise UserError(what, [f"the columns are {', '.join(names)}"], hint)


def _joined(files: PathIndex, parts: Mapping[str, Records], names: Sequence[str]) -> list[str]:
    """The pictures by several columns together, where nearly all are there; else none."""
    try:
        paths = _paths(files, parts, names)
    except UnclearError:
        return []
    return paths if sum(map(bool, paths)) > 0.9 * len(paths) else []


def _paths(files: PathIndex, parts: Mapping[str, Records], names: Sequence[str], most: int | None = None) -> list[str]:
    found: list[str] = []
    for split, part in parts.items():
        cells = ["/".join(row) for row in zip(*(part.columns[name][:most] for name in names), strict=True)]
        found += files.find(cells, _near(files, part.path, split, cells[:_TRIED]))
    return found


def _near(files: PathIndex, table: Path, split: str, cells: Sequence[str]) -> str:
    """The folder whose files go first: the table's own, or one that is called like its split."""
    own = os.path.relpath(table.parent, files.root).replace(os.sep, "/")
    meant = split or split_in(table.stem)
    folders = [name for name in files.folders if meant and split_word(posixpath.basename(name)) == meant]
    folders = folders if own.startswith(".") else [own, *folders]
    hits = {name: sum(f"{name}/{cell}" in files.paths for cell in cells) for name in folders}
    best = max(folders, key=lambda name: hits[name], default="")
    return best if best and (hits[best] or best == own) else ""


def _homes(root: Path, parts: Mapping[str, Records], names: Sequence[str]) -> Iterator[Path]:
    """Folders that may hold the pictures: that of the table, where absolute paths lead, the one above."""
    yield root
    cells = (cell for part in parts.values() for name in names for cell in part.columns[name])
    absolute = [os.path.dirname(cell) for cell in cells
                if posixpath.isabs(cell) and names_picture(cell) and os.path.isfile(cell)]  # fmt: skip
    if absolute:
        yield Path(os.path.commonpath(absolute))
    above = root.resolve().parent
    if above not in (Path.home(), Path(above.anchor)) and root.resolve().name in _BESIDE:
        yield above


def _forms(parts: PathParts) -> list[PathParts]:
    """The parts of a path as they are, without the ending or zeros (``7`` of ``007``, which a spreadsheet takes for a
    number and may write ``7.0``), and without what an upload put before the name."""
    if not parts:
        return []
    *folders, name = parts
    stem = os.path.splitext(name)[0] if names_picture(name) else name
    number = stem.removesuffix(".0")
    number = number.lstrip("0") or "0" if number.isdecimal() else number
    uploaded = _UPLOADED.sub("", name)
    forms = [parts, (*folders, stem), (*folders, number), *([(uploaded,)] if uploaded != name else [])]
    return list(dict.fromkeys(forms))


def _parts(path: str) -> PathParts:
    """``C:\\im\\A.JPG``, ``file:///data/im/a.jpg`` and ``/data/local-files/?d=im/a.jpg`` as parts, of one case."""
    if "?d=" in path:
        path = path.partition("?d=")[2]
    if "://" in path:
        path = unquote(path.partition("://")[2].partition("?")[0])
    text = unicodedata.normalize("NFC", path).replace("\\", "/").casefold()
    return tuple(part for part in text.split("/") if part not in ("", "."))


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _files(root: Path) -> Iterator[str]:
    """Paths of what may be pictures."""
    for where, folders, files in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = os.path.relpath(where, root).replace(os.sep, "/")
        before = "" if inside == "." else f"{inside}/"
        for name in files:
            if not name.startswith(".") and (names_picture(name) or not _ending(name)):
                yield f"{before}{name}"
