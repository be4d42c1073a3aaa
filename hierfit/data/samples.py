"""What a reader of somebody's files finds, sample by sample, on the way to a `Table`."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from hierfit.data.images import EXTENSIONS, Files, leaves_root
from hierfit.data.table import Images, Split, Table, nodes_of, several
from hierfit.taxonomy import Taxonomy

Label = str | tuple[str, ...]

_UNUSUAL = re.compile(r"(?:^|/)\.{0,2}(?:/|$)")  # a part that is empty, . or ..


class Samples:
    """Keys and labels, split by split, in the order they are added.

    Args:
        base: The folder that keys start from.
        problems: Faults are added here.
    """

    def __init__(self, base: Path, problems: list[str]) -> None:
        self.base, self.problems = base, problems
        self._keys: dict[str, list[str]] = {}
        self._rows: dict[str, list[int]] = {}
        self._labels: dict[Label, int] = {}  # each once, numbered

    def add(self, split: str, key: str, label: Label) -> None:
        """One more picture; ``label`` is the name of a class, or its path in the tree."""
        if _UNUSUAL.search(key):
            key = posixpath.normpath(key)
        self._keys.setdefault(split, []).append(key)
        self._rows.setdefault(split, []).append(self._labels.setdefault(label, len(self._labels)))

    def table(self, taxonomy: Taxonomy, names: Mapping[str, str] | None = None, images: Images | None = None) -> Table:
        """The data set; O(n), and each folder is listed once, however many pictures lie in it.

        Args:
            taxonomy: Its tree.
            names: What the tree calls a class that the files call by a name of its own; see `named`.
            images: Gives the pictures; None for files below `base`, which must then be there.
        """
        for split, keys in self._keys.items():
            outside = [key for key in keys if key.startswith(("/", "..")) and leaves_root(key)]
            self.problems += several(f"{split}: path leaves the folder {self.base}:", outside)
            if images is None:
                inside = [key for key in keys if not key.startswith(("/", "../"))]
                self.problems += several(f"{split}: no such file:", absent(self.base, inside))
        spelled = list(named(self._labels, taxonomy, names or {}).values())
        splits = {split: self._split(split, taxonomy, spelled) for split in self._keys}
        return Table(taxonomy, splits, images or Files(self.base))

    def _split(self, split: str, taxonomy: Taxonomy, spelled: Sequence[Label]) -> Split:
        classes, rows = torch.tensor(self._rows[split]).unique(return_inverse=True)
        nodes = nodes_of(taxonomy, split, [spelled[i] for i in classes.tolist()], self.problems)
        return Split(tuple(self._keys[split]), nodes[rows])


def named(labels: Iterable[Label], taxonomy: Taxonomy, names: Mapping[str, str]) -> dict[Label, Label]:
    """How the tree spells each label.

    A text that is no leaf's name is first looked up in ``names``. Else it is a leaf's name in another spelling, where
    it holds the same words as one leaf does: case, punctuation and order do not count, since a data set's own files and
    its users write ``british_shorthair`` and ``2012 Tesla Model S Sedan`` as they please. Other labels stay as they
    are.
    """
    leaves = {taxonomy.names[leaf] for leaf in taxonomy.leaves.tolist()}
    by_words: dict[str, str | None] = {}
    for leaf in sorted(leaves):
        by_words[words(leaf)] = None if words(leaf) in by_words else leaf
    spelled: dict[Label, Label] = {}
    for label in labels:
        if isinstance(label, str) and label not in leaves:
            spelled[label] = names.get(label) or by_words.get(words(label)) or label
        else:
            spelled[label] = label
    return spelled


def words(name: str) -> str:
    """The words of a name, in lower case and alphabetical order: ``Tesla_Model-S`` is ``model s tesla``."""
    return " ".join(sorted(re.findall(r"[^\W_]+", name.casefold())))


def absent(base: Path, keys: Iterable[str]) -> list[str]:
    """Keys without a file below ``base``; one listing a folder instead of one look a file."""
    there: dict[str, frozenset[str]] = {}
    missing = []
    for key in keys:
        folder, name = posixpath.split(key)
        if folder not in there:
            there[folder] = _listed(base / folder)
        if name not in there[folder]:
            missing.append(key)
    return missing


def classes_in(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted, hidden ones left out; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except (OSError, ValueError):
        return []


def pictures_in(folder: Path) -> Iterator[str]:
    """Names of the pictures in a folder, sorted; none where there is no such folder."""
    for name in sorted(_listed(folder)):
        if not name.startswith(".") and posixpath.splitext(name)[1].lower() in EXTENSIONS:
            yield name


def _listed(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return frozenset()
