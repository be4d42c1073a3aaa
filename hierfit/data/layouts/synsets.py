"""ImageNet, the sets made after it, and BREEDS: folders of synsets, with a table of the classes beside the card."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from hierfit.config.named import CARDS
from hierfit.data.home import Home
from hierfit.data.layouts.folders import classes_in, pictures_in
from hierfit.data.records import read_csv, read_lines
from hierfit.data.samples import Sample, several
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

_SYNSET = re.compile(r"n\d{8}")
_LABELS = ("LOC_val_solution.csv", "imagenet_2012_validation_synset_labels.txt")


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
        home: Where they lie.
        parts: Folder of each split; of several with ``|`` between them the first there is.
        classes: ``synsets``: folders are called ``n01440764``. ``numbers``: 0 … 999, in the order of the table.
        table: CSV beside the card or among hierfit's: a synset, and the names of its class coarse to fine.
    """
    path_of = _table(home, table)
    options = {split: names.split("|") for split, names in parts.items()}

    def folders_of(place: Path) -> dict[str, str]:
        return {s: next((n for n in names if (place / n).is_dir()), names[0]) for s, names in options.items()}

    places = [p for p in reversed(home.places()) if all((p / f).is_dir() for f in folders_of(p).values())]
    folders = folders_of(places[0] if places else home.folder())
    home.base = root = places[0] if places else home.holding(list(folders.values()))
    named = {str(i) if classes == "numbers" else synset: synset for i, synset in enumerate(path_of)}
    found = [(split, *picture) for split, folder in folders.items() for picture in _pictures(root, folder, named)]
    found = [row for row in found if row[2] in path_of]
    if not found:
        text = f"{root}: there is no picture of a class of {table} in {' or '.join(folders.values())}"
        raise UserError(text, hint=home.how_to_get())
    present = dict.fromkeys(synset for _, _, synset in found)
    path = dict(zip(present, _condensed([path_of[synset] for synset in present]), strict=True))
    home.tree = Taxonomy.from_paths(list(path.values()), list(home.card.levels))
    yield from (Sample(split, key, path[synset]) for split, key, synset in found)


def _table(home: Home, name: str) -> dict[str, tuple[str, ...]]:
    """Names coarse to fine by synset."""
    places = [folder / name for folder in (home.card.path.parent, *CARDS.folders())]
    file = next((place for place in places if place.is_file()), places[0])
    rows = [cells for _, cells in read_csv(file)]
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


def _pictures(root: Path, folder: str, synset_of: Mapping[str, str]) -> list[tuple[str, str]]:
    """Key and synset of the pictures of a folder."""
    names = classes_in(root / folder)
    if not any(name in synset_of or _SYNSET.fullmatch(name) for name in names):
        return _labelled(root, folder)
    if unknown := [name for name in names if name not in synset_of and name.isdecimal()]:
        problems = several(f"not of 0 … {len(synset_of) - 1}:", unknown)
        raise UserError(f"{root / folder} has folders that are no class", problems)
    classes = [name for name in names if name in synset_of]
    return [(f"{folder}/{name}/{p}", synset_of[name]) for name in classes for p in pictures_in(root / folder / name)]


def _labelled(root: Path, folder: str) -> list[tuple[str, str]]:
    """Key and synset of pictures that all lie in one folder, from a list of their labels; raises `UserError`."""
    pictures = pictures_in(root / folder)
    if not pictures:
        return []
    places = [place / name for place in (root, (root / folder).parent, root / folder) for name in _LABELS]
    labels = next((place for place in places if place.is_file()), None)
    if labels is None:
        raise UserError(
            f"the pictures of {root / folder} lie in no class's folder, and there is no list of their labels",
            [f"no {name} in {root}" for name in _LABELS],
        )
    if labels.suffix == ".csv":  # ImageId,PredictionString: the synset, then a box
        given = {cells[0]: cells[1].split(" ")[0] for _, cells in read_csv(labels) if len(cells) > 1}
        synset = {name: given.get(name.split(".")[0], "") for name in pictures}
    else:  # one synset a line, in the order of the pictures
        lines = [line for _, line in read_lines(labels)]
        if len(lines) != len(pictures):
            raise UserError(f"{labels} has {len(lines)} labels for {len(pictures)} pictures in {root / folder}")
        synset = dict(zip(pictures, lines, strict=True))
    if bad := [name for name, label in synset.items() if not _SYNSET.fullmatch(label)]:
        raise UserError(f"{labels} does not label all pictures", several("no synset of", bad))
    return [(f"{folder}/{name}", label) for name, label in synset.items()]
