"""ImageNet, the sets made after it, and BREEDS: folders of synsets, in trees read from WordNet's files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from hierfit.data.home import Home
from hierfit.data.layouts.folders import classes_in, pictures_in
from hierfit.data.layouts.wordnet import leaf_paths, read_is_a, read_words, sibling_names
from hierfit.data.records import read_csv, read_json, read_lines
from hierfit.data.samples import Sample, several
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

_SYNSET = re.compile(r"n\d{8}")
_IS_A = ("wordnet.is_a.txt", "class_hierarchy.txt")
_WORDS = ("words.txt", "node_names.txt")
_INFO = "dataset_class_info.json"
_LEAF_WORDS = ("classnames.txt", "LOC_synset_mapping.txt")
_VAL_LABELS = ("LOC_val_solution.csv", "imagenet_2012_validation_synset_labels.txt")
_ROOT = "n00001740"


def imagenet(
    home: Home,
    *,
    parts: Mapping[str, str] = {"train": "train", "test": "val"},
    classes: Literal["synsets", "numbers"] = "synsets",
) -> Iterator[Sample]:
    """``train/n01440764/….JPEG`` and ``val/``, in folders of synsets or flat with a list of labels beside it.

    WordNet's files lie in the root, in a folder ``wordnet`` of it, or in the folder above: ``wordnet.is_a.txt`` (lines
    ``parent child``) and ``words.txt`` of image-net.org, or ``class_hierarchy.txt`` and ``node_names.txt`` of BREEDS.
    ``classnames.txt`` (CoOp) or ``LOC_synset_mapping.txt`` (Kaggle), if there, name the classes and give their order.

    Args:
        home: Where they lie.
        parts: Folder of each split; of several with ``|`` between them the first there is.
        classes: ``synsets``: folders are called ``n01440764``; classes are those there are. ``numbers``: folders are
            called 0 … 999, in the order of the 1000 synsets.
    """
    root, folders = _folders(home, parts)
    places = (root, root / "wordnet", root.parent)
    is_a, words, named = (_first(places, names) for names in (_IS_A, _WORDS, _LEAF_WORDS))
    if is_a is None or words is None:
        lacking = [f"there is no {' or '.join(names)}" for names, path in ((_IS_A, is_a), (_WORDS, words)) if not path]
        raise UserError(
            f"the tree of card {home.card.name!r} is read from WordNet's files, which are not all there",
            [*lacking, *(f"sought in {place}" for place in places)],
            home.how_to_get(),
        )
    of_leaves = read_words(named, home.problems) if named else {}
    synset_of = _numbered(places, of_leaves) if classes == "numbers" else None
    found = [(split, *picture) for split, folder in folders.items() for picture in _pictures(root, folder, synset_of)]
    synsets = sorted({synset for _, _, synset in found})
    if not synsets:
        raise UserError(f"{root} has no picture in a folder of {' or '.join(folders.values())}")
    parents, names = read_is_a(is_a, home.problems), read_words(words, home.problems) | of_leaves
    paths = dict(zip(synsets, leaf_paths(synsets, parents, names, len(home.card.levels)), strict=True))
    home.tree = Taxonomy.from_paths(list(paths.values()), list(home.card.levels))
    yield from (Sample(split, key, paths[synset]) for split, key, synset in found)


def breeds(
    home: Home,
    *,
    level: int,
    subclasses: int,
    ancestor: str | None = None,
    half: Literal["both", "source", "target"] = "both",
    parts: Mapping[str, str] = {"train": "train", "test": "val"},
) -> Iterator[Sample]:
    """BREEDS (Santurkar, Tsipras and Madry 2021): superclasses of ImageNet, and subclasses to train and to test on.

    ImageNet's folders, and BREEDS' three files in the root or in a folder ``breeds`` of it. The subclasses are drawn as
    the authors' code draws them (their ``split="rand"``, seed 2): superclasses are the synsets ``level`` steps below
    the root by the longest way; each gives ``subclasses`` of its classes.

    Args:
        home: Where they lie.
        level: Steps from the root.
        subclasses: How many each superclass must have and gives.
        ancestor: Only superclasses below this synset.
        half: Of the subclasses the half to train on (``source``), the other (``target``), or ``both``.
        parts: Folder of each split; of several with ``|`` between them the first there is.
    """
    if subclasses < 2 or subclasses % 2 or level < 1:
        raise UserError(f"{home.card.path}: level must be at least 1, and subclasses an even number of at least 2")
    root, folders = _folders(home, parts)
    info = root / "breeds" if (root / "breeds").is_dir() else root
    files = [info / name for name in (_INFO, _IS_A[1], _WORDS[1])]
    if lacking := [f"there is no {file}" for file in files if not file.is_file()]:
        raise UserError(
            f"card {home.card.name!r} needs the files of BREEDS", lacking, f"To get them: {home.card.obtain}"
        )
    classes = {synset: text for _, synset, text in _class_info(files[0])}
    children = _children(list(classes), read_is_a(files[1], home.problems))
    depth, below = _depths(children), _below(ancestor or _ROOT, children)
    generator = np.random.RandomState(2)
    drawn: dict[str, Sequence[str]] = {}
    for top in sorted(synset for synset, steps in depth.items() if steps == level and synset in below):
        leaves = sorted(_below(top, children) & set(classes))
        if len(leaves) >= subclasses:
            drawn[top] = generator.choice(leaves, subclasses, replace=False).tolist()
    of_half = {"both": slice(None), "source": slice(subclasses // 2), "target": slice(subclasses // 2, None)}[half]
    chosen = [(top, leaf) for top, leaves in drawn.items() for leaf in leaves[of_half]]
    name = sibling_names(chosen, read_words(files[2], home.problems) | classes)
    path = {leaf: (name[top], name[leaf]) for top, leaf in chosen}
    if not path:
        raise UserError(f"{info}: no synset at level {level} has {subclasses} classes", home.problems)
    home.base, home.tree = root, Taxonomy.from_paths(list(path.values()), list(home.card.levels))
    for split, folder in folders.items():
        if any((root / folder / leaf).is_dir() for leaf in path):
            found = [(f"{folder}/{leaf}/{p}", leaf) for leaf in path for p in pictures_in(root / folder / leaf)]
        else:
            found = _labelled(root, folder)
        yield from (Sample(split, key, path[synset]) for key, synset in found if synset in path)


def _folders(home: Home, parts: Mapping[str, str]) -> tuple[Path, dict[str, str]]:
    """The root, and the folder of each split."""
    root, folders = home.folder(), {}
    for split, options in parts.items():
        names = options.split("|")
        folders[split] = next((name for name in names if (root / name).is_dir()), names[0])
    return home.holding(list(folders.values())), folders


def _first(places: Sequence[Path], names: Sequence[str]) -> Path | None:
    return next((place / name for place in places for name in names if (place / name).is_file()), None)


def _numbered(places: Sequence[Path], of_leaves: Mapping[str, str]) -> dict[str, str]:
    """The synset of each class number; raises `UserError` when no file gives their order."""
    info = _first(places, [_INFO])
    order = [synset for _, synset, _ in _class_info(info)] if info else list(of_leaves)
    if not order:
        lacking = [f"no {name} in {place}" for place in places for name in _LEAF_WORDS]
        raise UserError("the numbers of the classes are not known", lacking)
    return {str(i): synset for i, synset in enumerate(order)}


def _pictures(root: Path, folder: str, synset_of: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """Key and synset of the pictures of a folder."""
    names = classes_in(root / folder)
    if synset_of is None:
        synset_of = {name: name for name in names if _SYNSET.fullmatch(name)}
    elif unknown := [name for name in names if name not in synset_of]:
        problems = several(f"not of 0 … {len(synset_of) - 1}:", unknown)
        raise UserError(f"{root / folder} has folders that are no class", problems)
    if not synset_of:
        return _labelled(root, folder)
    return [(f"{folder}/{n}/{p}", synset) for n, synset in synset_of.items() for p in pictures_in(root / folder / n)]


def _labelled(root: Path, folder: str) -> list[tuple[str, str]]:
    """Key and synset of pictures that all lie in one folder, from a list of their labels; raises `UserError`."""
    pictures = pictures_in(root / folder)
    if not pictures:
        return []
    labels = _first((root, (root / folder).parent, root / folder), _VAL_LABELS)
    if labels is None:
        raise UserError(
            f"the pictures of {root / folder} lie in no class's folder, and there is no list of their labels",
            [f"no {name} in {root}" for name in _VAL_LABELS],
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


def _class_info(path: Path) -> list[tuple[int, str, str]]:
    """Number, synset and name of each class of BREEDS; raises `UserError`."""
    rows = read_json(path)
    if not isinstance(rows, list) or any(
        not isinstance(row, list) or list(map(type, row)) != [int, str, str] for row in rows
    ):
        raise UserError(f"{path}: expected a list of [number, synset, name]")
    return [(number, synset, name) for number, synset, name in rows]


def _children(classes: Sequence[str], parents: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """Of every synset above some classes, the synsets right below it that are or have such a class."""
    children: dict[str, set[str]] = defaultdict(set)
    todo = [synset for synset in classes if synset in parents]
    seen = set(todo)
    while todo:
        synset = todo.pop()
        for above in parents.get(synset, ()):
            children[above].add(synset)
            if above not in seen:
                seen.add(above)
                todo.append(above)
    return children


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
