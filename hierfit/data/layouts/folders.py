"""Pictures in folders, with folders for labels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from hierfit.data.home import Home
from hierfit.data.images import EXTENSIONS, Files, is_folder, leaves_root
from hierfit.data.names import clean_name, respelled
from hierfit.data.samples import SPLITS, Sample
from hierfit.data.splits import Draw
from hierfit.errors import UserError


def image_folder(
    home: Home,
    *,
    labels: Literal["path", "name"] = "path",
    folders: Mapping[str, str] = {},
    draw: Draw | None = None,
    names: Mapping[str, str] = {},
) -> Iterator[Sample]:
    """``<root>/<split>/<label>/….jpg``, or ``<root>/<label>/….jpg`` with splits to be drawn.

    Every folder below a split is a label; pictures in the folder of an inner node are coarsely labelled.

    Args:
        home: Where they lie.
        labels: ``path``: folders nest like the tree (``train/Fruit/Apple/x.jpg``). ``name``: the innermost
            folder has the name of a node, whatever lies above it (``train/Apple/x.jpg``).
        folders: Folder of each split below the root, where it differs from the split's name. With `draw`, ``all`` is
            the folder of all pictures.
        draw: Shares of validation and test, for data that have no folders of splits. A share 0 of test means that
            `train` and `test` have folders, and validation is drawn from `train`.
        names: What the tree calls a class whose folder is called otherwise; an empty text for "not known".
    """
    root, card = home.folder(), home.card
    tree_names = {clean_name(name): name for name in card.tree.names}
    whole = draw is not None and draw.test > 0
    splits = ("all",) if whole else SPLITS
    home.images, home.draw, home.draw_from = Files(root), draw, "all" if whole else "train"
    home.names = None if labels == "path" else {name: name for name in card.tree.names}
    home.problems += [f"{card.path.name}: layout.folders: {n}: unknown split" for n in folders if n not in splits]
    for split in splits:
        if split not in folders and split in folders.values():
            continue  # the folder of another split
        below = folders.get(split, "." if whole else split)
        folder = root / below
        if leaves_root(below):
            home.problems.append(f"{split}: folder leaves the root: {folder}")
            continue
        if not is_folder(folder):
            if split in folders:
                home.problems.append(f"{split}: no folder {folder}")
            continue
        home.empty.append(split)
        unlabelled = []
        for path in pictures_below(folder):
            key = path.relative_to(root).as_posix()
            if key in card.leave_out:
                continue
            if label := respelled(path.parent.relative_to(folder).parts, names, tree_names):
                yield Sample(split, key, label if labels == "path" else label[-1])
            else:
                unlabelled.append(key)
        home.report(f"{split}: lies in no label's folder:", unlabelled)
    if not home.empty:
        raise UserError(
            f"{root} has none of the folders train, val, test",
            hint="Set data.root to the folder that holds them, or name them in the card: layout.folders.",
        )


def class_folders(
    home: Home,
    *,
    images: tuple[str, ...] = (".",),
    shares: Mapping[str, float] = {"train": 0.5, "val": 0.2, "test": 0.3},
    ignore: tuple[str, ...] = (),
    names: Mapping[str, str] = {},
) -> Iterator[Sample]:
    """``101_ObjectCategories/<class>/image_0001.jpg``, without splits.

    They are drawn in each class by a hash of each picture's path: the same on every machine, and no picture changes
    its split when others come or go.

    Args:
        home: Where they lie.
        images: Folder that holds the classes, or the first there is of these; ``.`` for the root.
        shares: Share of each split. What remains goes to the last one.
        ignore: Folders that are no class.
        names: What the tree calls a class whose folder has a name of its own.
    """
    if set(shares) - set(SPLITS) or any(share <= 0 for share in shares.values()):
        raise UserError(f"{home.card.path}: layout.shares must be above 0, and of {', '.join(SPLITS)}")
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(f"{home.card.path}: layout.shares must sum to 1, not {sum(shares.values()):g}")
    there = [place / name for place in home.places() for name in images if (place / name).is_dir()]
    home.base, home.names = there[0] if there else home.holding([images[0]]) / images[0], names
    for name in classes_in(home.base):
        if name not in ignore:
            for picture in pictures_in(home.base / name):
                key = f"{name}/{picture}"
                yield Sample(_drawn(key, shares), key, name)


def _drawn(key: str, shares: Mapping[str, float]) -> str:
    """The split of a picture."""
    lot = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    for split, share in shares.items():
        lot -= share
        if lot < 0:
            return split
    return split


def pictures_below(folder: Path) -> list[Path]:
    """All pictures by their suffix, in the order of their paths; hidden ones are not seen."""
    found = []
    for where, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(n for n in folders if not n.startswith(".") and not _leads_back(where, n))
        found += [Path(where, name) for name in sorted(files) if _is_picture(name)]
    return found


def classes_in(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted, hidden ones left out; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except (OSError, ValueError):
        return []


def pictures_in(folder: Path) -> list[str]:
    """Names of the pictures in a folder, sorted; none where there is no such folder."""
    try:
        return sorted(filter(_is_picture, os.listdir(folder)))
    except (OSError, ValueError):  # ValueError: a name that no folder can have
        return []


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS and not name.startswith(".")


def _leads_back(where: str, name: str) -> bool:
    """Whether a folder is a link to one that it lies in itself."""
    path = os.path.join(where, name)
    return os.path.islink(path) and Path(os.path.realpath(where)).is_relative_to(os.path.realpath(path))
