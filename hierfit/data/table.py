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

from hierfit.data import samples
from hierfit.data.card import DataCard
from hierfit.data.home import Home
from hierfit.data.samples import Sample, Split, Table, leaves_root, several
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

_UNUSUAL = re.compile(r"(?:^|/)\.{0,2}(?:/|$)")  # a part of a key that is empty, . or ..


def read_table(card: DataCard, root: str | Path | None) -> Table:
    """Read a card's data set and check it against the card.

    Args:
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
    table = _on_tree(home, card.layout.function(home, **card.layout.options))
    for what, items in home.reported.items():
        problems += several(what, items)
    if card.leave_out:
        table = _without(table, card, problems)
    problems += samples.check_levels(table.taxonomy, card.levels)
    for name, split in table.splits.items():
        problems += _check_counts(name, split, table.taxonomy, card)
    problems += _check_splits(table, card)
    try:
        return replace(table, taxonomy=card.called(table.taxonomy))
    except UserError as error:
        problems += error.problems
        return table


def _on_tree(home: Home, yielded: Iterable[Sample]) -> Table:
    """The samples of a layout, with a node for each label."""
    keys: dict[str, list[str]] = {}
    labels: dict[str, list[samples.SampleLabel]] = {}
    for split, key, label in yielded:
        keys.setdefault(split, []).append(posixpath.normpath(key) if _UNUSUAL.search(key) else key)
        labels.setdefault(split, []).append(label)
    for split in home.empty:
        keys.setdefault(split, [])
        labels.setdefault(split, [])
    tree = home.card.tree if home.tree is None else home.tree
    if home.names is not None:
        from hierfit.data.names import speller

        spelled = speller(tree, home.names)
        labels = {split: [spelled(label) for label in part] for split, part in labels.items()}
    if home.images is None and home.encoded is None:
        from hierfit.data.images import Files  # here: a data set may draw its pictures, or have none

        home.images = Files(home.base or home.folder())
        _check_files(home, keys)
    splits = {
        split: Split(tuple(part), samples.nodes_of(tree, split, labels[split], home.problems), home.features.get(split))
        for split, part in keys.items()
    }
    if home.draw is not None and home.draw_from in splits:
        home.report("listed more than once:", samples.repeated(splits[home.draw_from].keys))
        splits = home.draw.of(splits, home.draw_from)
    return Table(tree, splits, home.images, home.encoded)


def _check_files(home: Home, keys: Mapping[str, list[str]]) -> None:
    """Every picture must be there, below its folder. One listing a folder instead of one look a file."""
    base = home.base or home.folder()
    there: dict[str, frozenset[str]] = {}
    for split, part in keys.items():
        for key in part:
            folder, name = posixpath.split(key)
            if key.startswith(("/", "..")) and leaves_root(key):
                home.report(f"{split}: path leaves the folder {base}:", [key])
                continue
            if folder not in there:
                try:
                    with os.scandir(base / folder) as entries:
                        there[folder] = frozenset(entry.name for entry in entries if entry.is_file())
                except (OSError, ValueError):  # ValueError: a name that no file can have
                    there[folder] = frozenset()
            # A file of another case, or spelling, may do.
            if name not in there[folder] and not os.path.isfile(base / key):
                home.report(f"{split}: no such file:", [key])


def _without(table: Table, card: DataCard, problems: list[str]) -> Table:
    """A table without the samples that the card leaves out."""
    splits = {}
    unknown = set(card.leave_out)
    for name, split in table.splits.items():
        unknown.difference_update(split.keys)
        left = [row for row, key in enumerate(split.keys) if key not in card.leave_out]
        splits[name] = split.select(torch.tensor(left, dtype=torch.int64)) if len(left) < len(split) else split
    if root := getattr(table.images, "root", None):  # a layout may pass by what the card leaves out
        unknown = {key for key in unknown if leaves_root(key) or not os.path.isfile(root / key)}
    problems += several(f"{card.path.name}: leave_out: there is no", [k for k in card.leave_out if k in unknown])
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
    if wanted is not None and wanted != (count := int(filled.sum())):
        who = "the card says" if stated is not None else "the taxonomy has"
        problems += [f"{name}: {who} {wanted} leaves, found images of {count}"]
        missing = [taxonomy.full_name(int(v)) for v in taxonomy.leaves[~filled]]
        problems += several(f"{name}: no image of", missing)
    return problems


def _check_splits(table: Table, card: DataCard) -> list[str]:
    """Something to test on, and something to train on unless the card states a split ``test`` and no other; no sample
    twice, in one split or in two of `train`, `val` and `test`."""
    splits = table.splits
    problems = [] if "test" in splits else ["there is no split 'test'"]
    if not any(n == "train" or samples.READY_DRAW.fullmatch(n) for n in splits) and list(card.splits) != ["test"]:
        problems.append("there is no split 'train' and no ready draw 'train<K>'")
    for name, split in splits.items():
        problems += several(f"{name}: listed more than once:", samples.repeated(split.keys))
    for a, b in combinations([s for s in samples.SPLITS if s in splits], 2):
        both = sorted(set(splits[a].keys) & set(splits[b].keys))
        problems += several(f"leak: in both {a} and {b}:", both)
    return problems
