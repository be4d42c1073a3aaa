"""Pictures that are there twice, in one split, in two, or under two labels."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import numpy as np
import torch

from hierfit.data.table import SPLITS, several
from hierfit.taxonomy import Taxonomy
from hierfit.tools.check.duplicates import Ints, Near, exact_groups, nearest_lookalikes
from hierfit.tools.check.pictures import Pictures
from hierfit.tools.check.result import Audit


def judge_exact(
    found: Audit, seen: Pictures, keys: list[str], names: list[str], split: Ints, node: Ints, tree: Taxonomy
) -> None:
    """Pictures of equal content: a problem between splits and between labels, else a warning.

    Args:
        found: Where it is noted.
        seen: n pictures.
        keys: Their names.
        names: Of the splits.
        split: The split of each ``[n]``.
        node: The label of each ``[n]``.
        tree: Of the labels.
    """
    groups = exact_groups(seen.content, seen.kinds != "")
    found.exact = [[keys[row] for row in group] for group in groups]
    leaks: dict[tuple[str, str], list[str]] = {}
    repeats: dict[str, list[str]] = {}
    clashes = []
    for group in groups:
        where = sorted(set(split[group].tolist()))
        for a, b in combinations(where, 2):
            one, other = (keys[next(row for row in group if split[row] == i)] for i in (a, b))
            leaks.setdefault((names[a], names[b]), []).append(f"{one} = {other}")
        for i in where:
            if len(same := [keys[row] for row in group if split[row] == i]) > 1:
                repeats.setdefault(names[i], []).append(" = ".join(same[:3]) + (" = …" if len(same) > 3 else ""))
        if contradict := _contradiction(group, keys, node, tree):
            clashes.append(contradict)
    for (a, b), pairs in leaks.items():
        found.problems += several(f"leak: {len(pairs)} pictures are in both {a} and {b}:", pairs)
    found.problems += several("the same picture under two labels:", clashes)
    for name, same in repeats.items():
        found.warnings += several(f"{name}: {len(same)} pictures are there more than once:", same)


def _contradiction(group: Ints, keys: list[str], node: Ints, tree: Taxonomy) -> str:
    """Two rows of a group whose labels are not on one path; empty where all are."""
    if on_one_path(tree, node[group].tolist()):
        return ""
    deepest = group[node[group].argmax()]
    other = next(row for row in group if not on_one_path(tree, (int(node[deepest]), int(node[row]))))
    labels = [tree.full_name(int(node[row])) for row in (deepest, other)]
    return f"{keys[deepest]} is {labels[0]}, {keys[other]} is {labels[1]}"


def on_one_path(tree: Taxonomy, nodes: Iterable[int]) -> bool:
    """Whether labels do not contradict each other: a coarse one may stand for a fine one, and −1 for any."""
    labels = set(nodes) - {-1}
    return not labels or labels <= set(tree.paths(torch.tensor(max(labels))).tolist())


def judge_near(found: Audit, seen: Pictures, keys: list[str], names: list[str], split: Ints) -> None:
    """Pictures that look alike: a warning between splits, a note within one; arguments as of `judge_exact`."""
    # One of each exact group is enough: the others were reported.
    _, first = np.unique(seen.content, return_index=True)
    rows = np.sort(first[seen.usable[first]])
    near = nearest_lookalikes(seen.hashes[rows], seen.thumbs[rows], split[rows], len(names))
    order = [i for name in SPLITS for i, known in enumerate(names) if known == name]
    order += [i for i in range(len(names)) if i not in order]
    for at, b in enumerate(order):
        for a in order[:at]:
            pairs = _pairs(near, rows, split, b, a)
            found.near += [(keys[i], keys[j], bits) for i, j, bits in pairs]
            if pairs:
                found.warnings.append(
                    f"{names[b]}: {len(pairs)} pictures look much like one in {names[a]}, probably a leak: "
                    + _most_alike(pairs, keys)
                )
        pairs = _once(_pairs(near, rows, split, b, b))
        found.near += [(keys[i], keys[j], bits) for i, j, bits in pairs]
        if pairs:
            found.notes.append(
                f"{names[b]}: {len({i for i, j, _ in pairs} | {j for i, j, _ in pairs})} pictures look much like "
                f"another one of {names[b]}: " + _most_alike(pairs, keys)
            )
    found.near.sort(key=lambda pair: pair[2])


def _pairs(near: Near, rows: Ints, split: Ints, b: int, a: int) -> list[tuple[int, int, int]]:
    """Rows of split b with their nearest in split a and the distance, the most alike first."""
    hits = np.flatnonzero((split[rows] == b) & (near.partner[:, a] >= 0))
    hits = hits[near.distance[hits, a].argsort(kind="stable")]
    return [(int(rows[i]), int(rows[near.partner[i, a]]), int(near.distance[i, a])) for i in hits]


def _once(pairs: Iterable[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    ordered = {(min(i, j), max(i, j)): bits for i, j, bits in pairs}
    return [(i, j, bits) for (i, j), bits in ordered.items()]


def _most_alike(pairs: list[tuple[int, int, int]], keys: list[str]) -> str:
    shown = ", ".join(f"{keys[i]} ~ {keys[j]}" for i, j, _ in pairs[:3])
    return shown + (" …" if len(pairs) > 3 else "")
