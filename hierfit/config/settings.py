"""What files and options say of the keys of a run: one setting after the other, each with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import yaml
from annotated_types import Ge, Le

from hierfit.config.named import EXPERIMENTS, experiment_files
from hierfit.config.reading import YamlLoader
from hierfit.config.schema import Place, as_type, read_yaml
from hierfit.errors import UserError

GROUPS = ("model", "model.init_args", "data", "trainer")
"""Keys whose mappings hold settings themselves."""
Seed: TypeAlias = Annotated[int, Ge(0), Le(2**32 - 1)]  # what NumPy takes


@dataclass(frozen=True)
class Setting:
    """One value that a file or an option gives to a key.

    Its text is what was typed, where it was an option.
    """

    key: str
    value: object
    place: Place
    text: str | None = None

    def converted(self, hint: Any, problems: list[str]) -> Any:
        """Its value as a type wants it; an option that YAML takes for another kind of value (``--row 2024``) is text.

        Interpolations are left as they are. Faults are added to ``problems``.
        """
        if isinstance(self.value, str) and "${" in self.value:
            return self.value
        faults: list[str] = []
        found = as_type(hint, self.value, self.place, faults)
        if faults and self.text is not None:
            as_text: list[str] = []
            text = as_type(hint, self.text, self.place, as_text)
            if not as_text:
                return text
        problems += faults
        return found


def option_value(text: str) -> Any:
    """What the text of an option means: YAML, and a number also where YAML 1.1 sees text, as in ``1e-3``.

    Slices (``-2:``, ``2:10``), which YAML takes for mappings and for numbers to base 60, are text.
    """
    if re.fullmatch(r"((-?\d+)?:(-?\d+)?)?", text):
        return text
    try:
        value = yaml.load(text, YamlLoader)
        return float(value) if isinstance(value, str) else value
    except (yaml.YAMLError, ValueError):
        return text


def settings_by(who: str, keys: Mapping[str, Any]) -> list[Setting]:
    """What somebody sets that is no file: ``command line``."""
    return [Setting(key, value, Place(Path(who), (key,))) for key, value in keys.items()]


def read_settings(arguments: Sequence[str | Setting], problems: list[str]) -> Iterator[Setting]:
    """All settings of the files and options of a command line, in order.

    Args:
        arguments: The name of an experiment; ``--config FILE``, ``--key value``, ``--key=value``; a `Setting` stands
            for itself.
        problems: What cannot be read is added here.
    """
    words = [*arguments]
    if words and isinstance(words[0], str) and not words[0].startswith("-"):
        try:
            words[:1] = [f"--config={path}" for path in experiment_files(words[0])]
        except UserError as error:
            problems.append(f"command line: {error.summary}")
            del words[0]
    while words:
        word = words.pop(0)
        if isinstance(word, Setting):
            yield from spread(word)
            continue
        option, equals, value = word.partition("=")
        if not option.startswith("-"):
            problems.append(f"command line: {option!r} is not an option; keys are set as --key=value")
            continue
        if not equals:
            if not words or not isinstance(words[0], str) or words[0].startswith("--"):
                problems.append(f"command line: {option} has no value")
                continue
            value = str(words.pop(0))
        if option in ("-c", "--config"):
            try:
                yield from file_settings(EXPERIMENTS.find(value), problems)
            except UserError as error:
                problems.append(error.summary)
        else:
            (setting,) = settings_by("command line", {option.lstrip("-"): option_value(value)})
            yield from spread(replace(setting, text=value))


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
    for key, value in content.items():
        yield from spread(Setting(str(key), value, place.at(str(key))))


def spread(setting: Setting) -> Iterator[Setting]:
    """The settings within the mapping of a group; ``class_path`` comes first, since other keys depend on it."""
    if setting.key not in GROUPS or not isinstance(setting.value, Mapping):
        yield setting
        return
    for name in sorted(map(str, setting.value), key=lambda name: name != "class_path"):
        yield from spread(Setting(f"{setting.key}.{name}", setting.value[name], setting.place.at(name)))
