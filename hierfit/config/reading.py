"""YAML, read safely, with the place of every key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from hierfit.errors import UserError

KeyPath = tuple[str, ...]

_MOST_VALUES = 1_000_000
_MOST_LEVELS = 100


class YamlLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # in C a tenth of the time
    """A safe one, to which dates are text."""

    yaml_implicit_resolvers: ClassVar = {
        letter: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
        for letter, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


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


def yaml_node(text: str, source: object) -> yaml.Node | None:
    """The one document of a YAML text as a tree whose nodes know their lines; None where it is empty.

    Raises:
        UserError: It is not YAML, or lies more than 100 deep: PyYAML would take seconds, and then run out of stack.
    """
    depth = 0
    with _yaml_faults(source):
        for event in yaml.parse(text, Loader=YamlLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MOST_LEVELS:
                mark: Any = event.start_mark
                raise yaml.MarkedYAMLError(problem="nested too deep", problem_mark=mark)
        return yaml.compose(text, Loader=YamlLoader)


def read_yaml(path: Path, problems: list[str]) -> tuple[Any, Place]:
    """Read one YAML document safely, and where each of its keys stands; repeated keys are added to the problems.

    Raises:
        UserError: The file cannot be read, or is not YAML.
    """
    try:
        node = yaml_node(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    lines: dict[KeyPath, int] = {}
    place = Place(path, (), lines)
    if node is None:
        return None, place
    with _yaml_faults(path):
        _check_size(node, {})
        value = yaml.SafeLoader("").construct_document(node)
    _find_lines(node, place, lines, problems)
    return value, place


@contextmanager
def _yaml_faults(source: object) -> Iterator[None]:
    """What PyYAML refuses, with its line."""
    try:
        yield
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{source}{line}: not valid YAML: {reason}") from error
    except (ValueError, OverflowError, AttributeError) as error:  # of a number or a date
        raise UserError(f"{source}: not valid YAML: {error}") from error


def _check_size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Refuses what a few aliases blow up to more than a file of this kind can hold, and what contains itself."""
    if sizes.get(id(node)) == 0:
        raise yaml.MarkedYAMLError(problem="a value contains itself", problem_mark=node.start_mark)
    if id(node) not in sizes:
        sizes[id(node)] = 0
        pairs = node.value if isinstance(node, yaml.CollectionNode) else []
        below = [part for pair in pairs for part in (pair if isinstance(pair, tuple) else (pair,))]
        sizes[id(node)] = 1 + sum(_check_size(part, sizes) for part in below)
    if sizes[id(node)] > _MOST_VALUES:
        raise yaml.MarkedYAMLError(problem="more than a million values", problem_mark=node.start_mark)
    return sizes[id(node)]


def _find_lines(node: yaml.Node, place: Place, lines: dict[KeyPath, int], problems: list[str]) -> None:
    if isinstance(node, yaml.MappingNode):
        for name, entry in node.value:
            inner = place.at(str(name.value))
            twice = inner.key in lines
            lines[inner.key] = name.start_mark.line + 1
            problems += [f"{inner}: given twice"] if twice else []
            _find_lines(entry, inner, lines, problems)
    elif isinstance(node, yaml.SequenceNode):
        for i, entry in enumerate(node.value):
            lines[(*place.key, str(i))] = entry.start_mark.line + 1
            _find_lines(entry, place.at(str(i)), lines, problems)
