"""Which column of a table names the pictures, and where these lie."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hierfit.config.schema import nearest
from hierfit.data.images import is_file
from hierfit.errors import UserError
from hierfit.tools.new.exports import names_picture
from hierfit.tools.new.found import Options, split_in, split_word
from hierfit.tools.new.pictures import Pictures, UnclearError
from hierfit.tools.new.records import Records

_LOOKED_AT = 500  # rows, to find out which column holds paths
_BESIDE = ("annotations", "labels", "metadata", "json", "csv")  # folders of tables, beside those of pictures


def locate(
    root: Path, parts: Mapping[str, Records], names: Sequence[str], options: Options
) -> tuple[Path, str, list[str]]:
    """The folder of the pictures, the column that names them, and the path of each row's, empty where none is there.

    Args:
        root: Folder of the table.
        parts: The table of each split, or one.
        names: The columns that all of them have.
        options: What the user said.

    Raises:
        UserError: No column names pictures that are there, or it fits several of them alike.
    """
    if options.path and options.path not in names:
        raise UserError(f"--path-column: there is no column {options.path!r}{nearest(options.path, names)}")
    first = next(iter(parts.values()))
    candidates = [options.path] if options.path else [n for n in names if len(set(first.columns[n])) > 1] or list(names)
    unclear: UnclearError | None = None
    for home in _homes(root, parts, candidates):
        pictures = Pictures(home)
        found: dict[str, int] = {}
        for name in candidates:
            try:
                found[name] = len(set(_hits(pictures, parts, [name], _LOOKED_AT)) - {""})
            except UnclearError as error:
                unclear = error
                for folder in names:  # a column of folders may stand beside that of names
                    if folder != name and (paths := _joined(pictures, parts, [folder, name])):
                        return home, name, paths
        best = max(found, key=lambda name: (found[name], sum(map(names_picture, first.columns[name]))), default="")
        if best and found[best]:
            return home, best, _hits(pictures, parts, [best])
    if unclear is not None:
        raise UserError(
            f"{first.path}: its names fit several pictures alike",
            [str(unclear)],
            "Give the folder that is meant, with the table in it; or paths instead of names.",
        )
    raise UserError(
        f"no column of {first.path} holds paths of pictures that are there",
        [f"the columns are {', '.join(names)}"],
        f"Paths start from {root} or a folder in it. --path-column names the column.",
    )


def _joined(pictures: Pictures, parts: Mapping[str, Records], names: Sequence[str]) -> list[str]:
    """The pictures by several columns together, where nearly all are there; else none."""
    try:
        paths = _hits(pictures, parts, names)
    except UnclearError:
        return []
    return paths if sum(map(bool, paths)) > 0.9 * len(paths) else []


def _hits(pictures: Pictures, parts: Mapping[str, Records], names: Sequence[str], most: int | None = None) -> list[str]:
    found: list[str] = []
    for split, part in parts.items():
        rows = zip(*(part.columns[name][:most] for name in names), strict=True)
        cells = ["/".join(row) for row in rows]
        found += pictures.find(cells, _near(pictures, part.path, split, cells[:_LOOKED_AT]))
    return found


def _near(pictures: Pictures, table: Path, split: str, cells: Sequence[str]) -> str:
    """The folder whose files go first: the table's own, or one that is called like its split."""
    own = os.path.relpath(table.parent, pictures.root).replace(os.sep, "/")
    meant = split or split_in(table.stem)
    folders = [name for name in pictures.folders if meant and split_word(posixpath.basename(name)) == meant]
    if not own.startswith("."):
        folders.insert(0, own)
    hits = {name: sum(f"{name}/{cell}" in pictures.paths for cell in cells) for name in folders}
    best = max(folders, key=lambda name: hits[name], default="")
    return best if best and hits[best] else folders[0] if folders and folders[0] == own else ""


def _homes(root: Path, parts: Mapping[str, Records], names: Sequence[str]) -> Iterator[Path]:
    """Folders that may hold the pictures: that of the table, where absolute paths lead, the one above."""
    yield root
    absolute = [
        cell
        for part in parts.values()
        for name in names
        for cell in part.columns[name]
        if posixpath.isabs(cell) and names_picture(cell) and is_file(Path(cell))
    ]
    if absolute:
        yield Path(os.path.commonpath([os.path.dirname(cell) for cell in absolute]))
    above = root.resolve().parent
    if above not in (Path.home(), Path(above.anchor)) and root.resolve().name in _BESIDE:
        yield above
