"""For the search, until it takes these from `hierfit.run.configure` and `hierfit.config.settings`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hierfit.config import settings as reading
from hierfit.config.settings import Setting as Setting
from hierfit.run.configure import GROUPS, Draft, configure


def check_settings(arguments: Sequence[str | Setting], own_keys: Mapping[str, object]) -> None:
    """Checks files and options."""
    configure(arguments)


def faults(settings: Sequence[Setting], own_keys: Mapping[str, object], inherited: Sequence[Setting] = ()) -> list[str]:
    """What is wrong with the settings of one run."""
    problems: list[str] = []
    Draft([*inherited, *settings], problems)
    return problems


def given_settings(arguments: Sequence[str | Setting], problems: list[str]) -> Iterator[Setting]:
    """All settings of a command line."""
    return reading.read_settings(arguments, GROUPS, problems)


def file_settings(path: Path, problems: list[str]) -> Iterator[Setting]:
    """All settings of a file."""
    return reading.file_settings(path, GROUPS, problems)


def flat(key: str, value: object, place: str) -> Iterator[Setting]:
    """The settings below a key."""
    return reading.spread(Setting(key, value, place), GROUPS)
