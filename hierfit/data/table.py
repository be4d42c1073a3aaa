"""What a layout reads: the samples of every split and their labels; and the checks any data set must pass."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from PIL import Image
from torch import Tensor

from hierfit.data.images import Files, is_file, leaves_root
from hierfit.data.names import renamed
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

if TYPE_CHECKING:
    from hierfit.data.card import DataCard

SPLITS = ("train", "val", "test")
READY_DRAW = re.compile(r"train([1-9]\d*)")
"""A split ``train<K>`` is a ready K-shot draw."""

_LISTED = 5


@dataclass(frozen=True)
class Split:
    """Samples in a fixed order.

    Attributes:
        keys: Name of each sample, unique in the data set and the same on every machine (a path relative to
            the root, with ``/``): the few-shot draw goes by it.
        nodes: Deepest known node of each sample ``[n]``; −1 where the label is not in the taxonomy.
        features: Image features ``[n, d]``, L2-normalised; None when the samples are images.
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
    """What a data set that comes as features knows of the model that made them.

    Attributes:
        text: L2-normalised text feature of each node ``[N, d]``; None when there is none.
        logit_scale: Multiplier of cosine similarities.
        backbone: Name of the model.
        fingerprint: Hash of the file.
    """

    text: Tensor | None
    logit_scale: float
    backbone: str
    fingerprint: str


@dataclass(frozen=True)
class Table:
    """A whole data set, as a layout found it.

    Attributes:
        taxonomy: The card's tree, or the data's own where the card has none.
        splits: By name: ``train``, ``val``, ``test``, and ready draws ``train<K>``.
        images: Gives the picture of a key; None when the splits hold features.
        encoded: For a data set of features.
    """

    taxonomy: Taxonomy
    splits: Mapping[str, Split]
    images: Images | None = None
    encoded: Encoded | None = None


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
    root = card.root if root is None else Path(root).expanduser()
    table = card.layout.read(root, card, problems)
    if card.leave_out:
        table = _without(table, card, problems)
    problems += check_levels(table.taxonomy, card.levels)
    for name, split in table.splits.items():
        problems += check_counts(name, split, table.taxonomy, card)
    problems += check_presence(table, card)
    problems += check_leaks(table)
    try:
        return replace(table, taxonomy=renamed(table.taxonomy, card.names))
    except UserError as error:
        problems += error.problems
        return table


def _without(table: Table, card: DataCard, problems: list[str]) -> Table:
    """A table without the samples that the card leaves out."""
    splits = {}
    seen: set[str] = set()
    for name, split in table.splits.items():
        kept = [row for row, key in enumerate(split.keys) if key not in card.leave_out]
        seen.update(key for key in split.keys if key in card.leave_out)
        splits[name] = split.select(torch.tensor(kept, dtype=torch.int64)) if len(kept) < len(split) else split
    unknown = [key for key in card.leave_out if key not in seen and not _is_there(table.images, key)]
    problems += several(f"{card.path.name}: leave_out: there is no", unknown)
    return replace(table, splits=splits)


def _is_there(images: Images | None, key: str) -> bool:
    return isinstance(images, Files) and not leaves_root(key) and is_file(images.root / key)


def check_levels(taxonomy: Taxonomy, levels: Mapping[str, int | None]) -> list[str]:
    """Level names and node counts of the card against those of the tree; a count of None is any."""
    actual = dict(zip(taxonomy.levels, taxonomy.level_sizes, strict=True))
    if list(actual) == list(levels) and all(levels[name] in (None, size) for name, size in actual.items()):
        return []
    return [f"the card says levels {level_text(levels)}, the taxonomy has {level_text(actual)}"]


def check_counts(name: str, split: Split, taxonomy: Taxonomy, card: DataCard) -> list[str]:
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


def check_presence(table: Table, card: DataCard) -> list[str]:
    """Something to test on, and something to train on unless the card states a split ``test`` and no other."""
    names = table.splits.keys()
    problems = [] if "test" in names else ["there is no split 'test'"]
    if "train" not in names and not any(READY_DRAW.fullmatch(n) for n in names) and list(card.splits) != ["test"]:
        problems.append("there is no split 'train' and no ready draw 'train<K>'")
    return problems


def check_leaks(table: Table) -> list[str]:
    """Samples listed twice, in one split or in two of `train`, `val` and `test`."""
    problems = []
    for name, split in table.splits.items():
        problems += several(f"{name}: listed more than once:", repeated(split.keys))
    for a, b in combinations([s for s in SPLITS if s in table.splits], 2):
        both = sorted(set(table.splits[a].keys) & set(table.splits[b].keys))
        problems += several(f"leak: in both {a} and {b}:", both)
    return problems


def repeated(names: Iterable[str]) -> list[str]:
    """Those that come more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def several(what: str, items: Sequence[str]) -> list[str]:
    """One problem line an item, or one line for all when they are many."""
    if len(items) <= _LISTED:
        return [f"{what} {item}" for item in items]
    return [f"{what} {', '.join(items[:_LISTED])} and {len(items) - _LISTED} more"]


def nodes_of(taxonomy: Taxonomy, split: str, labels: Iterable[str | Sequence[str]], problems: list[str]) -> Tensor:
    """Node ids ``[n]`` of labels; those that name no node, or several, become problems and −1."""
    labels = list(labels)
    try:
        return only_namesakes(taxonomy)[taxonomy.resolve(labels)]
    except UserError as error:
        problems += [f"{split}: {problem}" for problem in error.problems]
        return torch.full((len(labels),), -1)


def only_namesakes(taxonomy: Taxonomy) -> Tensor:
    """For each node ``[N]`` the leaf that is its only child and has its name (*Lemon > Lemon*), else itself."""
    found = torch.arange(taxonomy.num_nodes)
    for node in reversed(range(taxonomy.num_nodes)):
        above = int(taxonomy.parent[node])
        if above >= 0 and taxonomy.num_children[above] == 1 and taxonomy.names[above] == taxonomy.names[node]:
            found[above] = found[node]
    inner = taxonomy.num_children > 0
    return torch.where(inner[found], torch.arange(taxonomy.num_nodes), found)


def names_of(tree: Taxonomy, nodes: Tensor) -> Iterator[tuple[str, ...]]:
    """Names from the root down to each of the nodes ``[n]``, some at a time."""
    for block in nodes.split(1 << 12):
        for path in tree.paths(block).tolist():
            yield tuple(tree.names[v] for v in path if v >= 0)


def level_text(levels: Mapping[str, int | None]) -> str:
    """``genus 18, species 72``."""
    return ", ".join(f"{name} {'any' if size is None else size}" for name, size in levels.items())
