"""What lies in a folder: a file of features, a data set of the hub, tables of pictures, or folders of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hierfit.data.bundle import read_bundle
from hierfit.data.images import EXTENSIONS
from hierfit.data.layouts.hf_dataset import label_paths, open_hub, parquet_files
from hierfit.data.samples import READY_DRAW, SPLITS
from hierfit.errors import UserError
from hierfit.taxonomy.checks import listed
from hierfit.taxonomy.readers.source import Content
from hierfit.tools.new.columns import label_columns
from hierfit.tools.new.files import PathIndex, UnclearError
from hierfit.tools.new.folders import from_folders
from hierfit.tools.new.found import Found, Options, split_in, split_of, split_word
from hierfit.tools.new.records import TABLES, Records, read_records
from hierfit.tools.new.tables import from_tables

_BELOW = ("annotations", "labels", "metadata", "meta", "splits")  # folders where tables may lie
_USUAL = ("manifest", "metadata", "labels", "annotations", "data", "index")
_LOOKED_AT = 2000  # rows


def find_data(root: Path, options: Options) -> Found:
    """What can be made of a folder or file: a table goes before plain folders.

    Raises:
        UserError: Nothing, or not without more words.
    """
    found = Found(root, options)
    if root.is_file():
        if root.suffix.lower() == ".safetensors":
            _of_bundle(found)
        elif root.suffix.lower() in TABLES:
            found.root = root.parent
            from_tables(found, {"": read_records(root)})
        else:
            if root.suffix.lower() not in EXTENSIONS:
                Content.of(root)  # says what an archive or another kind of file is, and the way out
            kinds = ", ".join(TABLES)
            raise UserError(f"{root} is neither a folder nor a table ({kinds}) nor a file of features (.safetensors)")
    elif not root.is_dir():
        raise UserError(f"there is no folder or file {root.absolute()}")
    elif (root / "dataset_dict.json").is_file() or (root / "state.json").is_file() or parquet_files(root):
        _of_hub(found)
    elif tables := _tables(root):
        from_tables(found, tables)
    else:
        from_folders(found)
        lists = [path.relative_to(root).as_posix() for folder in (root, *(root / name for name in _BELOW))
                 for path in _tables_in(folder) if split_word(path.stem)]  # fmt: skip
        if lists:
            not_used = f"Not used, though they may say the splits: {listed(lists)}."
            found.remarks.append(f"{not_used} A table of path, label and split is read.")
    return found


def _tables(root: Path) -> Mapping[str, Records]:
    """The tables of a folder by split: ``{"": manifest.csv}``, or one a split beside or inside of its folder.

    Raises:
        UserError: There are several, and none is known to be the one.
    """

    @cache
    def read(path: Path) -> Records | None:
        try:
            return read_records(path)
        except UserError:
            return None

    def named(paths: Iterable[Path]) -> list[Records]:
        return [table for path in paths if (table := read(path)) and len(table.columns) > 1 and table.names_pictures]

    here = _tables_in(root)
    splits = {split: table for path in here if (split := split_word(path.stem)) and (table := read(path))}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        inside = sorted(_tables_in(folder), key=lambda path: path.stem not in _USUAL)
        if (split := split_word(folder.name)) and (tables := named(inside)):
            splits.setdefault(split, tables[0])
    if "train" in splits and len(splits["train"].columns) > 1:
        return {split: splits[split] for split in SPLITS if split in splits}
    known = [path for path in here if path.stem in _USUAL] or here
    tables = (named(known) or named(path for name in _BELOW for path in _tables_in(root / name))
              or _of_bare_names(root, filter(None, map(read, known))))  # fmt: skip
    splits = {split: table for table in tables if (split := split_in(table.path.stem))}
    if "train" in splits and len(splits) == len(tables) > 1:
        return {split: splits[split] for split in SPLITS if split in splits}
    if len(tables) > 1:
        shown = [table.path.relative_to(root).as_posix() for table in tables]
        raise UserError(f"{root} holds several tables that name pictures", shown, "Name one: hierfit data new TABLE.")
    return {"": tables[0]} if tables else {}


def _tables_in(folder: Path) -> list[Path]:
    found = (path for path in folder.iterdir() if path.suffix.lower() in TABLES) if folder.is_dir() else ()
    return sorted(path for path in found if os.path.isfile(path) and "submission" not in path.stem)


def _of_bare_names(root: Path, tables: Iterable[Records]) -> list[Records]:
    """Tables with a column that names at least half of the pictures below a folder, without their endings."""
    index: Callable[[], PathIndex] = cache(lambda: PathIndex(root))

    def names_half(cells: list[str]) -> bool:
        try:
            return 2 * len({*index().find(cells[:_LOOKED_AT])} - {""}) >= min(len(index().paths), _LOOKED_AT)
        except UnclearError:
            return False

    return [table for table in tables if len(table.columns) > 1 and any(map(names_half, table.columns.values()))]


def _of_bundle(found: Found) -> None:
    """The card of a ``hierfit.features/1`` file, which brings its tree and its splits; raises `UserError`."""
    bundle = read_bundle(found.root)
    found.remarks.append(f"A file of features by {bundle.backbone}; its own tree is the card's.")
    own = found.tested({name: name for name in bundle.splits})
    if "test" not in own:
        hint = "`hierfit features extract` writes one of the folders or rows that are named test."
        raise UserError(f"{found.root} holds no split 'test', but {', '.join(bundle.splits)}", hint=hint)
    if bundle.text is None and bundle.node_text is None:
        found.remarks.append("It has no text features: class means of what is trained on stand for them.")
    if not any(name == "train" or READY_DRAW.fullmatch(name) for name in bundle.splits):
        found.only_to_test()
    meaning = {name: split for split, name in own.items() if name != split}
    found.layout = {"name": "feature_bundle", **({"splits": meaning} if meaning else {})}
    found.taxonomy = found.options.taxonomy or bundle.taxonomy


def _of_hub(found: Found) -> None:
    """Finds out the columns of picture and label of what `save_to_disk` wrote, or of parquet files.

    Raises:
        UserError: There is no column of pictures, or none that looks like a label.
    """
    parts = open_hub(found.root)
    from datasets import Image

    first = next(iter(parts.values()))
    pictures: dict[str, Any] = {name: kind for name, kind in first.features.items() if isinstance(kind, Image)}
    image = found.options.path or next(iter(pictures), None)
    if image is None or image not in first.column_names:
        columns = [f"{name}: {type(kind).__name__}" for name, kind in first.features.items()]
        raise UserError(f"{found.root}: no column holds pictures", columns, "--path-column names it.")
    cells = {name: ["/".join(path) for part in parts.values() for path in label_paths(part, (name,))]
             for name in first.column_names if name != image and name not in pictures}  # fmt: skip
    label, unused = label_columns(cells, found.options.label)
    found.remarks += [f"Column {image!r} is the picture.", f"The label is {' > '.join(map(repr, label))}."]
    found.remarks += [f"Columns not used: {', '.join(map(repr, unused))}."] if unused else []
    own = split_of(parts)
    if "train" not in own or len(own) < 2:
        own = {"train": own.get("train") or next(iter(parts))}
    found.settle(own)
    used = found.splits or own
    paths = {path for name in used.values() for path in label_paths(parts[name], tuple(label))}
    if len(label) == 1:
        paths = {tuple(name for cell in path for name in cell.split("/")) for path in paths}
    found.layout = {"name": "hf_dataset", "image": image, "label": label if len(label) > 1 else label[0]}
    found.layout |= {"splits": used, **found.draw}
    found.grow(paths)
