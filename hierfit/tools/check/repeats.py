"""Pictures that are there twice, in one split, in two, or under two labels."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from hierfit.data.table import several
from hierfit.taxonomy import Taxonomy
from hierfit.tools.check.duplicates import Ints, exact_groups, nearest_lookalikes
from hierfit.tools.check.pictures import Pictures
from hierfit.tools.printing import counted, listed

if TYPE_CHECKING:
    from hierfit.tools.check.audit import Audit


class Placed(NamedTuple):
    """n pictures, the names of the splits, the split and the label of each ``[n]``, and the tree of the labels."""

    seen: Pictures
    splits: list[str]
    split: Ints
    node: Ints
    tree: Taxonomy


def judge_exact(found: Audit, placed: Placed) -> None:
    """Pictures of equal content: a problem between splits and between labels, else a warning."""
    seen, names, split, node, tree = placed
    keys = seen.keys
    groups = exact_groups(seen.facts["content"], seen.readable)
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
        deepest = group[node[group].argmax()]
        if other_label := [row for row in group if not on_one_path(tree, (int(node[deepest]), int(node[row])))]:
            pair = (deepest, other_label[0])
            clashes.append(", ".join(f"{keys[row]} is {tree.full_name(int(node[row]))}" for row in pair))
    for (a, b), pairs in leaks.items():
        pictures = counted(len(pairs), "picture is", "pictures are")
        found.problems.append(f"leak: {pictures} in both {a} and {b}: {listed(pairs)}")
    found.problems += several("the same picture under two labels:", clashes)
    for name, same in repeats.items():
        pictures = counted(len(same), "picture is", "pictures are")
        found.warnings.append(f"{name}: {pictures} there more than once: {listed(same)}")


def on_one_path(tree: Taxonomy, nodes: Iterable[int]) -> bool:
    """Whether labels do not contradict each other: a coarse one may stand for a fine one, and −1 for any."""
    labels = set(nodes) - {-1}
    return not labels or labels <= set(tree.paths(torch.tensor(max(labels))).tolist())


def judge_near(found: Audit, placed: Placed) -> None:
    """Pictures that look alike: a warning between splits, a note within one."""
    seen, names, split = placed.seen, placed.splits, placed.split
    keys, facts = seen.keys, seen.facts
    # One of each exact group is enough: the others were reported.
    _, first = np.unique(facts["content"], return_index=True)
    rows = np.sort(first[seen.usable[first]])
    near = nearest_lookalikes(facts["hash"][rows], facts["thumb"][rows], split[rows], len(names))

    def pairs_of(b: int, a: int) -> list[tuple[int, int, int]]:
        """Rows of split b with their nearest in split a and the distance, the most alike first."""
        hits = np.flatnonzero((split[rows] == b) & (near.partner[:, a] >= 0))
        hits = hits[near.distance[hits, a].argsort(kind="stable")]
        return [(int(rows[i]), int(rows[near.partner[i, a]]), int(near.distance[i, a])) for i in hits]

    for b in range(len(names)):
        for a in range(b):
            if pairs := pairs_of(b, a):
                pictures = counted(len(pairs), "picture looks", "pictures look")
                alike = listed([f"{keys[i]} ~ {keys[j]}" for i, j, _ in pairs], 3)
                found.warnings.append(f"{names[b]}: {pictures} much like one in {names[a]}, probably a leak: {alike}")
                found.near += [(keys[i], keys[j], bits) for i, j, bits in pairs]
        once = {(min(i, j), max(i, j)): bits for i, j, bits in pairs_of(b, b)}
        if once:
            count = len({row for pair in once for row in pair})
            alike = listed([f"{keys[i]} ~ {keys[j]}" for i, j in once], 3)
            found.notes.append(f"{names[b]}: {count} pictures look much like another one of {names[b]}: {alike}")
            found.near += [(keys[i], keys[j], bits) for (i, j), bits in once.items()]
    found.near.sort(key=lambda pair: pair[2])
