"""The same picture twice, in one split, in two, or under two labels: by content exactly, by look nearly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations, combinations_with_replacement
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hierfit.data.samples import several
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.checks import counted, listed
from hierfit.taxonomy.index import Ints
from hierfit.tools.check.pictures import SIDE, Pictures

if TYPE_CHECKING:
    from hierfit.tools.check.audit import Audit

RADIUS = 7
"""Most bits of 128 in which near duplicates differ; with eight chunks they then have one in common."""
LIKENESS = 0.97
"""Least correlation of their thumbnails, which lightness and contrast do not change."""

_NONE = np.iinfo(np.int64).max
_BITS = np.array([i.bit_count() for i in range(1 << 16)], dtype=np.uint8)


def on_one_path(tree: Taxonomy, nodes: Iterable[int]) -> bool:
    """Whether labels do not contradict each other: a coarse one may stand for a fine one, and −1 for any."""
    labels = set(nodes) - {-1}
    return not labels or labels <= set(tree.paths(torch.tensor(max(labels))).tolist())


def judge_exact(found: Audit, seen: Pictures, tree: Taxonomy) -> None:
    """Pictures of equal content: a problem between splits and between labels, else a warning."""
    found.exact = [[seen.keys[row] for row in group] for group in exact_groups(seen.facts["content"], seen.readable)]
    leaks: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    repeats: defaultdict[str, list[str]] = defaultdict(list)
    clashes = []
    for group in found.exact:
        of_split = {name: [key for key in group if found.places[key][0] == name] for name in found.splits}
        for a, b in combinations([name for name, keys in of_split.items() if keys], 2):
            leaks[a, b].append(f"{of_split[a][0]} = {of_split[b][0]}")
        for name, same in of_split.items():
            if len(same) > 1:
                repeats[name].append(" = ".join(same[:3]) + (" = …" if len(same) > 3 else ""))
        node = {key: found.places[key][1] for key in group}
        deepest = max(group, key=node.__getitem__)
        if other := [key for key in group if not on_one_path(tree, (node[deepest], node[key]))]:
            clashes.append(", ".join(f"{key} is {tree.full_name(node[key])}" for key in (deepest, other[0])))
    for (a, b), pairs in leaks.items():
        found.problems.append(
            f"leak: {counted(len(pairs), 'picture is', 'pictures are')} in both {a} and {b}: {listed(pairs)}"
        )
    found.problems += several("the same picture under two labels:", clashes)
    for name, same in repeats.items():
        pictures = counted(len(same), "picture is", "pictures are")
        found.warnings.append(f"{name}: {pictures} there more than once: {listed(same)}")


def judge_near(found: Audit, seen: Pictures, names: list[str]) -> None:
    """Pictures that look alike: a warning between splits, a note within one."""
    # One of each exact group is enough: the others were reported.
    _, first = np.unique(seen.facts["content"], return_index=True)
    rows = np.sort(first[seen.usable[first]])
    keys = [seen.keys[row] for row in rows.tolist()]
    split = np.array([names.index(found.places[key][0]) for key in keys], dtype=np.int64)
    near = nearest_lookalikes(seen.facts["hash"][rows], seen.facts["thumb"][rows], split, len(names))
    for a, b in combinations_with_replacement(range(len(names)), 2):
        hits = np.flatnonzero((split == b) & (near.partner[:, a] >= 0))
        hits = hits[near.distance[hits, a].argsort(kind="stable")]  # the most alike first
        pairs = {(int(i), int(near.partner[i, a])): int(near.distance[i, a]) for i in hits}
        if a == b:  # each of them from both sides
            pairs = {(min(pair), max(pair)): bits for pair, bits in pairs.items()}
        if not pairs:
            continue
        alike = listed([f"{keys[i]} ~ {keys[j]}" for i, j in pairs], 3)
        if a == b:
            count = len({row for pair in pairs for row in pair})
            found.notes.append(f"{names[b]}: {count} pictures look much like another one of {names[b]}: {alike}")
        else:
            pictures = counted(len(pairs), "picture looks", "pictures look")
            found.warnings.append(f"{names[b]}: {pictures} much like one in {names[a]}, probably a leak: {alike}")
        found.near += [(keys[i], keys[j], bits) for (i, j), bits in pairs.items()]
    found.near.sort(key=lambda pair: pair[2])


class Near(NamedTuple):
    """Row of each picture's most similar one in each split ``[n, S]``, −1 where none is near; and the bits in which
    their hashes differ ``[n, S]``, meaningless where there is none."""

    partner: Ints
    distance: Ints


def exact_groups(content: NDArray[np.void], readable: NDArray[np.bool_]) -> list[Ints]:
    """Rows of equal content, a group of two or more each, in the order of their first rows."""
    rows = np.flatnonzero(readable)
    _, group, counts = np.unique(content[rows], return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    parts = np.split(rows[order], np.cumsum(counts)[:-1]) if len(rows) else []
    return sorted((part for part in parts if len(part) > 1), key=lambda part: int(part[0]))


def nearest_lookalikes(
    hashes: NDArray[np.uint16], thumbs: NDArray[np.uint8], split: Ints, splits: int, radius: int = RADIUS
) -> Near:
    """Near duplicates: all pairs within the radius (of bits, at most 7) whose thumbnails agree, exactly.

    Of hashes ``[n, 8]``, thumbnails ``[n, side, side]`` and the number of each one's split, of S ``[n]``. O(n·S) memory
    whatever the number of pairs; time grows with the pairs that share 16 of their bits.
    """
    best = np.full((len(hashes), splits), _NONE)
    for a, b in _sharing_a_chunk(hashes):
        bits = _BITS[hashes[a] ^ hashes[b]].sum(axis=1, dtype=np.int64)
        close = bits <= radius
        a, b, bits = a[close], b[close], bits[close]
        alike = (_standard(thumbs[a]) * _standard(thumbs[b])).mean(axis=1) >= LIKENESS
        a, b, bits = a[alike], b[alike], bits[alike]
        np.minimum.at(best, (a, split[b]), bits << 48 | b)
        np.minimum.at(best, (b, split[a]), bits << 48 | a)
    found = best != _NONE
    return Near(np.where(found, best & ((1 << 48) - 1), -1), best >> 48)


def _standard(thumbs: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Thumbnails of mean 0 and deviation 1 ``[m, side²]``; they are not of one grey."""
    flat = thumbs.reshape(len(thumbs), SIDE * SIDE).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(flat.std(axis=1, keepdims=True), 1e-6))


def _sharing_a_chunk(hashes: NDArray[np.uint16], most: int = 1 << 18) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of rows that agree in one of their eight numbers, in blocks; a pair may come up to eight times."""
    for column in hashes.T:
        order = np.argsort(column, kind="stable")
        end = np.searchsorted(column[order], column[order], side="right")
        left, step = np.arange(len(order)), 0
        while len(left):  # the k-th pass pairs each row with the k-th after it in its run
            step += 1
            left = left[left + step < end[left]]
            for start in range(0, len(left), most):
                part = left[start : start + most]
                yield order[part], order[part + step]
