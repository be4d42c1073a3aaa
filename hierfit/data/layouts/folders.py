"""Pictures in folders, with folders for labels: names, paths of names, or synsets (ImageNet and what is made of it)."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from hierfit.config.named import CARDS
from hierfit.data.home import Home, first_of
from hierfit.data.images import Files, is_picture, pictures_below
from hierfit.data.names import clean_name, respelled
from hierfit.data.records import read_lines, read_rows
from hierfit.data.samples import SPLITS, Sample, leaves_root, several
from hierfit.data.splits import Shares
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

_SYNSET = re.compile(r"n\d{8}")
_LABEL_LISTS = ("LOC_val_solution.csv", "imagenet_2012_validation_synset_labels.txt")


def image_folder(
    home: Home,
    *,
    labels: Literal["path", "name"] = "path",
    folders: Mapping[str, str] = {},
    draw: Shares | None = None,
    names: Mapping[str, str] = {},
) -> Iterator[Sample]:
    """``<root>/<split>/<label>/….jpg``, or ``<root>/<label>/….jpg`` with splits to be drawn.

    Every folder below a split is a label; pictures in the folder of an inner node are coarsely labelled.

    Args:
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
        elif not os.path.isdir(folder):
            home.problems += [f"{split}: no folder {folder}"] if split in folders else []
        else:
            home.empty.append(split)
            for path in pictures_below(folder):
                key = path.relative_to(root).as_posix()
                if key in card.leave_out:
                    continue
                if label := respelled(path.parent.relative_to(folder).parts, names, tree_names):
                    yield Sample(split, key, label if labels == "path" else label[-1])
                else:
                    home.report(f"{split}: lies in no label's folder:", [key])
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
        images: Folder that holds the classes, or the first there is of these; ``.`` for the root.
        shares: Share of each split. What remains goes to the last one.
        ignore: Folders that are no class.
        names: What the tree calls a class whose folder has a name of its own.
    """
    if set(shares) - set(SPLITS) or any(share <= 0 for share in shares.values()):
        raise UserError(f"{home.card.path}: layout.shares must be above 0, and of {', '.join(SPLITS)}")
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(f"{home.card.path}: layout.shares must sum to 1, not {sum(shares.values()):g}")
    place = home.holding(["|".join(images)])
    home.base, home.names = place / str(first_of(place, "|".join(images))), names
    for name in _listing(home.base)[0]:
        for key in [] if name in ignore else [f"{name}/{picture}" for picture in _listing(home.base / name)[1]]:
            yield Sample(_split_by_lot(key, shares), key, name)


def _split_by_lot(key: str, shares: Mapping[str, float]) -> str:
    lot = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    for split, share in shares.items():
        lot -= share
        if lot < 0:
            return split
    return split


def imagenet(
    home: Home,
    *,
    parts: Mapping[str, str] = {"train": "train", "test": "val"},
    classes: Literal["synsets", "numbers"] = "synsets",
    table: str = "imagenet.csv",
) -> Iterator[Sample]:
    """``train/n01440764/….JPEG`` and ``val/``, in folders of synsets or flat with a list of labels beside it.

    The classes are those of the table that have pictures; nodes with a single child left are left out of their tree.

    Args:
        parts: Folder of each split; of several with ``|`` between them the first there is.
        classes: ``synsets``: folders are called ``n01440764``. ``numbers``: 0 … 999, in the order of the table.
        table: CSV beside the card or among hierfit's: a synset, and the names of its class coarse to fine.
    """
    path_of = _synset_paths(home, table)
    home.base = root = home.holding(list(parts.values()))
    folders = {split: str(first_of(root, names)) for split, names in parts.items()}
    called = {str(i) if classes == "numbers" else synset: synset for i, synset in enumerate(path_of)}
    found = [(s, key, label) for s, folder in folders.items() for key, label in _synset_pictures(root, folder, called)]
    found = [row for row in found if row[2] in path_of]
    if not found:
        text = f"{root}: there is no picture of a class of {table} in {' or '.join(folders.values())}"
        raise UserError(text, hint=home.how_to_get())
    present = list(dict.fromkeys(synset for _, _, synset in found))
    path = dict(zip(present, _condensed([path_of[synset] for synset in present]), strict=True))
    home.tree = Taxonomy.from_paths(list(path.values()), list(home.card.levels))
    yield from (Sample(split, key, path[synset]) for split, key, synset in found)


def _synset_paths(home: Home, name: str) -> dict[str, tuple[str, ...]]:
    """Names coarse to fine by synset."""
    places = [folder / name for folder in (home.card.path.parent, *CARDS.folders())]
    file = next((place for place in places if place.is_file()), places[0])
    rows = [cells for _, cells in read_rows(file)]
    found = {cells[0]: tuple(filter(None, cells[1:])) for cells in rows if _SYNSET.fullmatch(cells[0])}
    if not found or len(found) != len(rows) - 1 or not all(found.values()):
        raise UserError(f"{file}: expected a header, and in each line a synset of its own and its names")
    return found


def _condensed(paths: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Paths without the inner nodes that have one child only, and without a root that stands above all."""
    below: dict[tuple[str, ...], set[str]] = {}
    for path in paths:
        for depth, name in enumerate(path):
            below.setdefault(path[:depth], set()).add(name)
    cut = [tuple(n for i, n in enumerate(p) if i == len(p) - 1 or len(below[p[: i + 1]]) > 1) for p in paths]
    while len({path[0] for path in cut}) == 1 and all(len(path) > 1 for path in cut):
        cut = [path[1:] for path in cut]
    return cut


def _synset_pictures(root: Path, folder: str, synset_of: Mapping[str, str]) -> list[tuple[str, str]]:
    """Key and synset of the pictures of a folder: by the folders in it, or by a list of labels where all lie flat."""
    names, pictures = _listing(root / folder)
    if any(name in synset_of or _SYNSET.fullmatch(name) for name in names):
        if unknown := [name for name in names if name not in synset_of and name.isdecimal()]:
            problems = several(f"not of 0 … {len(synset_of) - 1}:", unknown)
            raise UserError(f"{root / folder} has folders that are no class", problems)
        known = [name for name in names if name in synset_of]
        return [(f"{folder}/{n}/{p}", synset_of[n]) for n in known for p in _listing(root / folder / n)[1]]
    if not pictures:
        return []
    places = [place / name for place in (root, (root / folder).parent, root / folder) for name in _LABEL_LISTS]
    labels = next((place for place in places if place.is_file()), None)
    if labels is None:
        raise UserError(
            f"the pictures of {root / folder} lie in no class's folder, and there is no list of their labels",
            [f"no {name} in {root}" for name in _LABEL_LISTS],
        )
    if labels.suffix == ".csv":  # ImageId,PredictionString: the synset, then a box
        given = {cells[0]: cells[1].split(" ")[0] for _, cells in read_rows(labels) if len(cells) > 1}
        synset = [given.get(name.split(".")[0], "") for name in pictures]
    else:  # one synset a line, in the order of the pictures
        synset = [line for _, line in read_lines(labels)]
    if len(synset) != len(pictures):
        raise UserError(f"{labels} has {len(synset)} labels for {len(pictures)} pictures in {root / folder}")
    if bad := [name for name, label in zip(pictures, synset, strict=True) if not _SYNSET.fullmatch(label)]:
        raise UserError(f"{labels} does not label all pictures", several("no synset of", bad))
    return [(f"{folder}/{name}", label) for name, label in zip(pictures, synset, strict=True)]


def _listing(folder: Path) -> tuple[list[str], list[str]]:
    """Folders and pictures in a folder, sorted; none where it cannot be read."""
    _, folders, files = next(os.walk(folder), ("", [], []))
    return sorted(name for name in folders if not name.startswith(".")), sorted(filter(is_picture, files))
