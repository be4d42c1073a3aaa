"""What is odd about a tree: names that nodes share or a text tower cuts, and shapes that methods suffer from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from hierfit.errors import folded
from hierfit.taxonomy.checks import Finding, Where, counted, listed, path_to
from hierfit.taxonomy.index import Ints

CONTEXT = 77
"""Tokens of CLIP's text tower, the two special ones included."""

CountTokens = Callable[[list[str]], list[int]]

_SHOWN_NAMES = 6


class TreeShape(NamedTuple):
    """The sound part of what a file gives, in canonical order: [N] names, parents (−1 for roots), places in the file,
    [L] nodes of each level, index arrays (see `tree_index`); siblings may share a name."""

    names: Sequence[str]
    parent: Ints
    where: Where
    sizes: Sequence[int]
    arrays: Mapping[str, Ints]

    def path(self, node: int) -> str:
        """Names from the root to a node."""
        return " / ".join(path_to(node, self.names, self.parent))  # type: ignore[arg-type]


def _finding(
    kind: str, text: str, details: Sequence[str] = (), advice: str = "", warning: bool = True,
    mend: Literal["asked", "no"] = "no",
) -> Finding:  # fmt: skip
    return Finding("warning" if warning else "note", kind, text, "", tuple(details), advice, mend)


def odd_names(shape: TreeShape, count_tokens: CountTokens, known: Collection[str] = ()) -> Iterator[Finding]:
    """Ambiguous, look-alike and overlong names, but for those `known`, which have a finding of their own already.

    Tokens, special ones included, are counted for names that may be too long only.
    """
    if len(set(shape.names)) < len(shape.names):
        yield from _ambiguous_names(shape, known)
    yield from _alike(shape)
    # A token is a byte at least, so that short names need no tokeniser; no letter has more than 4.
    suspects = [node for node, name in enumerate(shape.names)
                if len(name) * 4 + 2 > CONTEXT and len(name.encode()) + 2 > CONTEXT]  # fmt: skip
    lengths = count_tokens([shape.names[node].replace("_", " ") for node in suspects]) if suspects else []
    if long := [(node, length) for node, length in zip(suspects, lengths, strict=True) if length > CONTEXT]:
        details = [f"{shape.names[v][:60]!r}… ({shape.where(v)}): {length} tokens" for v, length in long[:_SHOWN_NAMES]]
        text = f"{counted(len(long), 'name')} longer than a text tower's {CONTEXT} tokens, before any prompt"
        yield _finding("long-name", text, details, "They would be cut: shorten them.")


def _ambiguous_names(shape: TreeShape, known: Collection[str]) -> Iterator[Finding]:
    """A bare name means a leaf before an inner node: several leaves, or several inner nodes alone, leave it open."""
    count = shape.arrays["num_children"].tolist()
    bearers: dict[str, list[int]] = defaultdict(list)
    for node, name in enumerate(shape.names):
        bearers[name].append(node)
    shared = {name: nodes for name, nodes in bearers.items() if len(nodes) > 1 and name not in known}
    leaves = {name: [node for node in nodes if not count[node]] for name, nodes in shared.items()}
    resolved = [repr(name) for name, own in leaves.items() if len(own) == 1]
    unclear = {name: own or shared[name] for name, own in leaves.items() if len(own) != 1}
    if unclear:
        details = [
            f"{name!r}: {listed(map(shape.path, nodes), 3)}" for name, nodes in [*unclear.items()][:_SHOWN_NAMES]
        ]
        details += [f"… {len(unclear) - _SHOWN_NAMES} more"] if len(unclear) > _SHOWN_NAMES else []
        text = f"{counted(len(unclear), 'name')} of several nodes, that a label by name alone leaves open"
        advice = "Labels have to give the path; prompts get the ancestry added."
        yield _finding("ambiguous-name", text, details, advice)
    if resolved:
        text = f"{counted(len(resolved), 'leaf name')} also borne by an inner node; a label means the leaf"
        yield _finding("shared-name", text, [listed(resolved, _SHOWN_NAMES)], warning=False)


def _alike(shape: TreeShape) -> Iterator[Finding]:
    """Different spellings of what may be one thing, on one level."""
    first: dict[str, int] = {}
    alike: dict[str, list[int]] = {}  # nodes of a key that comes again
    for node, name in enumerate(shape.names):
        key = folded(name)
        other = first.setdefault(key, node)
        if other != node and key:
            alike.setdefault(key, [other]).append(node)
    level, count = shape.arrays["level"], shape.arrays["num_children"]
    groups: dict[tuple[str, int], dict[str, int]] = defaultdict(dict)
    for key, nodes in alike.items():
        for node in nodes:
            groups[key, int(level[node])].setdefault(shape.names[node], node)
    for group in sorted(groups.values(), key=lambda group: min(group.values())):
        if len(group) < 2:
            continue
        nodes = list(group.values())
        inner = len({int(shape.parent[node]) for node in nodes}) < len(nodes) and all(count[node] for node in nodes)
        text = f"{' and '.join(map(repr, group))} differ in case, blanks or punctuation alone"
        details = [f"{shape.path(node)} ({shape.where(node)})" for node in nodes[:3]]
        more = " --fix OUT --accept alike-names takes the more frequent spelling." if inner else ""
        advice = f"Are they one and the same?{more}"
        yield _finding("alike-names", text, details, advice, mend="asked" if inner else "no")


def twin_labels(names: Sequence[str], parents: Sequence[object], labels: Sequence[str]) -> Iterator[Finding]:
    """Siblings whose label is told apart by their id."""
    seen: dict[tuple[object, str], set[str]] = defaultdict(set)
    for name, parent, label in zip(names, parents, labels, strict=True):
        seen[parent, label].add(name)
    if twins := [f"{label!r}: {', '.join(sorted(ids))}" for (_, label), ids in seen.items() if len(ids) > 1]:
        text = f"{counted(len(twins), 'label')} of several siblings; their ids are added to tell them apart"
        yield _finding("ambiguous-name", text, twins[:_SHOWN_NAMES])


def odd_shape(shape: TreeShape) -> Iterator[Finding]:
    """Depths, chains, siblings and balance."""
    level, leaves, counts = shape.arrays["level"], shape.arrays["leaves"], shape.arrays["num_children"]
    ends = np.bincount(level[leaves])
    depths = np.flatnonzero(ends).tolist()
    if len(shape.sizes) == 1:
        yield _finding("flat", "the tree has one level: losses and metrics of a hierarchy have nothing to go by")
    elif len(depths) > 1:
        few = min(depths, key=lambda depth: int(ends[depth]))
        examples = listed(repr(shape.names[leaf]) for leaf in leaves[level[leaves] == few][:5].tolist())
        details = [", ".join(f"{ends[depth]} at level {depth + 1}" for depth in depths),
                   f"such as {examples} at level {few + 1}"]  # fmt: skip
        advice = "Nothing has to be done: short branches are allowed."
        yield _finding("uneven-depth", f"leaves end at {len(depths)} different levels", details, advice, False)
    lonely = np.flatnonzero(counts == 1)
    if len(lonely):
        above = [shape.names[node] for node in lonely.tolist()]
        below = [shape.names[node] for node in shape.arrays["first_child"][lonely].tolist()]
        same = sum(a == b for a, b in zip(above, below, strict=True))
        details = [listed(map(repr, above), 5), *([f"{same} of the children have their parent's name"] if same else [])]
        inner = int((counts > 0).sum())
        everywhere = len(lonely) == inner
        text = f"{len(lonely)} of {inner} inner nodes have a single child"
        advice = "A level that only repeats the one below teaches nothing: leave it out." if everywhere else ""
        yield _finding("single-child", text, details, advice, everywhere)
    parent = shape.parent[leaves]
    family = np.where(parent >= 0, counts[parent], shape.sizes[0])
    total, acted = len(leaves), int((family > 1).sum())
    text = f"HiSCE acts on {acted} of {total} leaves" + ("; the others have no sibling" if acted < total else "")
    yield _finding("siblings", text, warning=acted < total / 2)
    yield _balance(shape)


def _balance(shape: TreeShape) -> Finding:
    counts, roots = shape.arrays["num_children"], shape.arrays["num_leaves_below"][: shape.sizes[0]]
    inner = counts[counts > 0]
    details = []
    if len(inner):
        spread = f"{inner.min()} to {inner.max()} ({shape.names[int(counts.argmax())]!r}), median {np.median(inner):g}"
        details.append(f"children of an inner node: {spread}")
    if len(roots) == 1:
        return _finding("balance", "one root", details, warning=False)
    largest, smallest = int(roots.argmax()), len(roots) - 1 - int(roots[::-1].argmin())
    ends = " to ".join(f"{roots[node]} ({shape.names[node]!r})" for node in (smallest, largest))
    share = roots[largest] / roots.sum()
    lopsided = share > 0.5 and len(roots) > 2
    text = f"{len(roots)} roots; the largest holds {share:.0%} of the leaves"
    advice = "Report balanced accuracy beside the plain one on the coarsest level." if lopsided else ""
    return _finding("balance", text, [*details, f"leaves of a root: {ends}"], advice, lopsided)
