"""Where a run lies: ``runs/<experiment>/<time>-s<seed>-<digest>/``, its controls in ``controls/<row>/`` inside.

``config.yaml`` in it says what the run was told. A folder that holds a finished run is not written over unasked.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from lightning import Callback, LightningModule, Trainer

from hierfit.atomic import whole_file
from hierfit.errors import UserError
from hierfit.results.card import FILE as RESULT
from hierfit.run.digest import WITHOUT_EFFECT, without

SETTINGS = "config.yaml"
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


@contextmanager
def discarded_unless_started(folder: Path) -> Iterator[None]:
    """Removes a folder that loggers made for a run that was refused before its first step.

    A folder that was there before is left alone, and so is one whose run has started (it holds ``config.yaml``).
    """
    existed = folder.exists()
    try:
        yield
    except BaseException:
        if not existed and not (folder / SETTINGS).exists():
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # other runs may lie beside it
                folder.parent.rmdir()
                folder.parent.parent.rmdir()
        raise


class SaveSettings(Callback):
    """Writes ``config.yaml`` once data and model are found to be in order, so that a refused run leaves nothing.

    Args:
        folder: The run's.
        settings: The resolved configuration.
        begin: Called before, on the first rank.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], begin: Callable[[], None] | None = None) -> None:
        self.folder, self.settings, self.begin = folder, settings, begin
        self._written = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file."""
        if not trainer.is_global_zero or self._written:
            return
        if self.begin is not None:
            self.begin()
        text = yaml.safe_dump(dict(self.settings), sort_keys=False, allow_unicode=True)
        with whole_file(self.folder / SETTINGS) as draft:
            draft.write_text(text, encoding="utf-8")
        self._written = True

    on_test_start = on_predict_start = on_train_start


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
