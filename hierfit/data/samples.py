"""Samples, splits and tables of them: what a layout finds, and what everything above the data reads."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from PIL import Image
from torch import Tensor

from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.checks import listed

SPLITS = ("train", "val", "test")
READY_DRAW = re.compile(r"train([1-9]\d*)")
"""A split ``train<K>`` is a ready K-shot draw."""

SampleLabel = str | tuple[str, ...] | None
"""The name of a node; or the names from the root down to it; None where nothing is known."""


class Sample(NamedTuple):
    """One picture, or one row of features.

    Attributes:
        split: ``train``, ``val``, ``test`` or a ready draw ``train<K>``.
        key: Its name, unique in the data set and the same on every machine (a path relative to the root, with ``/``):
            the few-shot draw goes by it.
        label: Its class.
    """

    split: str
    key: str
    label: SampleLabel


@dataclass(frozen=True)
class Split:
    """Samples in a fixed order, with the deepest known node of each ``[n]`` (−1 where its label is not in the tree).

    Features ``[n, d]`` are L2-normalised; None when the samples are images.
    """

    keys: tuple[str, ...]
    nodes: Tensor
    features: Tensor | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def select(self, rows: Tensor) -> Split:
        """The samples at ``rows [m]``, in that order."""
        features = None if self.features is None else self.features[rows]
        return Split(tuple(self.keys[i] for i in rows.tolist()), self.nodes[rows], features)


class Images(Protocol):
    """Where pictures come from: files, or a drawing procedure. Must pickle: loader workers hold it."""

    def load(self, key: str) -> Image.Image:
        """The picture of a sample in RGB; raises `UserError` naming it when it cannot be had."""

    def stamp(self, key: str) -> str:
        """A text that changes whenever the picture may have changed; cached features are kept under it."""


@dataclass(frozen=True)
class Encoded:
    """What a data set that comes as features knows of the model that made them; the fingerprint is the file's.

    ``text [N, d]`` is L2-normalised, None when there is none; the logit scale multiplies cosine similarities.
    """

    text: Tensor | None
    logit_scale: float
    backbone: str
    fingerprint: str


@dataclass(frozen=True)
class Table:
    """A whole data set, on the card's tree, or on its own where the card has none; of pictures, or of features."""

    taxonomy: Taxonomy
    splits: Mapping[str, Split]
    images: Images | None = None
    encoded: Encoded | None = None


def nodes_of(taxonomy: Taxonomy, split: str, labels: Sequence[SampleLabel], problems: list[str]) -> Tensor:
    """Node ids ``[n]`` of labels; −1 for None, and for those that name no node, or several, which become problems.

    A node whose only child has its name (*Lemon > Lemon*) stands for that.
    """
    known = torch.tensor([label is not None for label in labels], dtype=torch.bool)
    nodes = torch.full((len(labels),), -1)
    try:
        found = taxonomy.resolve([label for label in labels if label is not None])
    except UserError as error:
        problems += [f"{split}: {problem}" for problem in error.problems]
        return nodes
    everyone = torch.arange(taxonomy.num_nodes)
    only = everyone.clone()
    for node in reversed(range(taxonomy.num_nodes)):
        above = int(taxonomy.parent[node])
        if above >= 0 and taxonomy.num_children[above] == 1 and taxonomy.names[above] == taxonomy.names[node]:
            only[above] = only[node]
    nodes[known] = torch.where(taxonomy.num_children[only] > 0, everyone, only)[found]
    return nodes


def names_of(tree: Taxonomy, nodes: Tensor) -> Iterator[tuple[str, ...]]:
    """Names from the root down to each of the nodes ``[n]``, some at a time."""
    for block in nodes.split(1 << 12):
        for path in tree.paths(block).tolist():
            yield tuple(tree.names[v] for v in path if v >= 0)


def repeated(names: Iterable[str]) -> list[str]:
    """Those that come more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def split_order(name: str) -> tuple[int, int]:
    """Training first, small draws before large ones; then validation and test."""
    draw = READY_DRAW.fullmatch(name)
    return (0, int(draw[1])) if draw else (SPLITS.index(name) if name in SPLITS else len(SPLITS), 0)


def several(what: str, items: Sequence[str]) -> list[str]:
    """One problem line an item, or one line for all when they are many."""
    return [f"{what} {item}" for item in items] if len(items) <= 5 else [f"{what} {listed(items)}"]


def leaves_root(key: str) -> bool:
    """Whether a relative path leads out of its folder; links inside are the user's own business."""
    return posixpath.isabs(key) or posixpath.normpath(key).split("/")[0] == ".."


def check_levels(taxonomy: Taxonomy, levels: Mapping[str, int | None]) -> list[str]:
    """Level names and node counts of a card against those of the tree; a count of None is any."""
    actual = dict(zip(taxonomy.levels, taxonomy.level_sizes, strict=True))
    if list(actual) == list(levels) and all(levels[name] in (None, size) for name, size in actual.items()):
        return []
    return [f"the card says levels {level_text(levels)}, the taxonomy has {level_text(actual)}"]


def level_text(levels: Mapping[str, int | None]) -> str:
    """``genus 18, species 72``."""
    return ", ".join(f"{name} {'any' if size is None else f'{size:,}'}" for name, size in levels.items())
