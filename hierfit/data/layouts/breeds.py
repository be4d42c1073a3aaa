"""BREEDS (Santurkar, Tsipras and Madry 2021): superclasses of ImageNet, and subclasses to train and to test on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from hierfit.data.layouts import folder_of, home_of
from hierfit.data.layouts.imagenet import class_info, labelled, present
from hierfit.data.samples import Samples, pictures_in
from hierfit.data.table import Table
from hierfit.data.wordnet import read_is_a, read_words, sibling_names
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

if TYPE_CHECKING:
    from hierfit.data.card import DataCard

_FILES = ("dataset_class_info.json", "class_hierarchy.txt", "node_names.txt")
_ROOT = "n00001740"
_SEED = 2


@dataclass(frozen=True)
class Breeds:
    """ImageNet's folders, and BREEDS' three files in the root or in a folder ``breeds`` of it.

    The subclasses are drawn as the authors' code draws them (their ``split="rand"``, seed 2): superclasses are the
    synsets ``level`` steps below the root by the longest way; each gives ``subclasses`` of its classes.

    Attributes:
        level: Steps from the root.
        subclasses: How many each superclass must have and gives.
        ancestor: Only superclasses below this synset.
        half: Of the subclasses the half to train on (``source``), the other (``target``), or ``both``.
        parts: Folder of each split; of several with ``|`` between them the first there is.
    """

    level: int
    subclasses: int
    ancestor: str | None = None
    half: Literal["both", "source", "target"] = "both"
    parts: Mapping[str, str] = field(default_factory=lambda: {"train": "train", "test": "val"})

    def __post_init__(self) -> None:
        if self.subclasses < 2 or self.subclasses % 2 or self.level < 1:
            raise UserError("level must be at least 1, and subclasses an even number of at least 2")

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """Read the files; raises `UserError` when some are missing or do not go together."""
        base = folder_of(root, card)
        folders = {split: present(base, options) for split, options in self.parts.items()}
        home_of(root, card, list(folders.values()))
        info = base / "breeds" if (base / "breeds").is_dir() else base
        if lacking := [f"there is no {info / name}" for name in _FILES if not (info / name).is_file()]:
            raise UserError(f"card {card.name!r} needs the files of BREEDS", lacking, f"To get them: {card.obtain}")
        classes = {synset: text for _, synset, text in class_info(info / _FILES[0])}
        parents = read_is_a(info / _FILES[1], problems)
        chosen = [(top, leaf) for top, leaves in self._chosen(list(classes), parents).items() for leaf in leaves]
        name = sibling_names(chosen, read_words(info / _FILES[2], problems) | classes)
        path = {leaf: (name[top], name[leaf]) for top, leaf in chosen}
        if not path:
            raise UserError(f"{info}: no synset at level {self.level} has {self.subclasses} classes", problems)
        samples = Samples(base, problems)
        for split, folder in folders.items():
            if any((base / folder / leaf).is_dir() for leaf in path):
                found = [(f"{folder}/{leaf}/{p}", leaf) for leaf in path for p in pictures_in(base / folder / leaf)]
            else:
                found = labelled(base, folder)
            for key, synset in found:
                if synset in path:
                    samples.add(split, key, path[synset])
        return samples.table(Taxonomy.from_paths(path.values(), list(card.levels)))

    def _chosen(self, classes: Sequence[str], parents: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Superclasses and the subclasses taken of each."""
        children: dict[str, set[str]] = defaultdict(set)
        todo = [c for c in classes if c in parents]
        seen = set(todo)
        while todo:
            synset = todo.pop()
            for above in parents.get(synset, ()):
                children[above].add(synset)
                if above not in seen:
                    seen.add(above)
                    todo.append(above)
        depth = _depths(children)
        below = _below(self.ancestor or _ROOT, children)
        generator, half = np.random.RandomState(_SEED), self.subclasses // 2
        chosen = {}
        for top in sorted(synset for synset, steps in depth.items() if steps == self.level and synset in below):
            leaves = sorted(_below(top, children) & set(classes))
            if len(leaves) < self.subclasses:
                continue
            drawn = generator.choice(leaves, self.subclasses, replace=False).tolist()
            chosen[top] = {"both": drawn, "source": drawn[:half], "target": drawn[half:]}[self.half]
        return chosen


def _depths(children: Mapping[str, set[str]]) -> dict[str, int]:
    """Steps of the longest way from the root to each synset below it."""
    depth, layer = {_ROOT: 0}, {_ROOT}
    for steps in range(1, len(children) + 2):
        layer = {child for synset in layer for child in children.get(synset, ())}
        if not layer:
            return depth
        depth.update(dict.fromkeys(layer, steps))
    raise UserError("class_hierarchy.txt: a synset is its own ancestor")


def _below(top: str, children: Mapping[str, set[str]]) -> set[str]:
    """A synset and all below it."""
    found, todo = {top}, [top]
    while todo:
        new = children.get(todo.pop(), set()) - found
        found |= new
        todo += new
    return found
