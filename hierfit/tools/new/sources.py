"""Which tables of pictures a folder holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hierfit.data.images import is_file
from hierfit.errors import UserError
from hierfit.tools.new.exports import names_picture
from hierfit.tools.new.found import split_in, split_word
from hierfit.tools.new.pictures import Pictures, UnclearError
from hierfit.tools.new.records import TABLES, read_records

_FOLDERS = ("annotations", "labels", "metadata")  # below the root, where tables may lie
_USUAL = ("manifest", "metadata", "labels", "annotations", "data", "index")
_LOOKED_AT = 2000  # rows


def tables_of(root: Path) -> dict[str, Path]:
    """The tables of a folder by split: ``{"": manifest.csv}``, or one a split beside or inside of its folder.

    Raises:
        UserError: There are several, and none is known to be the one.
    """
    here = _tables_in(root)
    splits = {split: path for path in here if (split := split_word(path.stem))}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        if split := split_word(folder.name):
            inside = sorted(_tables_in(folder), key=lambda path: path.stem not in _USUAL)
            if table := next((path for path in inside if _names_pictures(path)), None):
                splits.setdefault(split, table)
    if "train" in splits:
        return splits
    known = [path for path in here if path.stem in _USUAL]
    usable = [path for path in (known or here) if _names_pictures(path)]
    if not usable:
        usable = [path for name in _FOLDERS for path in _tables_in(root / name) if _names_pictures(path)]
    if not usable:
        usable = _of_bare_names(root, known or here)
    parts = {split: path for path in usable if (split := split_in(path.stem))}
    if "train" in parts and len(parts) == len(usable) > 1:
        return parts
    if len(usable) > 1:
        raise UserError(
            f"{root} holds several tables that name pictures",
            [path.relative_to(root).as_posix() for path in usable],
            "Name one: hierfit data new TABLE.",
        )
    return {"": usable[0]} if usable else {}


def _tables_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if path.suffix.lower() in TABLES and is_file(path))
    return sorted(path for path in found if "submission" not in path.stem)


def _names_pictures(path: Path) -> bool:
    """Whether a file is a table with a column of pictures, by its first rows."""
    return any(any(map(names_picture, cells)) for cells in _columns(path))


def _of_bare_names(root: Path, tables: Sequence[Path]) -> list[Path]:
    """Tables with a column that names at least half of the pictures below a folder, without their endings."""
    candidates = [(path, columns) for path in tables if (columns := _columns(path))]
    if not candidates:
        return []
    pictures = Pictures(root)
    least = min(len(pictures.paths), _LOOKED_AT) / 2
    return [path for path, columns in candidates if any(_count(pictures, cells) >= least for cells in columns)]


def _count(pictures: Pictures, cells: Sequence[str]) -> int:
    try:
        return len(set(pictures.find(cells)) - {""})
    except UnclearError:
        return 0


def _columns(path: Path) -> list[list[str]]:
    try:
        return list(read_records(path, _LOOKED_AT).columns.values())
    except UserError:
        return []
