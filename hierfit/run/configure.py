"""From files and options to the whole configuration of a run: every fault at once, and nothing heavy is imported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hierfit.config.settings import Setting, read_settings, settings_by, spread
from hierfit.config.signature import plain
from hierfit.errors import UserError
from hierfit.run.draft import OWN, ConfigDraft
from hierfit.run.keys import Keys

_version = cache(version)
SETTINGS = "config.yaml"
"""In a run's folder: what the run was told."""
WITHOUT_EFFECT = (
    *("runs", "folder", "controls", "wandb", "test", "resume", "save_every", "weights_only", "verbose"),
    *("data.num_workers", "data.cache_dir", "trainer.enable_progress_bar", "trainer.default_root_dir"),
    "model.init_args.shard",
)
"""Keys of a configuration that change no figure of the run itself."""


@dataclass(frozen=True)
class Config:
    """All that one run is told, defaults included.

    Attributes:
        settings: Resolved, as plain containers: what the run's ``config.yaml`` holds.
        command: ``fit``, ``validate``, ``test`` or ``predict``.
        folder: The run's, where one is named.
        controls: The runs that stand beside it in its table.
        part: Of a command with several runs, which one: ``control 1 of 2``.
        fingerprint: Of its data card, where that was read before.
    """

    settings: dict[str, Any]
    command: str = "fit"
    folder: Path | None = None
    controls: tuple[Config, ...] = ()
    part: str = ""
    fingerprint: str = ""

    @cached_property
    def digest(self) -> str:
        """Tells whether two runs give the same figures: of the settings that matter, the data card, the version."""
        from hierfit.data.card import load_card

        card = self.fingerprint or load_card(self.settings["data"]["card"]).fingerprint
        settings = without(self.settings, WITHOUT_EFFECT)
        return digest_of({"hierfit": _version("hierfit"), "card": card, "settings": settings})

    @property
    def keys(self) -> Keys:
        """The run's own keys."""
        return Keys(**{name: self.settings[name] for name in OWN if name in self.settings})

    @property
    def method(self) -> str:
        """Import path of the method."""
        return str(self.settings["model"]["class_path"])

    @property
    def row(self) -> str:
        """Name of the run in tables."""
        return str(self.settings["row"] or self.method.rpartition(".")[2])

    @property
    def title(self) -> str:
        """Name of the run while it goes."""
        return f"{self.row} ({self.part})" if self.part else self.row

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return str(self.settings["name"])

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.settings["seed_everything"])


def configure(arguments: Sequence[str | Setting], command: str = "fit") -> Config:
    """The whole configuration that a command line of files and keys leads to; nothing is started.

    Args:
        arguments: After the command: ``--config FILE``, ``--key value``, ``--key=value``; or, in place of an option, a
            `Setting`, whose faults are then told with its own place (a line of a grid's file, say).
        command: ``fit``, ``validate``, ``test`` or ``predict``; `fit` alone runs controls.

    Raises:
        UserError: All that is wrong with it, each with its place.
    """
    problems: list[str] = []
    given = list(read_settings(arguments, problems))
    rows = _controls(given, problems) if command == "fit" else {}
    own = [s for s in given if s.key.partition(".")[0] != "controls"]
    draft = ConfigDraft(own, problems)
    settings = draft.resolved({row: {s.key: s.value for s in changes} for row, changes in rows.items()} or None)
    controls, hint = [], draft.hint
    before = len(problems)
    for row, changes in rows.items():
        found: list[str] = []
        control = ConfigDraft([*own, *changes, *settings_by(f"control {row}", {"row": row})], found)
        controls.append(_settled(control.resolved(None), command, None))
        problems += [problem for problem in found if problem not in problems]
    if len(problems) > before and len({s.value for s in own if s.key in ("model", "model.class_path")}) > 1:
        hint = "The controls are those of another method: --controls=null leaves them out."
    if problems:
        raise UserError("The configuration cannot be used.", list(dict.fromkeys(problems)), hint)
    folder = settings["folder"]
    return replace(_settled(settings, command, Path(folder) if folder else None), controls=tuple(controls))


def _settled(settings: dict[str, Any], command: str, folder: Path | None) -> Config:
    """Settles what follows from other keys: what the data must serve, how much is shown."""
    # Whoever starts from a run's configuration must not write into that run.
    settings["folder"] = settings["trainer"]["default_root_dir"] = None
    settings["trainer"]["enable_model_summary"] = False
    if settings["trainer"]["enable_progress_bar"] is None:
        settings["trainer"]["enable_progress_bar"] = True
    if command not in ("fit", "test"):
        settings["data"]["targets"] = None  # only these test on them
    return Config(settings, command, folder)


def _controls(settings: Iterable[Setting], problems: list[str]) -> dict[str, list[Setting]]:
    """For each control, the settings it changes: the last mapping ``controls``, and what is set within it later."""
    found: dict[str, list[Setting]] = {}
    for setting in settings:
        head, _, below = setting.key.partition(".")
        row, _, key = below.partition(".")
        if head != "controls":
            continue
        if key:
            found.setdefault(row, []).append(Setting(key, setting.value, setting.place))
            continue
        given = {row: setting.value} if row else {} if setting.value is None else setting.value
        if not row:
            found = {}
        if not isinstance(given, Mapping) or not all(isinstance(changes, Mapping) for changes in given.values()):
            problems.append(f"{setting.place}: expected rows, each with the keys it sets otherwise")
            continue
        for name, changes in given.items():
            place = setting.place if row else setting.place.at(str(name))
            found[str(name)] = [Setting(str(k), value, place.at(str(k))) for k, value in changes.items()]
    return {row: [s for c in changes for s in spread(c)] for row, changes in found.items()}


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
