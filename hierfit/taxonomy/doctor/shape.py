"""What the shape of a tree means for methods that go by it."""

from __future__ import annotations

from collections import Counter
from statistics import median

from hierfit.taxonomy.doctor.finding import Finding
from hierfit.taxonomy.doctor.sketch import Sketch

_LISTED = 5
_LOPSIDED = 0.5


def shape_findings(sketch: Sketch) -> list[Finding]:
    """Depths, chains, siblings and balance."""
    if not sketch.leaves:
        return []
    return [*_depth(sketch), *_chains(sketch), *_siblings(sketch), *_balance(sketch)]


def _depth(sketch: Sketch) -> list[Finding]:
    depths = Counter(sketch.depth[leaf] + 1 for leaf in sketch.leaves)
    if set(depths) == {1}:
        text = "the tree has one level: losses and metrics of a hierarchy have nothing to go by"
        return [Finding("warning", "flat", text)]
    if len(depths) == 1:
        return []
    shares = ", ".join(f"{count} at level {depth}" for depth, count in sorted(depths.items()))
    few = min(depths, key=lambda depth: depths[depth])
    examples = [leaf for leaf in sketch.leaves if sketch.depth[leaf] + 1 == few][:_LISTED]
    text = f"leaves end at {len(depths)} different levels"
    details = (shares, f"such as {', '.join(repr(sketch.names[v]) for v in examples)} at level {few}")
    return [Finding("note", "uneven-depth", text, details, "Nothing has to be done: short branches are allowed.")]


def _chains(sketch: Sketch) -> list[Finding]:
    lonely = [node for node, count in enumerate(sketch.num_children) if count == 1 and sketch.depth[node] >= 0]
    if not lonely:
        return []
    inner = sum(count > 0 for count in sketch.num_children)
    alone = set(lonely)
    children = (node for node, parent in enumerate(sketch.parents) if parent in alone)
    same = sum(sketch.names[node] == sketch.names[sketch.parents[node]] for node in children)
    details = [", ".join(repr(sketch.names[node]) for node in lonely[:_LISTED])]
    details[0] += ", …" if len(lonely) > _LISTED else ""
    if same:
        details.append(f"{same} of the children have their parent's name")
    everywhere = len(lonely) == inner
    text = f"{len(lonely)} of {inner} inner nodes have a single child"
    advice = "A level that only repeats the one below teaches nothing: leave it out." if everywhere else ""
    return [Finding("warning" if everywhere else "note", "single-child", text, tuple(details), advice)]


def _siblings(sketch: Sketch) -> list[Finding]:
    roots = sum(parent < 0 for parent in sketch.parents)
    with_siblings = [
        v for v in sketch.leaves if (sketch.num_children[p] if (p := sketch.parents[v]) >= 0 else roots) > 1
    ]
    total, acted = len(sketch.leaves), len(with_siblings)
    text = f"HiSCE acts on {acted} of {total} leaves" + ("; the others have no sibling" if acted < total else "")
    few = acted < total / 2
    return [Finding("warning" if few else "note", "siblings", text)]


def _balance(sketch: Sketch) -> list[Finding]:
    counts = sorted(count for node, count in enumerate(sketch.num_children) if count and sketch.depth[node] >= 0)
    roots = [v for v, parent in enumerate(sketch.parents) if parent < 0 and sketch.depth[v] >= 0]
    by_leaves = sorted(roots, key=lambda v: -sketch.num_leaves_below[v])
    total = len(sketch.leaves)
    details = []
    if counts:
        widest = max(range(len(sketch.names)), key=sketch.num_children.__getitem__)
        spread = f"{counts[0]} to {counts[-1]} ({sketch.names[widest]!r}), median {median(counts):g}"
        details.append(f"children of an inner node: {spread}")
    if len(roots) == 1:
        return [Finding("note", "balance", "one root", tuple(details))]
    largest, smallest = by_leaves[0], by_leaves[-1]
    share = sketch.num_leaves_below[largest] / total
    details.append(
        f"leaves of a root: {sketch.num_leaves_below[smallest]} ({sketch.names[smallest]!r}) to "
        f"{sketch.num_leaves_below[largest]} ({sketch.names[largest]!r})"
    )
    lopsided = share > _LOPSIDED and len(roots) > 2
    text = f"{len(roots)} roots; the largest holds {share:.0%} of the leaves"
    advice = "Report balanced accuracy beside the plain one on the coarsest level." if lopsided else ""
    return [Finding("warning" if lopsided else "note", "balance", text, tuple(details), advice)]
