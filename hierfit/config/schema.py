"""Typed dataclasses out of YAML, with every fault reported at once: file, line, key and what to do."""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from annotated_types import Ge, Gt, Le, Lt

from hierfit.errors import UserError

T = TypeVar("T")
Key = tuple[str, ...]

_MOST_VALUES = 1_000_000
_DEEPEST = 100
_WORDS: dict[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Place:
    """Where a value stands in a file; prints as ``card.yaml:12: splits.train.images``."""

    file: Path
    key: Key = ()
    lines: Mapping[Key, int] = field(default_factory=dict, repr=False)

    def at(self, name: str) -> Place:
        """The place of an entry below this one."""
        return Place(self.file, (*self.key, name), self.lines)

    def __str__(self) -> str:
        line = self.lines.get(self.key)
        where = f"{self.file.name}:{line}" if line else self.file.name
        return f"{where}: {'.'.join(self.key)}" if self.key else where


def nearest(word: str, known: Iterable[str]) -> str:
    """`` – did you mean 'x'?`` for the most similar known word, else all known words."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f" – did you mean {close[0]!r}?"
    return f" (known: {', '.join(known)})" if known else ""


def read_yaml(path: Path, problems: list[str]) -> tuple[Any, Place]:
    """Read one YAML document safely, and where each of its keys stands.

    Args:
        path: The file.
        problems: Repeated keys are added here.

    Raises:
        UserError: The file cannot be read, or is not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _check_depth(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _check_size(node)
        value = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error)
        raise UserError(f"{path}{line}: not valid YAML: {reason}") from error
    except (ValueError, OverflowError, AttributeError) as error:  # of a number or a date
        raise UserError(f"{path}: not valid YAML: {error}") from error
    lines: dict[Key, int] = {}
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


def read_document(kind: type[T], path: Path, refusal: str) -> T:
    """Read a YAML file into a dataclass whose keys are its fields; its field ``source`` is the file's place.

    Args:
        kind: The dataclass.
        path: The file.
        refusal: What cannot be done with a faulty file, such as ``this grid cannot be run``.

    Raises:
        UserError: Everything that is wrong with the file's form.
    """
    problems: list[str] = []
    value, place = read_yaml(path, problems)
    found = build(kind, value, place, problems, source=place)
    if problems or found is None:
        raise UserError(f"{path}: {refusal}", problems)
    return found


def _find_lines(node: yaml.Node | None, key: Key, lines: dict[Key, int], place: Place, problems: list[str]) -> None:
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


def build(kind: type[T], value: object, place: Place, problems: list[str], **given: object) -> T | None:
    """Make a dataclass from a mapping whose keys are its fields.

    A field's type is its schema: ``str``, ``int``, ``float``, ``bool``, ``Literal``, ``X | None``,
    ``tuple[X, ...]`` (a single X will do), ``Mapping[str, X]``, or another dataclass. A field whose metadata
    holds ``parse`` is read by that function of (value, place, problems) instead. A class attribute ``FOREIGN`` says of
    keys that others who read the file may know why they are refused.

    Args:
        kind: The dataclass.
        value: What the file holds.
        place: Where it holds it.
        problems: Every fault is added here.
        given: Fields that do not come from the file.

    Returns:
        The dataclass, or None when one of its fields is faulty.
    """
    if not isinstance(value, Mapping):
        problems.append(f"{place}: expected keys and values, got {_shown(value)}")
        return None
    before = len(problems)
    hints = get_type_hints(kind)
    keys = {f.name: f for f in fields(kind) if f.name not in given}  # type: ignore[arg-type]
    foreign: Mapping[str, str] = getattr(kind, "FOREIGN", {})
    problems += [
        f"{place.at(str(key))}: {foreign.get(key) or f'unknown key{nearest(str(key), keys)}'}"
        for key in value
        if key not in keys
    ]
    found = dict(given)
    for name, spec in keys.items():
        here = place.at(name)
        if name not in value:
            if spec.default is MISSING and spec.default_factory is MISSING:
                problems.append(f"{here}: this key is missing")
        elif parse := spec.metadata.get("parse"):
            found[name] = parse(value[name], here, problems)
        else:
            found[name] = convert(hints[name], value[name], here, problems)
    if len(problems) > before:
        return None
    try:
        return kind(**found)
    except UserError as error:  # the class has rules of its own
        problems += [f"{place}: {problem}" for problem in error.problems or (error.summary,)]
        return None


def convert(hint: Any, value: object, place: Place, problems: list[str]) -> Any:
    """A value as a type wants it: whole numbers become floats, plain containers are checked within.

    Args:
        hint: See `build`; also ``list[X]``, unions, ``Annotated`` with bounds (``Gt(0)``), and ``Any`` or a class, which take all.
        value: What the file holds.
        place: Where it holds it.
        problems: Every fault is added here.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(hint, value, place, problems)
    if origin is Annotated:
        within: list[str] = []
        found = convert(arguments[0], value, place, within)
        if not within and not all(_COMPARE[type(bound)](found, bound) for bound in arguments[1:]):
            within = [f"{place}: {value}, must be {range_words(arguments[1:])}"]
        problems += within
        return found
    if origin is Literal:
        if not any(value == option and type(value) is type(option) for option in arguments):
            problems.append(f"{place}: {_shown(value)} is none of {', '.join(map(str, arguments))}")
        return value
    if is_dataclass(hint):
        return build(hint, value, place, problems)  # type: ignore[arg-type]
    if origin is tuple or origin in (list, Sequence):
        single = not isinstance(value, Sequence) or isinstance(value, str)
        if single and origin is not tuple:
            problems.append(f"{place}: expected a list, got {_shown(value)}")
            return value
        entries: Sequence[Any] = [value] if single else value  # type: ignore[assignment]
        found = [convert(arguments[0], v, place.at(str(i)), problems) for i, v in enumerate(entries)]
        return tuple(found) if origin is tuple else found
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            problems.append(f"{place}: expected keys and values, got {_shown(value)}")
            return {}
        return {str(k): convert(arguments[1], v, place.at(str(k)), problems) for k, v in value.items()}
    if hint is float and type(value) is int:
        return float(value)
    if hint in _WORDS and type(value) is not hint:
        problems.append(f"{place}: expected {_WORDS[hint]}, got {_shown(value)}{_advice(hint, value)}")
    return value


def _convert_union(hint: Any, value: object, place: Place, problems: list[str]) -> Any:
    options = get_args(hint)
    if type(value) in options or Any in options:
        return value
    others = [option for option in options if option is not type(None)]
    if len(others) == 1 and others[0] not in _WORDS:
        return convert(others[0], value, place, problems)
    for option in others:
        within: list[str] = []
        found = convert(option, value, place, within)
        if not within:
            return found
    words = [_WORDS.get(option) or f"one of {', '.join(map(str, get_args(option)))}" for option in others]
    words += ["null"] if len(others) < len(options) else []
    advice = next(filter(None, (_advice(option, value) for option in others)), "")
    problems.append(f"{place}: expected {' or '.join(words)}, got {_shown(value)}{advice}")
    return value


_COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    Gt: lambda value, bound: value > bound.gt,
    Ge: lambda value, bound: value >= bound.ge,
    Lt: lambda value, bound: value < bound.lt,
    Le: lambda value, bound: value <= bound.le,
}


def range_words(bounds: Sequence[Any]) -> str:
    """What a number must be, from the bounds of its type: ``positive``, ``1 or more``, ``in [0, 1)``."""
    match bounds:
        case [Gt(0)]:
            return "positive"
        case [Ge(least)]:
            return f"{least:g} or more"
        case [Gt(least) | Ge(least), Lt(most) | Le(most)]:
            first, last = "(" if isinstance(bounds[0], Gt) else "[", ")" if isinstance(bounds[1], Lt) else "]"
            return f"in {first}{least:g}, {most:g}{last}"
    return f"within {', '.join(map(str, bounds))}"


def _advice(hint: Any, value: object) -> str:
    if hint is str and isinstance(value, int | float):
        return "; put it in quotes"
    try:
        number = float(value) if hint is float and isinstance(value, str) else None
    except ValueError:
        number = None
    return "" if number is None else f"; YAML reads that as text, write {number:.12f}".rstrip("0")


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "a list"
    return repr(value)
