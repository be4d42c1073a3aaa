"""A data set held against its card: labels, classes, files, pictures; each fault in words."""

from __future__ import annotations

import posixpath
import time
from collections import Counter
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from hierfit.data.card import DataCard
from hierfit.data.images import Files, passed_over, passed_over_text
from hierfit.data.table import SPLITS, Images, Split, Table, several, survey_table
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.tools.check.duplicates import Ints
from hierfit.tools.check.labels import count_labels
from hierfit.tools.check.leaks import judge_exact, judge_near
from hierfit.tools.check.pictures import Pictures, look
from hierfit.tools.check.result import Audit
from hierfit.tools.lines import counted

_IMBALANCE = 10.0
_SMALL = 32  # pixels
_SHOTS = 16
_DARK = 10  # mean of 255

UNREADABLE = "cannot be read"
"""Why a card leaves out a picture that could not be decoded."""


def audit(card: DataCard, root: str | None, workers: int = 1, pictures: bool = True) -> Audit:
    """Read a data set and look for all that may be wrong with it; never raises for what it finds.

    Args:
        card: The data card.
        root: Folder or file of the data.
        workers: Processes that decode pictures.
        pictures: Whether to decode them; without, labels and counts only.
    """
    found = Audit(card, root or (str(card.root) if card.root else None))
    try:
        table = survey_table(card, root, found.problems)
    except UserError as error:
        found.problems += [error.summary, *error.problems, *([error.hint] if error.hint else [])]
        return found
    found.taxonomy = table.taxonomy
    found.splits = {name: count_labels(split, table.taxonomy) for name, split in table.splits.items()}
    _judge_labels(found)
    _judge_classes(found, table)
    _judge_passed_over(found, table)
    if table.images is None:
        _judge_features(found, table)
    elif pictures:
        _look(found, table, table.images, workers)
    return found


def _judge_labels(found: Audit) -> None:
    for name, labels in found.splits.items():
        if labels.partial:
            what = ", ".join(f"{count} at {level}" for level, count in labels.partial.items())
            found.notes.append(f"{name}: {sum(labels.partial.values())} images are labelled at inner nodes ({what})")
        if name == "train" and labels.imbalance > _IMBALANCE:
            found.warnings.append(
                f"train: the largest leaf has {labels.most} images, the smallest {labels.fewest} "
                f"({labels.imbalance:.0f} to 1)"
            )
        if name == "train" and 0 < labels.fewest < _SHOTS:
            found.notes.append(
                f"train: a leaf has only {counted(labels.fewest, 'image')}: more shots need --data.shots_policy all"
            )
        stated = found.card.splits.get(name)
        if name in ("val", "test") and labels.empty and labels.images and (stated is None or stated.leaves is None):
            found.warnings += several(f"{name}: no image of", labels.empty)


def _judge_classes(found: Audit, table: Table) -> None:
    """Classes without images: they cannot be learnt, or what is said of them is not tested."""
    tree, train = table.taxonomy, table.splits.get("train")
    if train is None:
        return
    trained = _leaves_of(train, tree)
    empty = (~trained).nonzero()[:, 0]
    if stated := found.card.splits.get("train"):  # else it is a problem
        where = [tree.full_name(int(tree.leaves[i])) for i in empty.tolist()]
        found.warnings += several("train: no image of", where) if stated.leaves is not None else []
    for name in ("val", "test"):
        if name in table.splits:
            only = (_leaves_of(table.splits[name], tree) & ~trained).nonzero()[:, 0]
            classes = [tree.full_name(int(tree.leaves[i])) for i in only.tolist()]
            found.warnings += several(f"{name}: images of a class that is not trained on:", classes)


def _leaves_of(split: Split, tree: Taxonomy) -> torch.Tensor:
    """Whether each leaf has images ``[C]``."""
    leaf = tree.leaf_index[split.nodes[split.nodes >= 0]]
    return torch.bincount(leaf[leaf >= 0], minlength=tree.num_leaves) > 0


def _judge_passed_over(found: Audit, table: Table) -> None:
    """Files that may be pictures but are of a kind that is not read."""
    if not isinstance(table.images, Files):
        return
    if unread := passed_over(table.images.root):
        found.warnings.append(passed_over_text(unread))
    read = {_ending(key) for split in table.splits.values() for key in split.keys}
    left_out = Counter(_ending(key) for key, why in found.card.leave_out.items() if why == UNREADABLE)
    found.warnings += [
        f"none of {count} pictures {suffix or 'without an ending'} can be read; the card leaves them out"
        for suffix, count in left_out.items()
        if suffix not in read
    ]


def _ending(key: str) -> str:
    return posixpath.splitext(key)[1].lower()


def _judge_features(found: Audit, table: Table) -> None:
    names = [name for name in SPLITS if name in table.splits]
    rows = {}
    for name in names:
        features = table.splits[name].features
        assert features is not None
        content = np.ascontiguousarray(features.numpy())
        rows[name] = content.view(f"V{content.dtype.itemsize * content.shape[1]}").reshape(len(content))
    for a, b in combinations(names, 2):
        if both := len(np.intersect1d(rows[a], rows[b])):
            found.problems.append(f"leak: {both} feature vectors of {b} are also in {a}")


def _look(found: Audit, table: Table, images: Images, workers: int) -> None:
    splits = {name: split for name, split in table.splits.items() if len(split)}
    keys, split, node = _listed(splits)
    start = time.perf_counter()
    seen = look(images, keys, workers)
    found.looked_at, found.seconds = len(keys), time.perf_counter() - start
    names = list(splits)
    found.places = {key: (names[i], v) for key, i, v in zip(keys, split.tolist(), node.tolist(), strict=True)}
    found.unreadable = {keys[row]: fault for row, fault in seen.faults.items()}
    for i, name in enumerate(names):
        faults = [fault for row, fault in seen.faults.items() if split[row] == i]
        found.problems += several(f"{name}: cannot be used:", faults)
    _judge_kinds(found, seen, keys)
    if isinstance(images, Files):
        found.notes += several("reached through a link that leaves the root:", images.leading_out(keys))
    judge_exact(found, seen, keys, names, split, node, table.taxonomy)
    judge_near(found, seen, keys, names, split)


def _listed(splits: dict[str, Split]) -> tuple[list[str], Ints, Ints]:
    """Each key once, with the split and the label it has where it comes first."""
    first: dict[str, tuple[int, int]] = {}
    for i, split in enumerate(splits.values()):
        for key, node in zip(split.keys, split.nodes.tolist(), strict=True):
            first.setdefault(key, (i, node))
    places = np.array(list(first.values()), dtype=np.int64).reshape(-1, 2)
    return list(first), places[:, 0], places[:, 1]


def _judge_kinds(found: Audit, seen: Pictures, keys: list[str]) -> None:
    readable = seen.kinds != ""
    found.kinds = dict(Counter(seen.kinds[readable].tolist()).most_common())
    if not readable.any():
        return
    short, long = np.sort(seen.sizes[readable], axis=1).T
    for name, side in (("shorter side", short), ("longer side", long)):
        found.sizes[name] = int(side.min()), int(np.median(side)), int(side.max())
    small = np.flatnonzero(readable & (seen.sizes.min(axis=1) < _SMALL))
    found.warnings += several(f"smaller than {_SMALL} pixels:", _sized(small, keys, seen.sizes))
    plain = np.flatnonzero(readable & ~seen.usable)
    found.warnings += several("of one colour only:", [keys[row] for row in plain])
    dark = np.flatnonzero(seen.usable & (seen.thumbs.mean(axis=(1, 2)) < _DARK))
    found.warnings += several(f"nearly black (mean below {_DARK} of 255):", [keys[row] for row in dark])


def _sized(rows: Ints, keys: list[str], sizes: NDArray[np.int32]) -> list[str]:
    return [f"{keys[row]} ({sizes[row][0]} × {sizes[row][1]})" for row in rows]
