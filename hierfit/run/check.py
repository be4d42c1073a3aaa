"""Checks every key of a configuration before anything starts: all faults at once, each with its place.

jsonargparse stops at the first fault and never suggests a key, so this pass comes before it. What it lets through,
jsonargparse still judges.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, Union, get_args, get_origin, get_type_hints

from lightning import Trainer

from hierfit import methods
from hierfit.config.option import option_value, seed_problem
from hierfit.config.schema import Place, nearest, read_yaml
from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.errors import UserError
from hierfit.run.expected import KEY as EXPECTED
from hierfit.run.expected import expectations

_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


@dataclass(frozen=True)
class Setting:
    """One value that a file or an option gives to a key."""

    key: str
    value: object
    place: str


def check_settings(arguments: Sequence[str | Setting], own_keys: Mapping[str, object]) -> None:
    """Checks the keys, and the values of simple types, of all configuration files and options.

    Args:
        arguments: Command line after the subcommand.
        own_keys: Top-level keys that belong to neither model, data nor trainer, with their types.

    Raises:
        UserError: Names every unknown key with the nearest known one, and every value of a wrong type.
    """
    problems: list[str] = []
    hint = ""
    settings = list(given_settings(arguments, problems))
    if without := [i for i, s in enumerate(settings) if s.key == "controls" and s.value is None]:
        # What files said of them before lapses.
        settings = [s for i, s in enumerate(settings) if i > without[-1] or not s.key.startswith("controls")]
    controls = {s.key.split(".", 2)[1] for s in settings if s.key.startswith("controls.")}
    problems += faults([s for s in settings if not s.key.startswith("controls")], own_keys)
    for row in sorted(controls):
        prefix = f"controls.{row}."
        changed = [Setting(s.key.removeprefix(prefix), s.value, s.place) for s in settings if s.key.startswith(prefix)]
        named = [s for s in settings if s.key in ("model", "model.class_path") and isinstance(s.value, str)]
        # A control starts from the method that is named last; keys of those before it are not known to it.
        found = faults(changed, own_keys, named[-1:])
        if found and len(named) > 1:
            hint = "The controls are those of another method: --controls=null leaves them out."
        problems += found
    if problems:
        raise UserError("The configuration cannot be used.", list(dict.fromkeys(problems)), hint)


def faults(settings: Sequence[Setting], own_keys: Mapping[str, object], inherited: Sequence[Setting] = ()) -> list[str]:
    """What is wrong with the settings of one run, each with its place; empty when nothing is.

    A later file or option may name another method (``inherited`` settings come first), and keys meant for the earlier
    one then lapse; so a key of the model is known when any named method has it.
    """
    problems = []
    named: list[type] = []
    for setting in [*inherited, *settings]:
        if setting.key in ("model", "model.class_path") and isinstance(setting.value, str):
            if method := _method(setting.value):
                named.append(method)
            else:
                problems.append(f"{setting.place}: there is no method {setting.value!r}{_methods_like(setting.value)}")
    model_keys = {name: hint for method in named for name, hint in _keys(method).items()}
    groups = {"trainer": _keys(Trainer), "data": _keys(HierarchicalDataModule), "model": model_keys}
    for setting in settings:
        group, _, rest = setting.key.partition(".")
        rest = rest.removeprefix("init_args.")
        if group not in groups:
            known, name = {**own_keys, **groups}, group
        elif not rest or (group == "model" and (rest == "class_path" or not named)):
            continue
        else:
            known, name = groups[group], rest.partition(".")[0]
        if name not in known:
            problems.append(f"{setting.place}: {setting.key}: unknown key{nearest(name, known)}")
        elif "." not in rest and (wanted := _misfit(setting.value, known[name], setting.place)):
            problems.append(f"{setting.place}: {setting.key}: expected {wanted}, got {setting.value!r}")
        elif setting.key in ("seed_everything", "data.seed") and type(setting.value) is int:
            problem = seed_problem(setting.key, setting.value)
            problems += [f"{setting.place}: {problem}"] if problem else []
    return problems


def given_settings(arguments: Sequence[str | Setting], problems: list[str]) -> Iterator[Setting]:
    """All settings of the files and options of a command line, in order; what cannot be read is in ``problems``."""
    position = 0
    while position < len(arguments):
        word = arguments[position]
        position += 1
        if isinstance(word, Setting):
            yield from flat(word.key, word.value, word.place)
            continue
        option, equals, value = word.partition("=")
        if not option.startswith("-"):
            problems.append(f"command line: {option!r} is not an option; keys are set as --key=value")
            continue
        following = arguments[position] if position < len(arguments) else "--"
        if not equals and isinstance(following, str) and not following.startswith("--"):
            value = following
            position += 1
        if option in ("-c", "--config"):
            yield from file_settings(Path(value), problems)
        elif option not in ("-h", "--help", "--print_config"):
            key = option.lstrip("-")
            yield from flat(key, option_value(value) if value else True, "command line")


def file_settings(path: Path, problems: list[str]) -> Iterator[Setting]:
    """All settings of a configuration file, in order; what keeps it from being read is added to ``problems``."""
    if not path.is_file():
        problems.append(f"there is no file {path}")
        return
    try:
        content, place = read_yaml(path, problems)
    except UserError as error:
        problems.append(str(error))
        return
    if not isinstance(content, Mapping):
        problems.append(f"{path}: expected keys and values")
        return
    expectations(content, place, problems)
    for key, value in content.items():
        for setting in flat(str(key), value, ""):
            yield Setting(setting.key, setting.value, _line(place, setting.key))


def _line(place: Place, key: str) -> str:
    found = place
    line = None
    for part in key.split("."):
        found = found.at(part)
        line = found.lines.get(found.key, line)
    return f"{place.file}:{line}" if line else str(place.file)


def flat(key: str, value: object, place: str) -> Iterator[Setting]:
    """The settings below a key; ``expected`` and a method's own mappings (``model.init_args.objective``) stay whole."""
    depths = {EXPECTED: 0, "controls": 3, "model": 2 if key.startswith("model.init_args") else 1}
    depth = depths.get(key.split(".")[0], 1)
    parts = len(key.split(".", depth + 1))
    if isinstance(value, Mapping) and value and (parts <= depth or key == "model.init_args"):
        for name, inner in value.items():
            yield from flat(f"{key}.{name}", inner, place)
    else:
        yield Setting(key, value, place)


def _keys(owner: type) -> dict[str, object]:
    """Arguments of a class with their types; ``object`` where a type cannot be told."""
    try:
        typed = get_type_hints(owner.__init__)  # type: ignore[misc]
    except NameError:  # Trainer's hints name types that exist for type checkers only
        typed = {}
    parameters = inspect.signature(owner).parameters.values()
    named = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return {name: typed.get(name, object) for name in named}


def _misfit(value: object, hint: object, place: str) -> str | None:
    """What was expected, or None when the value fits or its type is not a simple one."""
    if isinstance(value, str) and "${" in value:
        return None
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    words = []
    for option in options:
        if option is type(None) or option is None:
            if value is None:
                return None
        elif get_origin(option) is Literal:
            if value in get_args(option):
                return None
            words.append("one of " + ", ".join(map(str, get_args(option))))
        elif option in _WORDS:
            if type(value) is option or (option is float and type(value) is int):
                return None
            number = option is str and isinstance(value, (int, float))
            if number and place == "command line":
                return None  # `--data.root 2024` is meant as text
            words.append("text (in quotes)" if number else _WORDS[option])
        else:
            return None
    if type(None) in options:
        words.append("null")
    return " or ".join(words)


def _method(class_path: str) -> type | None:
    module, _, name = class_path.rpartition(".")
    try:
        found = getattr(import_module(module), name) if module else getattr(methods, name)
    except (ImportError, AttributeError):
        return None
    return found if isinstance(found, type) else None


def _methods_like(class_path: str) -> str:
    return nearest(class_path.rpartition(".")[2], [m for m in methods.__all__ if m != "Method"])
