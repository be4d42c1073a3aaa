"""What is drawn to train and select on, and splits for data that come without; by hashes of seed and key alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Lt
from numpy.typing import NDArray
from torch import Tensor

from hierfit.data.choice import Choice, coarsened, lot
from hierfit.data.samples import SPLITS, Split, Table, split_order
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy


def training_split(table: Table, choice: Choice, seen: Tensor | None = None) -> Split:
    """What to train on.

    A ready draw ``train<K>`` of the data set is taken as it is, whatever the seed, unless another split is named to
    draw from. Where labels are coarse, they are cut here, so that nothing below has seen them. Of nodes ``[N]`` some
    may be seen, or all; samples known only to an inner node count as seen where all leaves below it are.

    Raises:
        UserError: Lists the leaves with too few images; or the ready draws there are, when the data set has no full
            training split.
    """
    source = choice.draw_from
    if _is_ready(table, choice):
        return _only(table.splits[f"train{choice.shots}"], table.taxonomy, seen)
    if source not in table.splits:
        known = [name for name in table.splits if name not in ("val", "test")]
        if not known:
            raise UserError(
                "this data set has nothing to train on: it is there to test what was trained on another",
                hint="Train on another card, and name this one in data.targets.",
            )
        ready = " or ".join(str(number) for _, number in sorted(map(split_order, known)) if number)
        way = f", or data.shots to {ready}, whose draw is ready" if ready else ""
        raise UserError(
            f"data.draw_from: there is no split {source!r} to draw from",
            hint=f"There is {', '.join(known)}: set data.draw_from to one of them{way}.",
        )
    split = _only(table.splits[source], table.taxonomy, seen)
    if choice.key is None:
        return split
    counts, strict = choice.counts(table.taxonomy), choice.shots_policy == "error"
    rows = draw(split, table.taxonomy, counts, choice.seed, choice.coarse_shots, strict, seen, choice.key)
    if not len(rows):
        raise UserError(
            "no training image has the label of a leaf, so none can be drawn",
            hint=f"Set {choice.key} to null, or data.coarse_shots to null or a number.",
        )
    return _labels_told(split.select(rows), table.taxonomy, choice)


def coarse_left_out(table: Table, taken: Split, choice: Choice, seen: Tensor | None = None) -> int:
    """How many samples a draw for training has left out because no leaf is known of them."""
    if choice.key is None or _is_ready(table, choice):
        return 0
    full = _only(table.splits[choice.draw_from], table.taxonomy, seen)
    coarse = ((full.nodes >= 0) & (table.taxonomy.num_children[full.nodes] > 0)).nonzero()[:, 0].tolist()
    return len({full.keys[row] for row in coarse} - set(taken.keys)) if coarse else 0


def validation_split(table: Table, choice: Choice, seen: Tensor | None = None) -> Split:
    """What to select on, of a data set with a split ``val``; classes held back from training are not.

    A K-shot run selects on min(K, 4) images a leaf (CoOp's rule, Zhou et al. 2022), or on what there is of a leaf;
    and by the same rule on at most 4 labelled at each inner node. K are those that are told their leaf.
    """
    split = _only(table.splits["val"], table.taxonomy, seen)
    if choice.key is None or choice.val_shots == "all":
        return split
    coarse = 4 if choice.coarse_shots is None else min(choice.coarse_shots, 4)
    rows = draw(split, table.taxonomy, choice.val_counts(table.taxonomy), choice.seed, coarse)
    return split.select(rows) if len(rows) else split


def draw(
    split: Split,
    taxonomy: Taxonomy,
    shots: int | NDArray[np.int64],
    seed: int,
    coarse_shots: int | None = 0,
    strict: bool = False,
    seen: Tensor | None = None,
    key: str = "data.shots",
) -> Tensor:
    """Rows of K samples a leaf, ascending, and of some known only to an inner node beside them.

    Samples are ranked within their node by a hash of seed and key. So the draw depends on nothing else – not on the
    method, the order of files, other nodes or a library's generator – and K shots are among the first of K + 1.

    Args:
        shots: K, of all leaves or of each ``[C]``.
        coarse_shots: At most so many of each inner node, of the samples labelled no finer; None for all of them.
        strict: Whether every leaf must have K.
        seen: Nodes whose leaves must ``[N]`` bool; None for all.
        key: That says K.

    Raises:
        UserError: Lists every leaf with fewer than K samples.
    """
    nodes, leaves = split.nodes.numpy(), taxonomy.leaves.numpy()
    shots = np.broadcast_to(shots, len(leaves))
    counts = np.bincount(nodes[nodes >= 0], minlength=taxonomy.num_nodes)
    needed = strict if seen is None else strict & seen[taxonomy.leaves].numpy()
    short = np.flatnonzero((counts[leaves] < shots) & needed)
    if len(short):
        most = f"up to {shots.max()}" if shots.min() < shots.max() else shots.max()
        raise UserError(
            f"{key} is {most}, but {len(short)} of {taxonomy.num_leaves} leaves have fewer images",
            [f"{taxonomy.full_name(leaf)}: {counts[leaf]}" for leaf in leaves[short].tolist()],
            f"Lower {key}, or set data.shots_policy to all: such leaves then give all they have.",
        )
    most = np.full(taxonomy.num_nodes, len(nodes) if coarse_shots is None else coarse_shots)
    most[leaves] = shots
    return torch.from_numpy(np.flatnonzero((nodes >= 0) & (_ranks_by_lot(split, seed) < most[nodes])))


def _ranks_by_lot(split: Split, seed: int | str) -> NDArray[np.int64]:
    """Each sample's place among those of its node ``[n]``."""
    nodes = split.nodes.numpy()
    order = np.lexsort((np.array([lot(seed, key) for key in split.keys], dtype=np.uint64), nodes))
    _, counts = np.unique(nodes, return_counts=True)
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return ranks


@dataclass(frozen=True)
class Shares:
    """Which part of each label's samples goes where; the rest is to train on.

    Attributes:
        val: Share of the validation split, 0 for none.
        test: Share of the test split, 0 for data that have one.
        seed: Of the draw. A sample's place depends on seed, its key and its label's other samples alone.
    """

    val: Annotated[float, Ge(0), Lt(1)] = 0.1
    test: Annotated[float, Ge(0), Lt(1)] = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.val + self.test < 1 or min(self.val, self.test) < 0:
            raise UserError(f"val {self.val} and test {self.test} leave nothing to train on, or nothing to draw")

    def of(self, splits: Mapping[str, Split], name: str) -> dict[str, Split]:
        """The splits, of which the one of a name is divided among `train`, `val` and `test`.

        Of a label's n samples, the share is rounded; but a label of two or more has one to test, of three or more one
        to validate on, and always one to train on.
        """
        whole = splits[name]
        rank = _ranks_by_lot(whole, f"split {self.seed}")
        _, label, counts = np.unique(whole.nodes.numpy(), return_inverse=True, return_counts=True)
        size = counts[label]
        test = np.minimum(np.maximum(np.rint(self.test * size), 1), size - 1) * (self.test > 0)
        val = np.minimum(np.maximum(np.rint(self.val * size), 1), np.maximum(size - test - 1, 0)) * (self.val > 0)
        parts = {"train": rank >= test + val, "val": (rank >= test) & (rank < test + val), "test": rank < test}
        needed = {"train": True, "val": False, "test": self.test > 0}
        drawn = {n: whole.select(torch.from_numpy(np.flatnonzero(rows))) for n, rows in parts.items()}
        found = {n: split for n, split in splits.items() if n != name}
        found |= {n: split for n, split in drawn.items() if len(split) or needed[n]}
        return {n: found[n] for n in sorted(found, key=lambda n: SPLITS.index(n) if n in SPLITS else 0)}


def _labels_told(drawn: Split, taxonomy: Taxonomy, choice: Choice) -> Split:
    """A draw with labels no finer than ``data.coarse`` tells: of each leaf the first by lot are told most."""
    nodes, ranks, first = drawn.nodes.clone(), torch.from_numpy(_ranks_by_lot(drawn, choice.seed)), 0
    of_leaf = taxonomy.num_children[nodes] == 0
    for told, count in choice.coarse:
        rows = of_leaf & (ranks >= first) & (ranks < first + count)
        first += count
        if told == "parent":
            above = taxonomy.parent[nodes[rows]]
            nodes[rows] = torch.where(above >= 0, above, nodes[rows])
        elif told != "leaf":
            nodes[rows] = coarsened(nodes[rows], taxonomy, taxonomy.levels.index(told))
    return replace(drawn, nodes=nodes) if choice.coarse else drawn


def draw_fingerprint(keys: Iterable[str]) -> str:
    """First 16 hex digits of the SHA-256 of the sorted keys: equal draws have equal fingerprints."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:16]


def _is_ready(table: Table, choice: Choice) -> bool:
    return choice.draw_from == "train" and f"train{choice.shots}" in table.splits


def _only(split: Split, taxonomy: Taxonomy, seen: Tensor | None) -> Split:
    """Samples of seen classes. One known only to a node with an unseen leaf below it may be of that leaf: it is out."""
    if seen is None:
        return split
    below = taxonomy.leaf_paths[seen[taxonomy.leaves]].flatten()
    seen_below = torch.bincount(below[below >= 0], minlength=taxonomy.num_nodes)
    whole = seen & (seen_below == taxonomy.num_leaves_below)
    return split.select(((split.nodes >= 0) & whole[split.nodes]).nonzero()[:, 0])
