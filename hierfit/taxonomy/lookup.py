"""From the labels of a data set to node ids; and the names that a mistyped one may have meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from hierfit.errors import SHOWN, UserError, close_words
from hierfit.taxonomy.checks import path_to

Key = str | tuple[str, ...]

_UNKNOWN, _AMBIGUOUS = -1, -2
_SHOWN_PATHS = 4
_HINT = "Spell an ambiguous label as its path: a list of names from root to node, or the names joined by '/'."


class Lookup:
    """Finds nodes by name or by path, of [N] names, parents and leaves or not; `Taxonomy.find` states the rules."""

    def __init__(self, names: Sequence[str], parents: Sequence[int], is_leaf: Sequence[bool]) -> None:
        self._names, self._parents, self._is_leaf = names, parents, is_leaf
        self._by_name: dict[Key, int] = {}
        for leaf in (False, True):  # the leaves last: a leaf wins over internal nodes of its name
            named: dict[str, int] = {}
            for node, name in enumerate(names):
                if is_leaf[node] is leaf:
                    named[name] = _AMBIGUOUS if name in named else node
            self._by_name.update(named)

    def nodes(self, labels: Iterable[str | Sequence[str]]) -> list[int]:
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
        bearers: dict[Key, list[int]] = {}
        for node, name in enumerate(self._names):
            bearers.setdefault(name, []).append(node)
        for number, (key, reason) in enumerate(failed.items()):
            near = did_you_mean if number < SHOWN else lambda *_: ""
            path = key.split("/") if isinstance(key, str) else key
            parent, steps = self._descend(path)
            if reason == _AMBIGUOUS:
                named = bearers.get(key, [])
                leaves = [node for node in named if self._is_leaf[node]]
                yield f"{key!r} is ambiguous: {self._list(leaves or named or list(self._spelled(path)))}"
            elif not key:
                yield "an empty label"
            elif isinstance(key, str) and parent < 0:
                yield f"{key!r} is no name in the tree{near(key, self._names)}"
            else:
                above = f"below {' / '.join(path[:steps])!r}" if steps else "among the roots"
                elsewhere = bearers.get(path[steps], [])
                guess = f"; it is {self._list(elsewhere)}" if elsewhere else near(path[steps], self._names)
                yield f"{' / '.join(path)!r}: there is no {path[steps]!r} {above}{guess}"

    def _list(self, nodes: Sequence[int]) -> str:
        paths = [repr(" / ".join(path_to(node, self._names, self._parents))) for node in nodes[:_SHOWN_PATHS]]
        more = f" and {len(nodes) - _SHOWN_PATHS} more" if len(nodes) > _SHOWN_PATHS else ""
        return ", ".join(paths) + more


def _path_key(label: object) -> tuple[str, ...]:
    if not isinstance(label, Sequence):
        raise UserError(f"a label must be a name or a list of names, not {label!r}")
    parts = tuple(label)
    while parts and parts[-1] == "":
        parts = parts[:-1]
    return parts


def did_you_mean(word: str, names: Sequence[str]) -> str:
    """`", did you mean 'x' or 'y'?"`, or nothing when no name is near."""
    near = close_words(word, names, 3)
    return f", did you mean {' or '.join(map(repr, near))}?" if near else ""
