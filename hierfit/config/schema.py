"""Typed dataclasses out of YAML, with every fault reported at once: file, line, key and what to do."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from hierfit.config.reading import Place as Place
from hierfit.config.reading import read_yaml as read_yaml
from hierfit.errors import UserError, nearest

Schema = TypeVar("Schema")
_TYPE_WORDS: dict[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def read_document(kind: type[Schema], path: Path, refusal: str) -> Schema:
    """Read a YAML file into a dataclass whose keys are its fields; its field ``source`` is the file's place."""
    problems: list[str] = []
    value, place = read_yaml(path, problems)
    found = build(kind, value, place, problems, source=place)
    if problems or found is None:
        raise UserError(f"{path}: {refusal}", problems)
    return found


def build(kind: type[Schema], value: object, place: Place, problems: list[str], **given: object) -> Schema | None:
    """Make a dataclass from a mapping whose keys are its fields.

    A field's type is its schema: ``str``, ``int``, ``float``, ``bool``, ``Literal``, ``X | None``,
    ``tuple[X, ...]`` (a single X will do), ``Mapping[str, X]``, or another dataclass. A field whose metadata
    holds ``parse`` is read by that function of (value, place, problems) instead, and a class that has ``from_yaml`` by
    that. A class attribute ``FOREIGN`` says of
    keys that others who read the file may know why they are refused.

    Returns:
        The dataclass, or None when one of its fields is faulty.
    """
    if not isinstance(value, Mapping):
        problems.append(f"{place}: expected keys and values, got {_in_words(value)}")
        return None
    before = len(problems)
    hints = get_type_hints(kind, include_extras=True)
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
            found[name] = as_type(hints[name], value[name], here, problems)
    if len(problems) > before:
        return None
    try:
        return kind(**found)
    except UserError as error:  # the class has rules of its own
        problems += [f"{place}: {problem}" for problem in error.problems or (error.summary,)]
        return None


def argument_faults(kind: type, given: Mapping[str, object], before: str = "") -> list[str]:
    """What of the values given is not of the type, or within the bounds, of its argument of a class."""
    problems: list[str] = []
    try:
        hints = get_type_hints(kind.__init__, include_extras=True)  # type: ignore[misc]
    except NameError:  # types that exist for type checkers only
        hints = {}
    for name in sorted(hints.keys() & given.keys()):
        as_type(hints[name], given[name], Place(Path(f"{before}{name}")), problems)
    return problems


def as_type(hint: Any, value: object, place: Place, problems: list[str]) -> Any:
    """A value as a type wants it: whole numbers become floats, plain containers are checked within.

    Beside the types of `build`: ``list[X]``, unions, ``Annotated`` with bounds (``Gt(0)``), and ``Any`` or a class,
    which take all.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _as_union(hint, value, place, problems)
    if origin is Annotated:
        within: list[str] = []
        found = as_type(arguments[0], value, place, within)
        if not within and not all(_COMPARE[type(bound)](found, bound) for bound in arguments[1:]):
            within = [f"{place}: {value}, must be {range_words(arguments[1:])}"]
        problems += within
        return found
    if origin is Literal:
        if not any(value == option and type(value) is type(option) for option in arguments):
            problems.append(f"{place}: {_in_words(value)} is none of {', '.join(map(str, arguments))}")
        return value
    if from_yaml := getattr(hint, "from_yaml", None):
        return from_yaml(value, place, problems)
    if is_dataclass(hint):
        return build(hint, value, place, problems)  # type: ignore[arg-type]
    if origin is tuple or origin in (list, Sequence):
        single = not isinstance(value, Sequence) or isinstance(value, str)
        if single and origin is not tuple:
            problems.append(f"{place}: expected a list, got {_in_words(value)}")
            return value
        entries: Sequence[Any] = [value] if single else value  # type: ignore[assignment]
        found = [as_type(arguments[0], v, place.at(str(i)), problems) for i, v in enumerate(entries)]
        return tuple(found) if origin is tuple else found
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            problems.append(f"{place}: expected keys and values, got {_in_words(value)}")
            return {}
        return {str(k): as_type(arguments[1], v, place.at(str(k)), problems) for k, v in value.items()}
    if hint is float and type(value) is int:
        return float(value)
    if hint in _TYPE_WORDS and type(value) is not hint:
        problems.append(f"{place}: expected {_TYPE_WORDS[hint]}, got {_in_words(value)}{advice(hint, value)}")
    return value


_FITTING = {(int, int), (int, float), (float, float), (str, str), (bool, bool)}


def _as_union(hint: Any, value: object, place: Place, problems: list[str]) -> Any:
    options = get_args(hint)
    if type(value) in options or Any in options:
        return value
    others = [option for option in options if option is not type(None)]
    plain = [get_args(option)[0] if get_origin(option) is Annotated else option for option in others]
    if len(others) == 1 and (plain[0] not in _TYPE_WORDS or (type(value), plain[0]) in _FITTING):
        return as_type(others[0], value, place, problems)
    for option in others:
        within: list[str] = []
        found = as_type(option, value, place, within)
        if not within:
            return found
    words = [_TYPE_WORDS.get(option) or f"one of {', '.join(map(str, get_args(option)))}" for option in plain]
    words += ["null"] if len(others) < len(options) else []
    why = next(filter(None, (advice(option, value) for option in plain)), "")
    problems.append(f"{place}: expected {' or '.join(words)}, got {_in_words(value)}{why}")
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
            return f"{least} or more"
        case [Gt(least) | Ge(least), Lt(most) | Le(most)]:
            first, last = "(" if isinstance(bounds[0], Gt) else "[", ")" if isinstance(bounds[1], Lt) else "]"
            return f"in {first}{least}, {most}{last}"
    return f"within {', '.join(map(str, bounds))}"


def advice(hint: Any, value: object) -> str:
    """What to write in place of a value that YAML takes for another type than the one wanted; empty where that is not
    why."""
    if hint is str and isinstance(value, int | float):
        return "; put it in quotes"
    try:
        number = float(value) if hint is float and isinstance(value, str) else None
    except ValueError:
        number = None
    return "" if number is None else f"; YAML reads that as text, write {number:.12f}".rstrip("0")


def _in_words(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "a list"
    return repr(value)
