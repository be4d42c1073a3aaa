"""Data sets that come with lists: one line a picture, one list a split or one list a fact."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Literal

from hierfit.data.home import Home, first_of
from hierfit.data.records import read_fields, read_lines, read_pairs, read_rows
from hierfit.data.samples import SPLITS, Sample
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

_BUTTERFLIES = {split: f"Butterfly200_{split}_release.txt" for split in SPLITS}


def cub(home: Home, *, names: Mapping[str, str] = {}) -> Iterator[Sample]:
    """Caltech-UCSD Birds: four lists, joined by the number of the picture, and ``images/``.

    Args:
        names: What the tree calls a class that ``classes.txt`` calls by a name of its own.
    """
    images, labels, classes, split = files = [
        f"{name}.txt" for name in ("images", "image_class_labels", "classes", "train_test_split")
    ]
    place = home.holding([*files, "images"])
    path, label, name, trained = (read_pairs(place / file, home.problems) for file in files)
    home.base, home.names = place / "images", names
    home.report(f"{images}: no path of picture", [number for number in label if number not in path])
    for number, key in path.items():
        if (part := trained.get(number)) not in ("0", "1"):
            home.report(f"{split}: neither 0 nor 1 for picture", [number])
        elif (found := label.get(number)) not in name:
            home.report(f"{labels}: no class of {classes} for picture", [number])
        else:  # 001.Black_footed_Albatross
            yield Sample("train" if part == "1" else "test", key, name[str(found)].split(".", 1)[-1])


def aircraft(home: Home, *, levels: tuple[str, ...] = ("manufacturer", "family", "variant")) -> Iterator[Sample]:
    """FGVC-Aircraft: ``data/images_<level>_<split>.txt`` with lines ``0034309 A318``, and ``data/images/0034309.jpg``.

    Args:
        levels: Levels there are lists of, coarse to fine. The last gives the labels; where the lists of the others
            contradict the card's tree, that is a fault.
    """
    lists = {split: [f"images_{level}_{split}.txt" for level in levels] for split in SPLITS}
    place = home.holding([*(file for files in lists.values() for file in files), "images"])
    home.base = place / "images"
    for split, files in lists.items():
        paths: dict[str, list[str]] = {}
        for file in files:
            for _, (image, name) in read_fields(place / file, 2, home.problems):
                paths.setdefault(image, []).append(name)
        home.report(f"{split}: not once in each list:", [k for k, path in paths.items() if len(path) != len(levels)])
        yield from (Sample(split, f"{image}.jpg", tuple(path)) for image, path in paths.items())


def pets(home: Home, *, files: Mapping[str, str] = {"train": "trainval.txt", "test": "test.txt"}) -> Iterator[Sample]:
    """Oxford-IIIT Pets: ``annotations/<list>.txt`` with lines ``Abyssinian_100 1 1 1``.

    Args:
        home: Where they lie, and ``images/``. A file's name begins with the breed, which the numbers say again.
        files: List of each split.
    """
    place = home.holding([*(f"annotations/{name}" for name in files.values()), "images"])
    home.base = place / "images"
    for split, file in files.items():
        for where, (image, *_) in read_fields(place / "annotations" / file, 4, home.problems):
            if breed := image.rpartition("_")[0]:
                yield Sample(split, f"{image}.jpg", breed)
            else:
                home.problems.append(f"{where}: the name of picture {image!r} does not begin with a breed")


def listed(
    home: Home,
    *,
    files: Mapping[str, str],
    images: str = "images",
    folders: tuple[str, ...] = (),
    extension: str = "",
    camel: Literal["kept", "underscored"] = "kept",
    names: Mapping[str, str] = {},
) -> Iterator[Sample]:
    """``meta/train.txt`` with lines ``apple_pie/1005649``, and ``images/apple_pie/1005649.jpg``: folders are classes.

    What follows a space in a line is passed over.

    Args:
        files: List of each split, below the root.
        images: Folder below the root that the paths start from.
        folders: Folders below the root that may hold all that in its place.
        extension: Of the picture, in place of the one in the list, if there is one there: ``.jpg``.
        camel: ``underscored``: a list's ``ApplyEyeMakeup/…`` lies in the folder ``Apply_Eye_Makeup``.
        names: What the tree calls a class whose folder has a name of its own.
    """
    place = home.holding([*files.values(), images], folders)
    home.base, home.names = place / images, names
    for split, file in files.items():
        for number, line in read_lines(place / file):
            folder, image = posixpath.split(line.split()[0].lstrip("/"))
            if not folder:
                home.report(f"{file}: lies in no class's folder:", [f"line {number}"])
                continue
            if camel == "underscored":
                folder = re.sub(r"(?<=.)(?=[A-Z])", "_", folder)
            if extension:
                image = posixpath.splitext(image)[0] + extension
            yield Sample(split, f"{folder}/{image}", folder)


def butterfly(
    home: Home,
    *,
    files: Mapping[str, str] = _BUTTERFLIES,
    images: tuple[str, ...] = ("images", "images_small"),
) -> Iterator[Sample]:
    """Butterfly-200: ``Butterfly200_train_release.txt`` with lines ``path species genus subfamily family``.

    The tree is read from the numbers. Names come from ``<level>.txt`` (lines ``1 Papilio_xuthus``) where there is such
    a file; without one, class 3 of the genera is called ``genus 3``.

    Args:
        files: List of each split.
        images: Folder of the pictures, or the first there is of these.
    """
    levels = list(home.card.levels)  # coarse to fine; in the lists they stand the other way round
    place = home.holding([*files.values(), pictures := "|".join(images)])
    tables = {level: place / f"{level}.txt" for level in levels}
    names = {level: read_pairs(file, home.problems) if file.is_file() else {} for level, file in tables.items()}
    parent: dict[tuple[str, str], tuple[str, str]] = {}
    found: list[tuple[str, str, tuple[str, ...]]] = []
    for split, file in files.items():
        for where, (key, *numbers) in read_fields(place / file, 1 + len(levels), home.problems):
            nodes = list(zip(levels, reversed(numbers), strict=True))
            for above, child in pairwise(nodes):
                if parent.setdefault(child, above) != above:
                    known = " ".join(parent[child])
                    home.problems.append(f"{where}: {' '.join(child)} is of {known} elsewhere, here {' '.join(above)}")
                    break
            else:
                found.append((split, key, tuple(names[level].get(n, f"{level} {n}") for level, n in nodes)))
    if not found:
        raise UserError(f"{place}: no list names a picture", home.problems)
    home.base = place / str(first_of(place, pictures))
    home.tree = Taxonomy.from_paths(list(dict.fromkeys(path for _, _, path in found)), levels)
    yield from (Sample(*row) for row in found)


def sun(
    home: Home,
    *,
    files: Mapping[str, str] = {"train": "Training_01.txt", "test": "Testing_01.txt"},
    hierarchy: str | None = None,
) -> Iterator[Sample]:
    """SUN397: ``ClassName.txt`` and ``Training_01.txt`` with lines ``/a/abbey…``, and ``SUN397/a/abbey/sun_….jpg``.

    Args:
        files: List of each split.
        hierarchy: ``three_levels.xlsx`` of the authors' site, its sheet SUN397 saved as CSV: a row for each class with
            1 in the columns of its groups, three superordinate ones first. A class in several takes the first. Without
            it the classes have no tree.
    """
    place = home.holding([*files.values(), "SUN397", *([hierarchy] if hierarchy else [])])
    home.base = place / "SUN397"
    classes = place / "ClassName.txt" if (place / "ClassName.txt").is_file() else home.base / "ClassName.txt"
    groups = _sun_groups(place / hierarchy, home.problems) if hierarchy else {}
    path: dict[str, tuple[str, ...]] = {}
    for _, folder in read_lines(classes):  # /a/apartment_building/outdoor is called outdoor apartment building
        name = " ".join(reversed(folder.strip("/").split("/")[1:])).replace("_", " ")
        if hierarchy and folder not in groups:
            home.report(f"{hierarchy}: no groups of", [folder])
        else:
            path[folder] = (*groups.get(folder, ()), name)
    if not path:
        raise UserError(f"{classes}: no class can be placed", home.problems)
    home.tree = Taxonomy.from_paths(list(path.values()), list(home.card.levels))
    for split, file in files.items():
        for number, line in read_lines(place / file):
            if label := path.get(folder := posixpath.dirname(line)):
                yield Sample(split, line.lstrip("/"), label)
            else:
                home.report(f"{file}: not in {classes.name}:", [f"{folder!r} (line {number})"])


def _sun_groups(path: Path, problems: list[str]) -> dict[str, tuple[str, str]]:
    """Superordinate and basic group of each class, whose column is the first."""
    rows = [(line, cells) for line, cells in read_rows(path)]
    start = next((i for i, (_, cells) in enumerate(rows, 1) if cells[0].lower() == "category"), 0)
    if not start:
        raise UserError(f"{path}: no header line with a column 'category'")
    header = rows[start - 1][1]
    groups: dict[str, tuple[str, str]] = {}
    for line, cells in rows[start:]:
        ones = [i for i, cell in enumerate(cells[: len(header)]) if cell in ("1", "1.0")]
        top, basic = [i for i in ones if 0 < i <= 3], [i for i in ones if i > 3]
        if top and basic:
            groups[cells[0].strip("'")] = header[top[0]], header[basic[0]]
        else:
            problems.append(f"{path.name}:{line}: {cells[0]!r} is in no superordinate or in no basic group")
    return groups
