"""A configuration in the making: the settings of one run, checked one by one and brought together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hierfit import methods
from hierfit.config.schema import Place
from hierfit.config.settings import Setting
from hierfit.config.signature import OTHERS, Argument, NoSuchClassError, arguments_of, attribute_of, public_names
from hierfit.errors import UserError, nearest
from hierfit.run.keys import OVERRIDES, Keys

OWN = arguments_of(f"{Keys.__module__}.{Keys.__name__}")
TRAINER = arguments_of("lightning.pytorch.Trainer")
DATA = arguments_of("hierfit.data.datamodule.HierarchicalDataModule")
METHODS = tuple(name for name in methods.__all__ if name != "Method")

# Where a class of the trainer's is looked for that is named without its module.
TRAINER_CLASSES = {
    "callbacks": "lightning.pytorch.callbacks",
    "strategy": "lightning.pytorch.strategies",
    "profiler": "lightning.pytorch.profilers",
    "accelerator": "lightning.pytorch.accelerators",
    "plugins": "lightning.pytorch.plugins",
}


class ConfigDraft:
    """A configuration in the making: what each key is given last, checked and brought together in `resolved`.

    The settings are those of one run, without its controls; every fault is added to the problems.
    """

    def __init__(self, settings: Sequence[Setting], problems: list[str]) -> None:
        self.problems, self.hint, self.class_path = problems, "", ""
        self.known: dict[str, Mapping[str, Argument]] = {"": OWN, "trainer": TRAINER, "data": DATA, "model": {}}
        self.given: dict[str, dict[str, Setting]] = {group: {} for group in self.known}
        # A key of the model may come before the method's name.
        first = next((s for s in settings if s.key in ("model", "model.class_path")), None)
        if first is not None:
            self._name_method(first)
        for setting in settings:
            self._take(setting)

    def _take(self, setting: Setting) -> None:
        if setting.key in ("model", "model.class_path"):
            self._name_method(setting)
            return
        group, _, rest = setting.key.partition(".")
        if group not in self.known:
            group, rest = "", setting.key
        elif not rest or rest == "init_args":
            if setting.value not in (None, {}):
                self.problems.append(f"{setting.place}: expected keys and values, got {setting.value!r}")
            return
        name, _, below = rest.removeprefix("init_args.").partition(".")
        known, given = self.known[group], self.given[group]
        if name in known:
            before = given[name].value if name in given else None
            given[name] = Setting(setting.key, _with(before, below, setting.value), setting.place) if below else setting
        elif group != "model" or self.class_path:
            groups = () if group else ("model", "data", "trainer", *(f"data.{key}" for key in DATA if key == name))
            self.problems.append(f"{setting.place}: unknown key{nearest(name, [*known, *groups])}")

    def _name_method(self, setting: Setting) -> None:
        """Takes up a method; keys that were given for an earlier one stay where this one has them, too."""
        path = setting.value
        if path is None and not self.class_path:
            return
        if not isinstance(path, str):
            self.problems.append(f"{setting.place}: expected the name of a method, got {path!r}")
            return
        module, _, name = path.rpartition(".")
        path = f"hierfit.methods.{name}" if not module else path
        try:
            known = {name: argument for name, argument in arguments_of(path).items() if name != OTHERS}
            attribute_of(path, "needs")
        except NoSuchClassError:
            names = METHODS if not module or module.startswith("hierfit.methods") else public_names(module)
            self.problems.append(f"{setting.place}: there is no method {setting.value!r}{nearest(name, names)}")
            return
        except UserError as error:
            self.problems.append(f"{setting.place}: {error.summary}")
            return
        self.class_path, self.known["model"] = path, known
        self.given["model"] = {k: setting for k, setting in self.given["model"].items() if k in known}

    def _check_classes(self, value: Any, home: str, place: Place) -> None:
        """Checks the classes that a key of the trainer names, and their keys."""
        for entry in value if isinstance(value, list) else [value]:
            if not isinstance(entry, Mapping) or "class_path" not in entry:
                continue
            try:
                known = arguments_of(class_path(entry["class_path"], home))
            except UserError as error:
                self.problems.append(f"{place}: {error.summary}")
                continue
            given = entry.get("init_args") or {}
            unknown = [key for key in given if key not in known and OTHERS not in known]
            self.problems += [f"{place}: {key}: unknown key{nearest(key, known)}" for key in unknown]

    def resolved(self, controls: Mapping[str, Any] | None) -> dict[str, Any]:
        """The whole configuration: defaults, what is given, interpolations resolved, and all of the types wanted."""
        if not self.class_path and not self.problems:
            self.problems.append("no method is named: the key model is missing")
            self.hint = "Name an experiment, such as lathadapter_fewshot; `hierfit experiments` lists them."
        for name, argument in self.known["model"].items():
            if argument.required and name not in self.given["model"]:
                self.problems.append(f"model.{name} is missing: {self.class_path} needs it")
        whole: dict[str, dict[str, Any]] = {}
        for group, known in self.known.items():
            values = {name: OVERRIDES.get(f"{group}.{name}", argument.default) for name, argument in known.items()}
            whole[group] = {**values, **{name: setting.value for name, setting in self.given[group].items()}}
        own, model = whole[""], {"class_path": self.class_path, "init_args": whole["model"]}
        expected = own.pop("expected")
        nested = {"seed_everything": own["seed_everything"], "trainer": whole["trainer"], "model": model}
        settings = self._interpolated({**nested, "data": whole["data"], **own, "controls": controls})
        groups = {"": {**settings, "expected": expected}, "model": settings["model"]["init_args"]}
        groups |= {"trainer": settings["trainer"], "data": settings["data"]}
        faulty = bool(self.problems)
        for group, given in self.given.items():
            for name, setting in given.items():
                if "${" in json.dumps(setting.value, default=str):
                    if faulty:  # what it refers to may be what is wrong
                        continue
                    setting = replace(setting, value=groups[group][name], text=None)
                value = setting.converted(self.known[group][name].type, self.problems)
                if group == "trainer" and name in TRAINER_CLASSES:
                    self._check_classes(value, TRAINER_CLASSES[name], setting.place)
                if name != "expected":
                    (settings if not group else groups[group])[name] = value
        settings["data"]["needs"] = attribute_of(self.class_path, "needs") if self.class_path else "features"
        return settings

    def _interpolated(self, nested: dict[str, Any]) -> dict[str, Any]:
        while True:
            try:
                found: dict[str, Any] = OmegaConf.to_container(OmegaConf.create(nested), resolve=True)  # type: ignore
                return found
            except OmegaConfBaseException as error:
                key = str(error.full_key or "")
                *groups, name = key.split(".")
                setting = self.given.get("".join(groups[:1]), {}).get(name)
                reason = next(iter(str(error).splitlines()), "")
                self.problems.append(f"{setting.place if setting else key}: {reason}")
                place: Any = nested
                for group in groups:
                    place = place[group]
                place[name] = None


def _with(value: Any, key: str, inner: object) -> Any:
    """A mapping with a value set at a dotted key within it; of a class (the last, of several), among its arguments."""
    if isinstance(value, list) and value:
        return [*value[:-1], _with(value[-1], key, inner)]
    found = {"class_path": value} if isinstance(value, str) else dict(value) if isinstance(value, Mapping) else {}
    name, _, below = key.partition(".")
    if "class_path" in found and name not in ("class_path", "init_args"):
        return {**found, "init_args": _with(found.get("init_args"), key, inner)}
    return {**found, name: _with(found.get(name), below, inner) if below else inner}


def class_path(name: str, home: str) -> str:
    """The import path of a class that may be named without its module."""
    return name if "." in name else f"{home}.{name}"
