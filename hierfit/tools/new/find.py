"""What lies in a folder: a file of features, a data set of the hub, tables of pictures, or folders of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hierfit.data.images import is_file
from hierfit.data.layouts.hf_dataset import parquet_files
from hierfit.data.table import SPLITS
from hierfit.errors import UserError
from hierfit.tools.new.files import Files, UnclearError
from hierfit.tools.new.folders import from_folders
from hierfit.tools.new.found import Found, Options, split_in, split_word
from hierfit.tools.new.packed import from_bundle, from_hub
from hierfit.tools.new.records import TABLES, Read, Records, read_records
from hierfit.tools.new.tables import from_tables

_FOLDERS = ("annotations", "labels", "metadata")  # below the root, where tables may lie
_USUAL = ("manifest", "metadata", "labels", "annotations", "data", "index")
_LOOKED_AT = 2000  # rows


def find(root: Path, options: Options) -> Found:
    """What can be made of a folder or file: a table goes before plain folders.

    Raises:
        UserError: Nothing, or not without more words.
    """
    read = cache(read_records)
    if root.is_file():
        if root.suffix.lower() == ".safetensors":
            return from_bundle(root, options)
        if root.suffix.lower() not in TABLES:
            kinds = ", ".join(TABLES)
            raise UserError(f"{root} is neither a folder nor a table ({kinds}) nor a file of features (.safetensors)")
        return from_tables(root.parent, {"": root}, options, read)
    if not root.is_dir():
        raise UserError(f"there is no folder or file {root.absolute()}")
    if (root / "dataset_dict.json").is_file() or (root / "state.json").is_file() or parquet_files(root):
        return from_hub(root, options)
    if tables := _tables(root, read):
        return from_tables(root, tables, options, read)
    return from_folders(root, options)


def _tables(root: Path, read: Read) -> dict[str, Path]:
    """The tables of a folder by split: ``{"": manifest.csv}``, or one a split beside or inside of its folder.

    Raises:
        UserError: There are several, and none is known to be the one.
    """
    names_pictures = cache(lambda path: (table := _table(path, read)) is not None and table.names_pictures)
    here = _tables_in(root)
    splits = {split: path for path in here if (split := split_word(path.stem))}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        if split := split_word(folder.name):
            inside = sorted(_tables_in(folder), key=lambda path: path.stem not in _USUAL)
            if table := next(filter(names_pictures, inside), None):
                splits.setdefault(split, table)
    if "train" in splits:
        return {split: splits[split] for split in SPLITS if split in splits}
    known = [path for path in here if path.stem in _USUAL] or here
    usable = (
        list(filter(names_pictures, known))
        or [path for name in _FOLDERS for path in _tables_in(root / name) if names_pictures(path)]
        or _of_bare_names(root, known, read)
    )
    parts = {split: path for path in usable if (split := split_in(path.stem))}
    if "train" in parts and len(parts) == len(usable) > 1:
        return {split: parts[split] for split in SPLITS if split in parts}
    if len(usable) > 1:
        raise UserError(
            f"{root} holds several tables that name pictures",
            [path.relative_to(root).as_posix() for path in usable],
            "Name one: hierfit data new TABLE.",
        )
    return {"": usable[0]} if usable else {}


def _tables_in(folder: Path) -> list[Path]:
    found = (path for path in folder.iterdir() if path.suffix.lower() in TABLES) if folder.is_dir() else ()
    return sorted(path for path in found if is_file(path) and "submission" not in path.stem)


def _table(path: Path, read: Read) -> Records | None:
    try:
        return read(path)
    except UserError:
        return None


def _of_bare_names(root: Path, tables: Sequence[Path], read: Read) -> list[Path]:
    """Tables with a column that names at least half of the pictures below a folder, without their endings."""
    candidates = [table for path in tables if (table := _table(path, read))]
    if not candidates:
        return []
    files = Files(root)

    def count(cells: Sequence[str]) -> int:
        try:
            return len(set(files.find(cells[:_LOOKED_AT])) - {""})
        except UnclearError:
            return 0

    least = min(len(files.paths), _LOOKED_AT) / 2
    return [table.path for table in candidates if any(count(cells) >= least for cells in table.columns.values())]
