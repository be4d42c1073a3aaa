"""From the labels of a data set to node ids; and the names that a mistyped one may have meant."""

from __future__ import annotations

import difflib
import heapq
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise

from hierfit.errors import UserError
from hierfit.taxonomy.checks import path_to

Label = str | Sequence[str]
Key = str | tuple[str, ...]

_UNKNOWN, _AMBIGUOUS = -1, -2
_LISTED = 4
_HINT = "Spell an ambiguous label as its path: a list of names from root to node, or the names joined by '/'."


class Lookup:
    """Finds nodes by name or by path; `Taxonomy.find` states the rules.

    Args:
        names: [N] node names.
        parents: [N] parents, −1 for roots.
        is_leaf: [N] whether a node is a leaf.
    """

    def __init__(self, names: Sequence[str], parents: Sequence[int], is_leaf: Sequence[bool]) -> None:
        self._names, self._parents, self._is_leaf = names, parents, is_leaf
        self._by_name: dict[Key, int] = {}
        for leaf in (False, True):  # the leaves last: a leaf wins over internal nodes of its name
            named: dict[str, int] = {}
            for node, name in enumerate(names):
                if is_leaf[node] is leaf:
                    named[name] = _AMBIGUOUS if name in named else node
            self._by_name.update(named)

    def nodes(self, labels: Iterable[Label]) -> list[int]:
        """The node of each label; one dictionary access for a name, one for each step of a path.

        Raises:
            UserError: Lists every label that names no node, or several.
        """
        keys = [label if isinstance(label, str) else _path_key(label) for label in labels]
        found = {key: self._by_name.get(key, _UNKNOWN) for key in dict.fromkeys(keys)}
        found |= {key: self._by_path(key) for key, node in found.items() if node == _UNKNOWN}
        if failed := {key: node for key, node in found.items() if node < 0}:
            count = Counter(keys)
            problems = [
                problem if count[key] == 1 else f"{problem} ({count[key]} times)"
                for key, problem in zip(failed, self._problems(failed), strict=True)
            ]
            what = f"{len(failed)} of {len(found)} distinct labels" if len(keys) > 1 else "the label"
            hint = _HINT if _AMBIGUOUS in failed.values() else ""
            raise UserError(f"{what} cannot be placed in the tree", problems, hint)
        return [found[key] for key in keys]

    def _by_path(self, key: Key) -> int:
        if isinstance(key, tuple):
            node, steps = self._descend(key)
            return node if steps == len(key) else _UNKNOWN
        spelled = list(self._spelled(key.split("/")))
        return _UNKNOWN if not spelled else spelled[0] if len(spelled) == 1 else _AMBIGUOUS

    @cached_property
    def _child(self) -> dict[tuple[int, str], int]:
        return dict(zip(zip(self._parents, self._names, strict=True), range(len(self._names)), strict=True))

    @cached_property
    def _most_slashes(self) -> int:
        return max(name.count("/") for name in self._names)

    def _descend(self, path: Sequence[str]) -> tuple[int, int]:
        """The node reached by following the names from the root, and the number of steps that exist."""
        node = -1
        for step, name in enumerate(path):
            child = self._child.get((node, name))
            if child is None:
                return node, step
            node = child
        return node, len(path)

    def _spelled(self, parts: Sequence[str]) -> Iterator[int]:
        """Nodes whose path, joined by "/", is `parts` joined by "/"; several parts may make one name."""
        stack = [(-1, 0)]
        while stack:
            node, start = stack.pop()
            if start == len(parts):
                yield node
            for stop in range(start + 1, min(start + 1 + self._most_slashes, len(parts)) + 1):
                child = self._child.get((node, "/".join(parts[start:stop])))
                if child is not None:
                    stack.append((child, stop))

    def _problems(self, failed: dict[Key, int]) -> Iterator[str]:
        """What is wrong with each label that is `_UNKNOWN` or `_AMBIGUOUS`."""
        speller = Speller(self._names)
        bearers: dict[Key, list[int]] = {}
        for node, name in enumerate(self._names):
            bearers.setdefault(name, []).append(node)
        for key, reason in failed.items():
            path = key.split("/") if isinstance(key, str) else key
            parent, steps = self._descend(path)
            if reason == _AMBIGUOUS:
                named = bearers.get(key, [])
                leaves = [node for node in named if self._is_leaf[node]]
                yield f"{key!r} is ambiguous: {self._list(leaves or named or list(self._spelled(path)))}"
            elif not key:
                yield "an empty label"
            elif isinstance(key, str) and parent < 0:
                yield f"{key!r} is no name in the tree{speller.did_you_mean(key)}"
            else:
                above = f"below {' / '.join(path[:steps])!r}" if steps else "among the roots"
                elsewhere = bearers.get(path[steps], [])
                guess = f"; it is {self._list(elsewhere)}" if elsewhere else speller.did_you_mean(path[steps])
                yield f"{' / '.join(path)!r}: there is no {path[steps]!r} {above}{guess}"

    def _list(self, nodes: Sequence[int]) -> str:
        paths = [repr(" / ".join(path_to(node, self._names, self._parents))) for node in nodes[:_LISTED]]
        more = f" and {len(nodes) - _LISTED} more" if len(nodes) > _LISTED else ""
        return ", ".join(paths) + more


def _path_key(label: object) -> tuple[str, ...]:
    if not isinstance(label, Sequence):
        raise UserError(f"a label must be a name or a list of names, not {label!r}")
    parts = tuple(label)
    while parts and parts[-1] == "":
        parts = parts[:-1]
    return parts


class Speller:
    """Nearest names out of a vocabulary, blind to case, blanks and punctuation.

    Bounded in time: more than 5000 names are searched only around the word's alphabetical place, and after
    20 words, as many problems as a `UserError` shows, nothing more is suggested.
    """

    _POOL, _SHORTLIST = 5000, 30  # difflib is the better judge, but takes up to 0.5 ms a pair

    def __init__(self, names: Iterable[str]) -> None:
        self._spelling: dict[str, str] = {}
        for name in names:
            self._spelling.setdefault(_folded(name), name)
        self._sorted = sorted(self._spelling)
        self._words_left = 20

    def did_you_mean(self, word: str) -> str:
        """`", did you mean 'x' or 'y'?"`, or nothing when no name is near."""
        if self._words_left <= 0:
            return ""
        self._words_left -= 1
        folded = _folded(word)
        if folded in self._spelling:
            return f", did you mean {self._spelling[folded]!r}?"
        start = max(0, bisect(self._sorted, folded) - self._POOL // 2)
        pairs = set(pairwise(folded))
        shortlist = heapq.nlargest(
            self._SHORTLIST,
            self._sorted[start : start + self._POOL] if len(self._sorted) > self._POOL else self._sorted,
            key=lambda name: len(pairs.intersection(pairwise(name))) / (len(folded) + len(name)),
        )
        near = difflib.get_close_matches(folded, shortlist, n=3)
        return f", did you mean {' or '.join(repr(self._spelling[name]) for name in near)}?" if near else ""


def _folded(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold())) or name
