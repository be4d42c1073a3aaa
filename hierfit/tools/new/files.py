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
from hierfit.tools.new.found import split_in, split_word
from hierfit.tools.new.records import Records, names_picture

_TRIED = 500  # cells, to find out which column names pictures
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the names of files
_TABLE_FOLDERS = ("annotations", "labels", "metadata", "json", "csv")  # folders of tables, beside those of pictures

PathParts = tuple[str, ...]


class UnclearError(ValueError):
    """Cells that fit several files alike."""


class PathIndex:
    """The files below a folder, found by more or less of their paths; case and Unicode forms do not matter."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = {path: _parts(path) for path in sorted(_files_below(root), key=_pictures_first)}
        self.folders = {posixpath.dirname(path) for path in self.paths}
        self._folders = {parts[:depth] for parts in self.paths.values() for depth in range(1, len(parts))}
        self._called: dict[PathParts, list[str]] = {}  # by name, and by folder and name
        for path, parts in self.paths.items():
            for end in {(*above, name) for name in _forms_of(parts[-1]) for above in (parts[-2:-1], ())}:
                self._called.setdefault(end, []).append(path)

    def find(self, cells: Sequence[str], near: str = "") -> list[str]:
        """Path from the root of the picture that each cell names; empty where none is there.

        It is the file whose path ends most like the cell; of several alike the one in the folder `near`, else in the
        folder that most cells mean.

        Raises:
            UnclearError: Most of them fit several files.
        """
        found = [self._candidates(cell, near) for cell in cells]
        folders = Counter(posixpath.dirname(paths[0]) for paths in found if len(paths) == 1)
        if sum(len(paths) > 1 for paths in found) > len(found) / 2:
            several = sorted({posixpath.dirname(path) or "." for paths in found if len(paths) > 1 for path in paths})
            raise UnclearError(f"{cells[0]!r} and others are in {', '.join(several[:3])} and so on")

        def chosen(paths: Sequence[str]) -> str:
            best = max(paths, key=lambda path: folders[posixpath.dirname(path)], default="")
            return best if len(paths) == 1 or folders[posixpath.dirname(best)] else ""

        return [chosen(paths) for paths in found]

    def _candidates(self, cell: str, near: str) -> list[str]:
        """The files that end most like a cell, the exact one if there is one."""
        if exact := [path for path in (posixpath.join(near, cell), cell) if path in self.paths]:
            return exact[:1]
        *above, last = _parts(cell) or ("",)
        for name in _forms_of(last):
            same: dict[str, int] = {}
            for path in self._called.get((*above[-1:], name), self._called.get((name,), [])):
                pairs = zip(reversed(above), reversed(self.paths[path][:-1]), strict=False)
                alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
                cut = tuple(above[: len(above) - alike])
                # What is left over must not end in a folder that is there: the cell's file is missing from that one.
                if not any(cut[start:] in self._folders for start in range(len(cut))):
                    same[path] = alike
            if same:
                best = [path for path, alike in same.items() if alike == max(same.values())]
                beside = [path for path in best if posixpath.dirname(path) == near]
                one_folder = len({posixpath.dirname(path) for path in best}) == 1  # which has it with several endings
                return beside[:1] or (best[:1] if one_folder else best)
        return []


def locate(
    root: Path, parts: Mapping[str, Records], names: Sequence[str], asked: str | None
) -> tuple[Path, str, list[str]]:
    """The folder of the pictures, the column that names them, and the path of each row's, empty where none is there.

    `root` is the folder of the table, `parts` the table of each split, or one, and `names` the columns they share.

    Raises:
        UserError: No column names pictures that are there, or it fits several of them alike.
    """
    if asked and asked not in names:
        raise UserError(f"--path-column: there is no column {asked!r}{nearest(asked, names)}")
    first = next(iter(parts.values()))
    candidates = [asked] if asked else [n for n in names if len(set(first.columns[n])) > 1] or list(names)
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
                    if folder != name and (paths := _in_folders(files, parts, [folder, name])):
                        return home, name, paths
        best = max(found, key=lambda name: (found[name], sum(map(names_picture, first.columns[name]))), default="")
        if best and found[best]:
            return home, best, _paths(files, parts, [best])
    if unclear is not None:
        hint = "Give the folder that is meant, with the table in it; or paths instead of names."
        raise UserError(f"{first.path}: its names fit several pictures alike", [str(unclear)], hint)
    hint = ("If it is the tree: hierfit data new FOLDER --taxonomy FILE, with the folder of the pictures. If a column "
            "names pictures, say which: --path-column.")  # fmt: skip
    if cells := [cell for name in names for cell in first.columns[name] if names_picture(cell)]:
        hint = f"Paths start from {root} or a folder in it: put the table beside the pictures."
        if any("://" in cell for cell in cells):
            hint = f"hierfit downloads nothing: fetch the pictures first. {hint}"
    what = f"no column of {first.path} holds paths of pictures that are there"
    raise UserError(what, [f"the columns are {', '.join(names)}"], hint)


def _in_folders(files: PathIndex, parts: Mapping[str, Records], names: Sequence[str]) -> list[str]:
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
    folders = [*([] if own.startswith(".") else [own]), *folders]
    hits = {name: sum(posixpath.join(name, cell) in files.paths for cell in cells) for name in folders}
    best = max(folders, key=hits.__getitem__, default="")
    return best if best == own or hits.get(best) else ""


def _homes(root: Path, parts: Mapping[str, Records], names: Sequence[str]) -> Iterator[Path]:
    """Folders that may hold the pictures: that of the table, where absolute paths lead, the one above."""
    yield root
    cells = (cell for part in parts.values() for name in names for cell in part.columns[name])
    absolute = [os.path.dirname(cell) for cell in cells
                if posixpath.isabs(cell) and names_picture(cell) and os.path.isfile(cell)]  # fmt: skip
    if absolute:
        yield Path(os.path.commonpath(absolute))
    above = root.resolve().parent
    if above not in (Path.home(), Path(above.anchor)) and root.resolve().name in _TABLE_FOLDERS:
        yield above


def _forms_of(name: str) -> list[str]:
    """A file's name, without its ending, without zeros before a number (a spreadsheet makes 7 of ``007``), and without
    what an upload put before it."""
    stem = os.path.splitext(name)[0] if names_picture(name) else name
    number = stem.lstrip("0") or "0" if stem.isdecimal() else stem
    return list(dict.fromkeys((name, stem, number, _UPLOADED.sub("", name))))


def _parts(path: str) -> PathParts:
    """``C:\\im\\A.JPG``, ``file:///data/im/a.jpg`` and ``/data/local-files/?d=im/a.jpg`` as parts, of one case."""
    if "?d=" in path:
        path = path.partition("?d=")[2]
    if "://" in path:
        path = unquote(path.partition("://")[2].partition("?")[0])
    text = unicodedata.normalize("NFC", path).replace("\\", "/").casefold()
    return tuple(part for part in text.split("/") if part not in ("", "."))


def _pictures_first(path: str) -> tuple[bool, str]:
    return os.path.splitext(path)[1].lower() not in EXTENSIONS, path


def _files_below(root: Path) -> Iterator[str]:
    """Paths of what may be pictures."""
    for where, folders, files in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = os.path.relpath(where, root).replace(os.sep, "/")
        for name in files:
            if not name.startswith(".") and (names_picture(name) or not os.path.splitext(name)[1]):
                yield posixpath.normpath(posixpath.join(inside, name))
