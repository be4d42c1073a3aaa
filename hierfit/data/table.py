"""From a card to its table: the layout's samples, put on the tree, and the checks that any data set must pass."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import torch

from hierfit.data.card import DataCard
from hierfit.data.home import Home
from hierfit.data.samples import (
    READY_DRAW,
    SPLITS,
    Images,
    Label,
    Sample,
    Split,
    Table,
    check_levels,
    leaves_root,
    nodes_of,
    repeated,
    several,
)
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

_UNUSUAL = re.compile(r"(?:^|/)\.{0,2}(?:/|$)")  # a part of a key that is empty, . or ..


def read_table(card: DataCard, root: str | Path | None) -> Table:
    """Read a card's data set and check it against the card.

    Args:
        card: The data card.
        root: Folder or file the data lies in; None for where the card says, or for one that draws its own.

    Raises:
        UserError: Everything that is wrong with the data, at once: missing files, paths that leave the
            root, labels outside the taxonomy, empty splits, leaves without images, samples in two splits,
            counts other than the card's.
    """
    problems: list[str] = []
    table = survey_table(card, root, problems)
    if problems:
        root = root or card.root
        where = f" in {root}" if root else ""
        raise UserError(
            f"the data of card {card.name!r}{where} is not as {card.path.name} says",
            problems,
            "Mend the data, or copy the card and state what you have.",
        )
    return table


def survey_table(card: DataCard, root: str | Path | None, problems: list[str]) -> Table:
    """`read_table` for who wants to see the table whatever is wrong with it: problems are added, not raised.

    Raises:
        UserError: There is nothing to read.
    """
    home = Home(card, card.root if root is None else Path(root).expanduser(), problems)
    table = _placed(home, card.layout.function(home, **card.layout.options))
    if card.leave_out:
        table = _without(table, card, problems)
    problems += check_levels(table.taxonomy, card.levels)
    for name, split in table.splits.items():
        problems += _check_counts(name, split, table.taxonomy, card)
    problems += _check_presence(table, card)
    problems += _check_leaks(table)
    try:
        return replace(table, taxonomy=card.called(table.taxonomy))
    except UserError as error:
        problems += error.problems
        return table


def _placed(home: Home, samples: Iterable[Sample]) -> Table:
    """The samples of a layout, with a node for each label."""
    found: dict[str, tuple[list[str], list[Label]]] = {}
    for split, key, label in samples:
        if split not in found:
            found[split] = [], []
        keys, labels = found[split]
        keys.append(posixpath.normpath(key) if _UNUSUAL.search(key) else key)
        labels.append(label)
    for split in home.empty:
        found.setdefault(split, ([], []))
    tree = home.card.tree if home.tree is None else home.tree
    if home.names is not None:
        from hierfit.data.names import worded

        spelled = worded({label for _, labels in found.values() for label in labels}, tree, home.names)
        found = {split: (keys, [spelled[label] for label in labels]) for split, (keys, labels) in found.items()}
    if home.images is None and home.encoded is None:
        home.images = _files(home, {split: keys for split, (keys, _) in found.items()})
    splits = {
        split: Split(tuple(keys), nodes_of(tree, split, labels, home.problems), home.features.get(split))
        for split, (keys, labels) in found.items()
    }
    if home.draw is not None and home.draw_from in splits:
        home.report("listed more than once:", repeated(splits[home.draw_from].keys))
        splits = home.draw.of(splits, home.draw_from)
    return Table(tree, splits, home.images, home.encoded)


def _files(home: Home, found: Mapping[str, list[str]]) -> Images:
    """The pictures at the keys of each split; every one must be there, below the root."""
    from hierfit.data.images import Files  # here: a data set may draw its pictures, or have none

    base = home.base or home.folder()
    for split, keys in found.items():
        outside = [key for key in keys if key.startswith(("/", "..")) and leaves_root(key)]
        home.report(f"{split}: path leaves the folder {base}:", outside)
        home.report(f"{split}: no such file:", _absent(base, [key for key in keys if key not in outside]))
    return Files(base)


def _absent(base: Path, keys: Iterable[str]) -> list[str]:
    """Keys without a file below ``base``; one listing a folder instead of one look a file."""
    there: dict[str, frozenset[str]] = {}
    missing = []
    for key in keys:
        folder, name = posixpath.split(key)
        if folder not in there:
            try:
                with os.scandir(base / folder) as entries:
                    there[folder] = frozenset(entry.name for entry in entries if entry.is_file())
            except (OSError, ValueError):  # ValueError: a name that no file can have
                there[folder] = frozenset()
        if name not in there[folder] and not os.path.isfile(base / key):  # a file of another case, or spelling, may do
            missing.append(key)
    return missing


def _without(table: Table, card: DataCard, problems: list[str]) -> Table:
    """A table without the samples that the card leaves out."""
    splits = {}
    seen: set[str] = set()
    for name, split in table.splits.items():
        left = [row for row, key in enumerate(split.keys) if key not in card.leave_out]
        seen.update(key for key in split.keys if key in card.leave_out)
        splits[name] = split.select(torch.tensor(left, dtype=torch.int64)) if len(left) < len(split) else split
    unknown = [key for key in card.leave_out if key not in seen]
    if root := getattr(table.images, "root", None):  # a layout may pass by what the card leaves out
        unknown = [key for key in unknown if leaves_root(key) or not os.path.isfile(root / key)]
    problems += several(f"{card.path.name}: leave_out: there is no", unknown)
    return replace(table, splits=splits)


def _check_counts(name: str, split: Split, taxonomy: Taxonomy, card: DataCard) -> list[str]:
    """Images and leaves of a split; unless the card says otherwise, `train` has images for every leaf."""
    expected = card.splits.get(name)
    if not len(split):
        return [f"{name}: no images"]
    problems = []
    if expected and expected.images is not None and expected.images != len(split):
        problems.append(f"{name}: the card says {expected.images} images, found {len(split)}")
    if (split.nodes < 0).any():  # already reported; counting leaves without them would only add noise
        return problems
    leaf = taxonomy.leaf_index[split.nodes]
    filled = torch.zeros(taxonomy.num_leaves, dtype=torch.bool)
    filled[leaf[leaf >= 0]] = True
    stated = expected.leaves if expected else None
    wanted = taxonomy.num_leaves if stated is None and name == "train" else stated
    if wanted is not None and wanted != (found := int(filled.sum())):
        missing = [taxonomy.full_name(int(v)) for v in taxonomy.leaves[~filled]]
        who = "the card says" if stated is not None else "the taxonomy has"
        problems += [f"{name}: {who} {wanted} leaves, found images of {found}"]
        problems += several(f"{name}: no image of", missing)
    return problems


def _check_presence(table: Table, card: DataCard) -> list[str]:
    """Something to test on, and something to train on unless the card states a split ``test`` and no other."""
    names = table.splits.keys()
    problems = [] if "test" in names else ["there is no split 'test'"]
    if "train" not in names and not any(READY_DRAW.fullmatch(n) for n in names) and list(card.splits) != ["test"]:
        problems.append("there is no split 'train' and no ready draw 'train<K>'")
    return problems


def _check_leaks(table: Table) -> list[str]:
    """Samples listed twice, in one split or in two of `train`, `val` and `test`."""
    problems = []
    for name, split in table.splits.items():
        problems += several(f"{name}: listed more than once:", repeated(split.keys))
    for a, b in combinations([s for s in SPLITS if s in table.splits], 2):
        both = sorted(set(table.splits[a].keys) & set(table.splits[b].keys))
        problems += several(f"leak: in both {a} and {b}:", both)
    return problems
