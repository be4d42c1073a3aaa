"""The part of WordNet above some synsets, as a tree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hierfit.data.records import read_fields
from hierfit.data.samples import several
from hierfit.errors import UserError

Parents = Mapping[str, Sequence[str]]


def read_is_a(path: Path, problems: list[str]) -> dict[str, list[str]]:
    """Parents of each synset, from lines ``parent child``; raises `UserError` when it cannot be read."""
    parents: dict[str, list[str]] = defaultdict(list)
    for _, (parent, child) in read_fields(path, 2, problems):
        parents[child].append(parent)
    return dict(parents)


def read_words(path: Path, problems: list[str]) -> dict[str, str]:
    """Synonyms of each synset, from lines ``n01440764 tench, Tinca tinca``; raises `UserError` as `read_is_a`."""
    return {synset: text for _, (synset, text) in read_fields(path, 2, problems)}


def one_parent(leaves: Iterable[str], parents: Parents) -> dict[str, str]:
    """Of the parents of each synset above ``leaves``, the one that is furthest from the root; none for roots.

    A synset of several parents has one that says what it is (a dog is a canine) and others that say what it is for (a
    domestic animal): the longest way up is the most precise one. Of parents equally far, the first by name is taken, so
    that the order of the file does not matter. O(synsets + links).

    Raises:
        UserError: A synset is its own ancestor.
    """
    height: dict[str, int] = {}  # of the longest way up
    open_, stack = set(), [(leaf, False) for leaf in leaves]
    while stack:
        synset, done = stack.pop()
        if done:
            open_.discard(synset)
            height[synset] = 1 + max((height[p] for p in parents.get(synset, ())), default=-1)
        elif synset in open_:
            raise UserError(f"{synset} is its own ancestor")
        elif synset not in height:
            open_.add(synset)
            stack.append((synset, True))
            stack += [(p, False) for p in parents.get(synset, ()) if p not in height]
    return {synset: min(above, key=lambda p: (-height[p], p)) for synset in height if (above := parents.get(synset))}


def leaf_paths(leaves: Sequence[str], parents: Parents, words: Mapping[str, str], depth: int) -> list[tuple[str, ...]]:
    """Names from the root to each synset.

    A synset above the leaves that has one child only says nothing and is left out, as is a root that stands above all.
    Where a path has more than ``depth`` names, the lowest of its inner ones are left out. A synset is called by its
    first synonym; siblings of one name by all their synonyms, then by their number too.

    Raises:
        UserError: Lists the leaves that have no parent, or no name.
    """
    problems = several("no parent of", [leaf for leaf in leaves if not parents.get(leaf)])
    problems += several("no name of", [leaf for leaf in leaves if leaf not in words])
    if problems:
        raise UserError("WordNet files and classes do not go together", problems)
    parent = one_parent(leaves, parents)
    is_leaf, kept, layer = set(leaves), set(leaves), set(leaves)
    while layer := {parent[s] for s in layer if s in parent} - kept:  # what is above by parents not chosen is not kept
        kept |= layer
    children = Counter(parent[synset] for synset in kept if synset in parent)
    paths = []
    for leaf in leaves:
        path, synset = [leaf], parent.get(leaf)
        while synset is not None:
            if children[synset] > 1 or synset in is_leaf:
                path.append(synset)
            synset = parent.get(synset)
        paths.append(path[::-1])
    if len({path[0] for path in paths}) == 1 and len(paths) > 1:
        paths = [path[1:] for path in paths]
    paths = [[*path[:-1][: depth - 1], path[-1]] for path in paths]
    name = sibling_names(paths, words)
    return [tuple(name[synset] for synset in path) for path in paths]


def sibling_names(paths: Iterable[Sequence[str]], words: Mapping[str, str]) -> dict[str, str]:
    """A name for each synset on some paths from the root, different among siblings; see `leaf_paths`."""
    above = {synset: path[i - 1] if i else "" for path in paths for i, synset in enumerate(path)}
    name = {synset: words.get(synset, synset).split(",")[0].strip() for synset in above}
    for longer in (lambda s: words.get(s, s), lambda s: f"{words.get(s, s)} ({s})"):
        taken = Counter((above[synset], name[synset]) for synset in above)
        name = {s: longer(s) if taken[above[s], name[s]] > 1 else name[s] for s in above}
    return name
