"""Where a run lies: ``runs/<experiment>/<time>-s<seed>-<digest>/``, its controls in ``controls/<row>/`` inside.

``config.yaml`` in it says what the run was told. A folder that holds a finished run is not written over unasked.
The digest of a run tells whether another one would give the same figures.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from hierfit.config.signature import plain
from hierfit.errors import UserError
from hierfit.results.card import FILE as RESULT

SETTINGS = "config.yaml"
WITHOUT_EFFECT = (
    *("runs", "folder", "controls", "wandb", "test", "resume", "save_every", "weights_only", "verbose"),
    *("data.num_workers", "data.cache_dir", "trainer.enable_progress_bar", "trainer.default_root_dir"),
    "model.init_args.shard",
)
"""Keys of a configuration that change no figure of the run itself."""
_SHOWN = 8
_HINT = "Give another --folder, or --resume=false to put the new run in its place."


def new_run_folder(runs: Path, experiment: str, seed: int, digest: str = "") -> Path:
    """A folder name no run has used yet; nothing is created.

    Args:
        runs: Where runs lie.
        experiment: Its name.
        seed: Its seed.
        digest: What it computes; the name holds its start, for runs of other settings that begin in the same second.
    """
    trial = os.environ.get("WANDB_RUN_ID")  # agents may draw the same settings in the same second, too
    stamp = name = "-".join(filter(None, (time.strftime("%Y%m%d-%H%M%S"), f"s{seed}", digest[:4], trial)))
    attempt = 1
    while (runs / experiment / name).exists():
        attempt += 1
        name = f"{stamp}-{attempt}"
    return runs / experiment / name


def control_folder(folder: Path, row: str) -> Path:
    """Folder of a control inside its run's folder."""
    return folder / "controls" / (re.sub(r"[^\w.=-]+", "-", row).strip("-") or "control")


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
    found = list(_differing(_settings_in(folder), without(settings, WITHOUT_EFFECT)))
    problems = [f"{key} is {_shown(there)} there and {_shown(here)} here" for key, there, here in found[:_SHOWN]]
    problems += [f"and {len(found) - _SHOWN} keys more"] if len(found) > _SHOWN else []
    problems = problems or ["all keys agree; the data card or hierfit's version does not"]
    raise UserError(f"{folder} holds a finished run of other settings.", problems, _HINT)


def _settings_in(folder: Path) -> Mapping[str, Any]:
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


def run_digest(settings: Mapping[str, Any], card: str) -> str:
    """sha256 (hex) of a run's settings without those that change no figure, the data card's content and the version.

    Args:
        settings: The resolved configuration, as plain containers.
        card: Fingerprint of the data card.
    """
    return digest_of({"hierfit": version("hierfit"), "card": card, "settings": without(settings, WITHOUT_EFFECT)})


def without(settings: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Settings without some dotted keys; what was given stays as it is."""
    found: dict[str, Any] = plain(settings)
    for key in keys:
        *groups, name = key.split(".")
        place = found
        for group in groups:
            place = place.get(group) or {}
        place.pop(name, None)
    return found


def digest_of(content: object) -> str:
    """sha256 (hex) of plain containers; keys at null count as absent.

    So a later version's new key, left alone, does not make what is finished new.
    """
    return hashlib.sha256(json.dumps(_set(content), sort_keys=True).encode()).hexdigest()


def _set(content: object) -> object:
    if isinstance(content, Mapping):
        return {key: _set(value) for key, value in content.items() if value is not None}
    return [_set(value) for value in content] if isinstance(content, list) else content
