"""YAML, read safely, with the place of every key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hierfit.errors import UserError, close_words

KeyPath = tuple[str, ...]

_MOST_VALUES = 1_000_000
_DEEPEST = 100
_MOST_LISTED = 30


@dataclass(frozen=True)
class Place:
    """Where a value stands in a file; prints as ``card.yaml:12: splits.train.images``."""

    file: Path
    key: KeyPath = ()
    lines: Mapping[KeyPath, int] = field(default_factory=dict, repr=False)

    def at(self, name: str) -> Place:
        """The place of an entry below this one."""
        return Place(self.file, (*self.key, name), self.lines)

    def __str__(self) -> str:
        line = self.lines.get(self.key)
        where = f"{self.file.name}:{line}" if line else self.file.name
        return f"{where}: {'.'.join(self.key)}" if self.key else where


def nearest(word: str, known: Iterable[str]) -> str:
    """`` – did you mean 'x'?`` for the most similar known word, else all known words if they are not too many."""
    known = sorted(known)
    close = close_words(word, known)
    if close:
        return f" – did you mean {close[0]!r}?"
    return f" (known: {', '.join(known)})" if 0 < len(known) <= _MOST_LISTED else ""


def read_yaml(path: Path, problems: list[str]) -> tuple[Any, Place]:
    """Read one YAML document safely, and where each of its keys stands.

    Repeated keys are added to the problems.


    Raises:
        UserError: The file cannot be read, or is not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _check_depth(text)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        _check_size(node)
        value = None if node is None else loader.construct_document(node)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error)
        raise UserError(f"{path}{line}: not valid YAML: {reason}") from error
    except (ValueError, OverflowError, AttributeError) as error:  # of a number or a date
        raise UserError(f"{path}: not valid YAML: {error}") from error
    lines: dict[KeyPath, int] = {}
    place = Place(path, (), lines)
    _find_lines(node, (), lines, place, problems)
    return value, place


def _check_depth(text: str) -> None:
    """Refuses at the first value that lies too deep: PyYAML takes seconds to read on, and then runs out of stack."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise yaml.YAMLError(f"nested too deep in line {line}")


def _check_size(root: yaml.Node | None) -> None:
    """Refuses what a few aliases blow up to more than a file of this kind can hold, and what contains itself."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in sizes:
            return sizes[id(node)]
        if id(node) in open_nodes:
            raise yaml.MarkedYAMLError(problem="a value contains itself", problem_mark=node.start_mark)
        open_nodes.add(id(node))
        below: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            below = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            below = list(node.value)
        sizes[id(node)] = total = 1 + sum(map(size, below))
        open_nodes.remove(id(node))
        if total > _MOST_VALUES:
            raise yaml.MarkedYAMLError(problem="more than a million values", problem_mark=node.start_mark)
        return total

    if root is not None:
        size(root)


def _find_lines(
    node: yaml.Node | None, key: KeyPath, lines: dict[KeyPath, int], place: Place, problems: list[str]
) -> None:
    if isinstance(node, yaml.MappingNode):
        for name, entry in node.value:
            inner = (*key, str(name.value))
            if inner in lines:
                problems.append(f"{place.file.name}:{name.start_mark.line + 1}: {'.'.join(inner)}: given twice")
            lines[inner] = name.start_mark.line + 1
            _find_lines(entry, inner, lines, place, problems)
    elif isinstance(node, yaml.SequenceNode):
        for i, entry in enumerate(node.value):
            lines[(*key, str(i))] = entry.start_mark.line + 1
            _find_lines(entry, (*key, str(i)), lines, place, problems)
