"""A data set held against its card: labels, classes, files, pictures; each fault in words."""

from __future__ import annotations

import posixpath
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import torch

from hierfit.data.card import DataCard
from hierfit.data.images import Files, passed_over, passed_over_text
from hierfit.data.samples import SPLITS, Split, Table, several, split_order
from hierfit.data.table import survey_table
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.checks import counted, listed
from hierfit.tools.check.duplicates import judge_exact, judge_near
from hierfit.tools.check.pictures import Pictures, look

SHOTS = 16
"""Of the few-shot experiments."""
UNREADABLE = "cannot be read"
"""Why a card leaves out a picture that could not be decoded."""

_IMBALANCE = 10.0
_SMALL, _DARK = 32, 10  # pixels; mean of 255


@dataclass(frozen=True)
class Labels:
    """What the labels of a split cover, and how evenly, over the leaves that have any images.

    ``partial`` counts those labelled at inner nodes, by the levels there are any at; ``empty`` are leaves' full names.
    """

    images: int
    leaves: int
    fewest: int
    median: float
    most: int
    partial: dict[str, int]
    unknown: int
    empty: tuple[str, ...]

    @classmethod
    def of(cls, split: Split, tree: Taxonomy) -> Labels:
        """Counts what is labelled, and how finely. O(n + N)."""
        known = split.nodes[split.nodes >= 0]
        leaf = tree.leaf_index[known]
        counts = torch.bincount(leaf[leaf >= 0], minlength=tree.num_leaves)
        filled = counts[counts > 0].tolist() or [0]
        inner = torch.bincount(tree.level[known[leaf < 0]], minlength=tree.num_levels).tolist()
        return cls(
            images=len(split),
            leaves=int((counts > 0).sum()),
            fewest=min(filled),
            median=float(np.median(filled)),
            most=max(filled),
            partial={level: count for level, count in zip(tree.levels, inner, strict=True) if count},
            unknown=len(split) - len(known),
            empty=tuple(tree.full_name(v) for v in tree.leaves[counts == 0].tolist()),
        )


@dataclass
class Audit:
    """What was found.

    Attributes:
        taxonomy: The tree; None where nothing could be read.
        places: Split and label of each sample, by key; where it is in several splits, of the first.
        pictures: What was seen of them; None where nobody looked.
        passed_by: Whether there are pictures that nobody looked at.
        exact: Groups of keys of equal content.
        near: Pairs of keys that look alike and their distance in bits, the most alike first.
        problems: What must be mended; warnings are what someone should look at, notes what is good to know.
        advice: How the problems may be mended.
    """

    card: DataCard
    root: str | None
    taxonomy: Taxonomy | None = None
    splits: dict[str, Labels] = field(default_factory=dict)
    places: dict[str, tuple[str, int]] = field(default_factory=dict)
    pictures: Pictures | None = None
    passed_by: bool = False
    seconds: float = 0.0
    exact: list[list[str]] = field(default_factory=list)
    near: list[tuple[str, str, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    advice: str = "Mend the data, or copy the card and state what you have."

    @property
    def kinds(self) -> dict[str, int]:
        """Pictures of each format and mode, the commonest first."""
        kinds = [] if self.pictures is None else self.pictures.kinds[self.pictures.readable].tolist()
        return dict(Counter(kinds).most_common())

    @property
    def sizes(self) -> dict[str, tuple[int, int, int]]:
        """Smallest, median and largest of the shorter sides and of the longer sides, pixels."""
        if self.pictures is None or not self.pictures.readable.any():
            return {}
        sides = np.sort(self.pictures.facts["size"][self.pictures.readable], axis=1).T
        return {name: (int(side.min()), int(np.median(side)), int(side.max()))
                for name, side in zip(("shorter side", "longer side"), sides, strict=True)}  # fmt: skip

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Reason for each picture that cannot be used, by key."""
        return {} if self.pictures is None else self.pictures.faults


def audit(
    card: DataCard, root: str | None, workers: int = 1, pictures: bool = True, seen: Audit | None = None
) -> Audit:
    """Reads a data set and looks for all that may be wrong with it; never raises for what it finds.

    Pictures are decoded unless they were ``seen`` by another audit, of the same and perhaps more, or not wanted.
    """
    found = Audit(card, root or (str(card.root) if card.root else None))
    try:
        table = survey_table(card, root, found.problems)
    except UserError as error:
        found.problems += [error.summary, *error.problems]
        found.advice = error.hint or found.advice
        return found
    found.taxonomy = table.taxonomy
    for name, split in sorted(table.splits.items(), key=lambda item: split_order(item[0])):
        found.splits[name] = Labels.of(split, table.taxonomy)
        for key, node in zip(split.keys, split.nodes.tolist(), strict=True):
            found.places.setdefault(key, (name, node))
    _judge_labels(found)
    _judge_files(found, table)
    if table.images is None:
        _judge_features(found, table)
        return found
    found.passed_by = not pictures
    if pictures and seen is not None and seen.pictures is not None:
        found.pictures, found.seconds = seen.pictures.of(list(found.places)), seen.seconds
    elif pictures:
        start = time.perf_counter()
        found.pictures = look(table.images, list(found.places), workers)
        found.seconds = time.perf_counter() - start
    if found.pictures is not None:
        _judge_pictures(found, found.pictures, table)
    return found


def _judge_labels(found: Audit) -> None:
    """Labels above the leaves, imbalance; classes without images, which cannot be learnt, or of which nothing is
    tested."""
    train = found.splits.get("train")
    stated = {name for name, split in found.card.splits.items() if split.leaves is not None}
    for name, labels in found.splits.items():
        if labels.partial:
            images = counted(sum(labels.partial.values()), "image is", "images are")
            where = ", ".join(f"{count} at {level}" for level, count in labels.partial.items())
            found.notes.append(f"{name}: {images} labelled at inner nodes ({where})")
        # Of `train` it is a problem where nothing is stated; of the others it is meant where something is.
        if name in SPLITS and labels.empty and labels.images and (name in stated) == (name == "train"):
            found.warnings.append(f"{name}: no image of {listed(labels.empty)}")
        tested = set(train.empty if train else ()).difference(labels.empty)
        if name in ("val", "test") and (only := sorted(tested)):
            classes = counted(len(only), "class that is", "classes that are")
            found.warnings.append(f"{name}: images of {classes} not trained on: {listed(only)}")
    if train and train.most > _IMBALANCE * max(train.fewest, 1):
        sizes = f"{train.most} images, the smallest {train.fewest} ({train.most / max(train.fewest, 1):.0f} to 1)"
        found.warnings.append(f"train: the largest leaf has {sizes}")
    if train and 0 < train.fewest < SHOTS:
        few = f"train: the smallest leaf has only {counted(train.fewest, 'image')}"
        found.notes.append(f"{few}: to take more shots than that, give --data.shots_policy all")


def _judge_files(found: Audit, table: Table) -> None:
    """Files that may be pictures but are of a kind that is not read."""
    if not isinstance(table.images, Files):
        return
    if unread := passed_over(table.images.root):
        found.warnings.append(passed_over_text(unread))

    def ending(key: str) -> str:
        return posixpath.splitext(key)[1].lower()

    read = {ending(key) for split in table.splits.values() for key in split.keys}
    left_out = Counter(ending(key) for key, why in found.card.leave_out.items() if why == UNREADABLE)
    found.warnings += [
        f"no picture {f'that ends in {kind}' if kind else 'without an ending'} can be read ({count}); the card leaves "
        "them out"
        for kind, count in left_out.items()
        if kind not in read
    ]


def _judge_features(found: Audit, table: Table) -> None:
    """Equal features in two splits."""
    rows = {}
    for name in [name for name in SPLITS if name in table.splits]:
        features = table.splits[name].features
        assert features is not None
        content = np.ascontiguousarray(features.numpy())
        rows[name] = content.view(f"V{content.dtype.itemsize * content.shape[1]}").reshape(len(content))
    for a, b in combinations(rows, 2):
        if both := len(np.intersect1d(rows[a], rows[b])):
            vectors = counted(both, f"feature vector of {b} is", f"feature vectors of {b} are")
            found.problems.append(f"leak: {vectors} also in {a}")


def _judge_pictures(found: Audit, seen: Pictures, table: Table) -> None:
    """Pictures that cannot be used, that hardly show anything, that lie elsewhere, or that come again."""
    names = list(found.splits)
    for name in names:
        faults = [fault for key, fault in seen.faults.items() if found.places[key][0] == name]
        found.problems += several(f"{name}: cannot be used:", faults)
    size, thumbs = seen.facts["size"], seen.facts["thumb"]
    sized = [f"{key} ({width} × {height})" for key, (width, height) in zip(seen.keys, size.tolist(), strict=True)]
    for what, rows, shown in (
        (f"smaller than {_SMALL} pixels", seen.readable & (size.min(axis=1) < _SMALL), sized),
        ("of one colour only", seen.readable & ~seen.usable, seen.keys),
        (f"nearly black (mean below {_DARK} of 255)", seen.usable & (thumbs.mean(axis=(1, 2)) < _DARK), seen.keys),
    ):
        if rows.any():
            pictures = counted(int(rows.sum()), "picture is", "pictures are")
            found.warnings.append(f"{pictures} {what}: {listed([shown[row] for row in np.flatnonzero(rows).tolist()])}")
    if isinstance(table.images, Files):
        found.notes += several("reached through a link that leaves the root:", table.images.leading_out(seen.keys))
    judge_exact(found, seen, table.taxonomy)
    judge_near(found, seen, names)
