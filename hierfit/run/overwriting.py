"""A finished run is not written over unless that is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from hierfit.errors import UserError
from hierfit.results.card import FILE as RESULT
from hierfit.run.digest import WITHOUT_EFFECT, without
from hierfit.run.settings import FILE as SETTINGS

_SHOWN = 8
_HINT = "Give another --folder, or --resume=false to put the new run in its place."


def check_free(folder: Path, same: bool, settings: Mapping[str, Any]) -> None:
    """Makes sure that a folder the user names holds no finished run.

    Args:
        folder: The named one; need not exist.
        same: Whether it is known to hold a run of these very settings.
        settings: The resolved configuration of the run that is to begin.

    Raises:
        UserError: It holds one; says what differs, and what to type.
    """
    if not (folder / RESULT).is_file():
        return
    if same:
        raise UserError(f"{folder} holds this very run, and it is finished.", hint=_HINT)
    found = list(_differing(_settings(folder), without(settings, WITHOUT_EFFECT)))
    problems = [f"{key} is {_shown(there)} there and {_shown(here)} here" for key, there, here in found[:_SHOWN]]
    problems += [f"and {len(found) - _SHOWN} keys more"] if len(found) > _SHOWN else []
    problems = problems or ["all keys agree; the data card or hierfit's version does not"]
    raise UserError(f"{folder} holds a finished run of other settings.", problems, _HINT)


def _settings(folder: Path) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return without(found, WITHOUT_EFFECT) if isinstance(found, dict) else {}


def _differing(there: object, here: object, key: str = "") -> Iterator[tuple[str, object, object]]:
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for name in dict.fromkeys([*there, *here]):
            yield from _differing(there.get(name), here.get(name), f"{key}.{name}".lstrip("."))
    elif there != here:
        yield key, there, here


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
