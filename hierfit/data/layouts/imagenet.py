"""ImageNet and the sets made after it: folders of synsets, in a tree read from WordNet's files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hierfit.data.layouts import folder_of, home_of
from hierfit.data.layouts.manifest import read_csv
from hierfit.data.records import read_lines
from hierfit.data.samples import Samples, classes_in, pictures_in
from hierfit.data.table import Table, several
from hierfit.data.wordnet import leaf_paths, read_is_a, read_words
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

if TYPE_CHECKING:
    from hierfit.data.card import DataCard

SYNSET = re.compile(r"n\d{8}")
_IS_A = ("wordnet.is_a.txt", "class_hierarchy.txt")
_WORDS = ("words.txt", "node_names.txt")
_LEAF_WORDS = ("classnames.txt", "LOC_synset_mapping.txt")
_VAL_LABELS = ("LOC_val_solution.csv", "imagenet_2012_validation_synset_labels.txt")


@dataclass(frozen=True)
class Imagenet:
    """``train/n01440764/….JPEG`` and ``val/``, in folders of synsets or flat with a list of labels beside it.

    WordNet's files lie in the root, in a folder ``wordnet`` of it, or in the folder above: ``wordnet.is_a.txt`` (lines
    ``parent child``) and ``words.txt`` of image-net.org, or ``class_hierarchy.txt`` and ``node_names.txt`` of BREEDS.
    ``classnames.txt`` (CoOp) or ``LOC_synset_mapping.txt`` (Kaggle), if there, name the classes and give their order.

    Attributes:
        parts: Folder of each split; of several with ``|`` between them the first there is.
        classes: ``synsets``: folders are called ``n01440764``; classes are those there are. ``numbers``: folders are
            called 0 … 999, in the order of the 1000 synsets.
    """

    parts: Mapping[str, str] = field(default_factory=lambda: {"train": "train", "test": "val"})
    classes: Literal["synsets", "numbers"] = "synsets"

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """Read the folders and the tree; raises `UserError` when files are missing or do not go together."""
        home = folder_of(root, card)
        folders = {split: present(home, options) for split, options in self.parts.items()}
        home = home_of(root, card, list(folders.values()))
        wordnet = Wordnet(home, card, problems)
        samples = Samples(home, problems)
        found = {split: self._found(home, folder, wordnet) for split, folder in folders.items()}
        synsets = sorted({synset for pictures in found.values() for _, synset in pictures})
        if not synsets:
            raise UserError(f"{home} has no picture in a folder of {' or '.join(folders.values())}")
        paths = wordnet.paths(synsets, len(card.levels))
        for split, pictures in found.items():
            for key, synset in pictures:
                samples.add(split, key, paths[synset])
        return samples.table(Taxonomy.from_paths(paths.values(), list(card.levels)))

    def _found(self, home: Path, folder: str, wordnet: Wordnet) -> list[tuple[str, str]]:
        """Key and synset of the pictures of a split."""
        names = classes_in(home / folder)
        if self.classes == "numbers":
            synset = {str(i): s for i, s in enumerate(wordnet.order())}
            if unknown := [name for name in names if name not in synset]:
                raise UserError(
                    f"{home / folder} has folders that are no class", several(f"not of 0 … {len(synset) - 1}:", unknown)
                )
        else:
            synset = {name: name for name in names if SYNSET.fullmatch(name)}
        if synset:
            return [(f"{folder}/{n}/{p}", s) for n, s in synset.items() for p in pictures_in(home / folder / n)]
        return labelled(home, folder)


class Wordnet:
    """The files of WordNet and of class names that lie with a data set.

    Args:
        home: Root of the data set.
        card: Its card.
        problems: Faulty lines are added here.

    Raises:
        UserError: Some are missing.
    """

    def __init__(self, home: Path, card: DataCard, problems: list[str]) -> None:
        self._places, self._problems = (home, home / "wordnet", home.parent), problems
        is_a, words = self._find(_IS_A), self._find(_WORDS)
        if lacking := [
            f"there is no {' or '.join(names)}" for names, path in ((_IS_A, is_a), (_WORDS, words)) if path is None
        ]:
            raise UserError(
                f"the tree of card {card.name!r} is read from WordNet's files, which are not all there",
                [*lacking, *(f"sought in {place}" for place in self._places)],
                f"To get them: {card.obtain}\nExpected:\n{card.expects.rstrip()}",
            )
        assert is_a is not None
        assert words is not None
        self.parents = read_is_a(is_a, problems)
        self.words = read_words(words, problems)
        self._named = self._find(_LEAF_WORDS)
        if self._named is not None:
            self.words |= read_words(self._named, problems)

    def _find(self, names: Sequence[str]) -> Path | None:
        return next((p / name for p in self._places for name in names if (p / name).is_file()), None)

    def paths(self, synsets: Sequence[str], depth: int) -> dict[str, tuple[str, ...]]:
        """Path of each synset in the tree above them all; see `hierfit.data.wordnet.leaf_paths`."""
        return dict(zip(synsets, leaf_paths(synsets, self.parents, self.words, depth), strict=True))

    def order(self) -> list[str]:
        """All classes in the order of their numbers; raises `UserError` when no file gives it."""
        if (info := self._find(("dataset_class_info.json",))) is not None:
            return [synset for _, synset, _ in class_info(info)]
        if self._named is None:
            raise UserError(
                "the numbers of the classes are not known",
                [f"no {name} in {place}" for place in self._places for name in _LEAF_WORDS],
            )
        return list(read_words(self._named, self._problems))


def class_info(path: Path) -> list[tuple[int, str, str]]:
    """Number, synset and name of each class of BREEDS' ``dataset_class_info.json``; raises `UserError`."""
    try:
        rows = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(rows, list) or not all(
        isinstance(row, list) and list(map(type, row)) == [int, str, str] for row in rows
    ):
        raise UserError(f"{path}: expected a list of [number, synset, name]")
    return [(number, synset, name) for number, synset, name in rows]


def present(home: Path, options: str) -> str:
    """The first folder there is of several with ``|`` between them, else the first."""
    names = options.split("|")
    return next((name for name in names if (home / name).is_dir()), names[0])


def labelled(home: Path, folder: str) -> list[tuple[str, str]]:
    """Key and synset of pictures that all lie in one folder, from a list of their labels; raises `UserError`."""
    pictures = list(pictures_in(home / folder))
    if not pictures:
        return []
    places = (home, (home / folder).parent, home / folder)
    labels = next((p / name for p in places for name in _VAL_LABELS if (p / name).is_file()), None)
    if labels is None:
        raise UserError(
            f"the pictures of {home / folder} lie in no class's folder, and there is no list of their labels",
            [f"no {name} in {home}" for name in _VAL_LABELS],
        )
    if labels.suffix == ".csv":  # ImageId,PredictionString: the synset, then a box
        given = {cells[0]: cells[1].split(" ")[0] for _, cells in read_csv(labels) if len(cells) > 1}
        synset = {name: given.get(name.split(".")[0], "") for name in pictures}
    else:  # one synset a line, in the order of the pictures
        lines = [line for _, line in read_lines(labels)]
        if len(lines) != len(pictures):
            raise UserError(f"{labels} has {len(lines)} labels for {len(pictures)} pictures in {home / folder}")
        synset = dict(zip(pictures, lines, strict=True))
    if bad := [name for name, label in synset.items() if not SYNSET.fullmatch(label)]:
        raise UserError(f"{labels} does not label all pictures", several("no synset of", bad))
    return [(f"{folder}/{name}", label) for name, label in synset.items()]
