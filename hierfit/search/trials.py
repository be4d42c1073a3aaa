"""From the values of a trial to its cell: every key of a sweep checked before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError

from hierfit import __version__
from hierfit.data.card import DataCard, load_card
from hierfit.errors import UserError
from hierfit.methods.base import Method
from hierfit.metrics import hierarchy_metrics
from hierfit.run.check import Setting, faults, given_settings
from hierfit.run.digest import WITHOUT_EFFECT, digest_of, without
from hierfit.run.keys import OWN_KEYS
from hierfit.run.session import as_options, method_class
from hierfit.search.cell import Cell
from hierfit.search.resolve import DEFAULTS, not_one_device, resolver
from hierfit.search.sweep_file import SweepFile, metric_fault
from hierfit.taxonomy import Taxonomy

_RESERVED = {
    "name": "the sweep's name is taken",
    "row": "trials are numbered",
    "folder": "--runs says where the sweep lies",
    "runs": "--runs says where the sweep lies",
    "config": "name configuration files in the command",
    "test": "only what was chosen is tested",
    "tuned_on": "it is what the metric is of",
    "controls": "a trial has no controls",
}


class Trials:
    """The cells of a sweep.

    Args:
        file: The sweep.
        runs: Where sweeps lie.
        local: Trials run here, side by side, and so on one device each; an agent of W&B may give one several.

    Raises:
        UserError: Everything that is wrong with any key or value a trial may have, each with its line; the metric does
            not exist, or the method has nothing to train.
    """

    def __init__(self, file: SweepFile, runs: Path, local: bool = True) -> None:
        self.file, self.local = file, local
        self.folder = runs / file.name
        first = {name: parameter.probes()[0] for name, parameter in file.parameters.items()}
        problems: list[str] = []
        problems += self._key_faults(problems)
        if problems:
            raise self._refused(problems)
        self._resolve = resolver()
        met: set[str] = set()
        for place, values in self._probed(first):
            if (fault := self._fault(values)) and fault not in met:
                problems.append(f"{place}: {fault}")
                met.add(fault)
        if problems:
            raise self._refused(problems)
        settings = self._settings(self._arguments(first, 0))
        card = load_card(settings["data"]["card"])
        known = [f"val/{name}" for name in hierarchy_metrics(_any_tree(card))]
        if fault := metric_fault(file.metric, known):
            problems.append(f"{file.source.at('metric').at('name')}: {fault}")
        # Here a trial is kept from both anyway; an agent runs the command as it stands.
        told = self._resolve([*as_options(DEFAULTS), *file.arguments(first)])
        for wanted, key, why in (
            ("--test=false", "test", "only what was chosen is tested"),
            ("--controls=null", "controls", "a trial has no controls"),
        ):
            if told[key]:
                problems.append(f"{file.source.at('command')}: {wanted} is missing; {why}")
        method = _method(settings)
        if not method.trains:
            problems.append(
                f"{file.source.at('command')}: {method.__name__} has nothing to train, so nothing to search"
            )
        if problems:
            raise self._refused(problems)
        self._card = card

    def trial(self, number: int, values: Mapping[str, Any]) -> Cell:
        """The cell of a trial; it is not tested."""
        row = f"trial {number}"
        arguments = [*self._arguments(values, number), "--test=false", f"--row={row}"]
        return self._cell(arguments, row, self.folder / "trials" / f"{number:04}")

    def chosen(self, values: Mapping[str, Any], row: str, seed: int | None) -> Cell:
        """The cell of a trial's values with the test, under a seed of its own or (None) the trial's."""
        seeded = [] if seed is None else [f"--seed_everything={seed}"]
        arguments = [*self._arguments(values, 0), "--test=true", "--tuned_on=val", f"--row={row}", *seeded]
        return self._cell(arguments, row, self.folder / "chosen" / f"s{'' if seed is None else seed}")

    def _cell(self, arguments: Sequence[str], row: str, folder: Path) -> Cell:
        settings = self._settings(arguments)
        settings = without(settings, WITHOUT_EFFECT)
        stops = self.file.early_terminate
        content: dict[str, Any] = {"hierfit": __version__, "card": self._card.fingerprint, "settings": settings}
        content["stops"] = None if stops is None else [stops.first, stops.eta, self.file.metric.name]
        digest = digest_of(content)
        seed, shots = int(settings["seed_everything"]), settings["data"]["shots"]
        place = folder.with_name(f"{folder.name}-{digest[:8]}")
        return Cell(self._card.name, row, shots, seed, tuple(arguments), settings, digest, place)

    def _arguments(self, values: Mapping[str, Any], number: int) -> list[str]:
        """What an agent would run, after what every cell starts from."""
        return [*as_options(DEFAULTS), *self.file.arguments(values), f"--name={self.file.name}"]

    def _settings(self, arguments: Sequence[str]) -> dict[str, Any]:
        return self._resolve([*arguments, "--controls=null"])

    def _key_faults(self, problems: list[str]) -> Iterator[str]:
        """Of the command's own words, and of the parameters' keys and values."""
        parameters = self.file.source.at("parameters")
        command = self.file.source.at("command")
        fixed = [
            setting if setting.place != "command line" else Setting(setting.key, setting.value, str(command))
            for setting in given_settings(self.file.arguments({}), problems)
        ]
        fixed = [setting for setting in fixed if not setting.key.startswith("controls")]
        varied = []
        for name, parameter in self.file.parameters.items():
            place = parameters.at(name)
            if why := _RESERVED.get(name.partition(".")[0]):
                yield f"{place}: cannot be searched; {why}"
                continue
            varied += [Setting(name, value, _line(place)) for value in parameter.probes()]
        # Which method it is first, since keys of a method come after its name.
        named = [s for s in varied if s.key in ("model", "model.class_path")]
        yield from dict.fromkeys(faults([*fixed, *named, *(s for s in varied if s not in named)], OWN_KEYS))

    def _probed(self, first: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Values of trials that show whether all are allowed, one parameter at a time, and where each stands."""
        yield str(self.file.source.at("command")), first
        for name, parameter in self.file.parameters.items():
            for value in parameter.probes()[1:]:
                yield str(self.file.source.at("parameters").at(name)), {**first, name: value}

    def _fault(self, values: Mapping[str, Any]) -> str:
        """What keeps a trial of these values from being set up; empty when nothing does."""
        try:
            settings = self._settings(self._arguments(values, 0))
        except ArgumentError as error:
            return str(error)
        if self.local and (fault := not_one_device(settings)):
            return f"{fault}; W&B's agent takes trials of several devices"
        try:
            _method(settings)(**(settings["model"].get("init_args") or {}))
        except UserError as error:
            return "; ".join(error.problems) or error.summary
        return ""

    def _refused(self, problems: Sequence[str]) -> UserError:
        return UserError(f"{self.file.path}: this sweep cannot be run", list(dict.fromkeys(problems)))


def _line(place: Any) -> str:
    return str(place).partition(": ")[0]


def _method(settings: Mapping[str, Any]) -> type[Method]:
    return method_class(settings["model"]["class_path"])


def _any_tree(card: DataCard) -> Taxonomy:
    """Some tree of a card's levels."""
    return Taxonomy.from_paths([tuple(card.levels)], levels=tuple(card.levels))
