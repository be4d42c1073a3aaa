"""The same picture twice: by content exactly, by look nearly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hierfit.tools.check.pictures import SIDE

Ints = NDArray[np.int64]

RADIUS = 7
"""Most bits of 128 in which near duplicates differ; with eight chunks they then have one in common."""
LIKENESS = 0.97
"""Least correlation of their thumbnails, which lightness and contrast do not change."""

_NONE = np.iinfo(np.int64).max
_BITS = np.array([i.bit_count() for i in range(1 << 16)], dtype=np.uint8)


class Near(NamedTuple):
    """Each picture's most similar one in each split.

    Attributes:
        partner: Row of it ``[n, S]``, −1 where none is near.
        distance: Bits in which their hashes differ ``[n, S]``; meaningless where there is none.
    """

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
    """Find near duplicates: all pairs within the radius whose thumbnails agree, exactly.

    Args:
        hashes: ``[n, 8]`` uint16.
        thumbs: ``[n, side, side]`` uint8.
        split: Split of each ``[n]``.
        splits: S.
        radius: Most bits that may differ, at most 7.

    Returns:
        O(n·S) memory whatever the number of pairs; time grows with the pairs that share 16 of their bits.
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
    n = len(hashes)
    for column in hashes.T:
        order = np.argsort(column, kind="stable")
        values = column[order]
        end = np.searchsorted(values, values, side="right")
        left, step = np.arange(n), 0
        while True:  # the k-th pass pairs each row with the k-th after it in its run
            step += 1
            left = left[left + step < end[left]]
            if not len(left):
                break
            for start in range(0, len(left), most):
                part = left[start : start + most]
                yield order[part], order[part + step]
