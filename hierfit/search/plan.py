"""From the file of a grid to its cells: every key checked, every configuration resolved, before anything starts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hierfit.data.card import load_card
from hierfit.errors import UserError
from hierfit.run.check import Setting, faults, file_settings, flat
from hierfit.run.digest import WITHOUT_EFFECT, digest_of, run_digest, without
from hierfit.run.keys import OWN_KEYS
from hierfit.run.session import as_options
from hierfit.search.cell import Cell, cell_folder
from hierfit.search.grid_expected import grid_expectations
from hierfit.search.grid_file import GridFile, Keys
from hierfit.search.resolve import DEFAULTS, not_one_device, resolver

_RESERVED = {
    "name": "the grid's name is taken",
    "row": "the name under methods is taken",
    "folder": "--runs says where the grid lies",
    "runs": "--runs says where the grid lies",
    "seed_everything": "list it under seeds",
    "data.shots": "list it under shots",
    "controls": "a control is a row of its own, named by the key control",
    "test": "every cell is tested",
}
# ${key}, but not ${oc.env:NAME}.
_REFERENCE = re.compile(r"\$\{(?!oc\.)")

# Stand-ins while one configuration is resolved for all draws: numbers nobody uses.
_SHOTS, _SEED = 918273645, 1029384756


@dataclass(frozen=True)
class Plan:
    """The cells of a grid, in the order in which they share most; and what was left out, in words."""

    cells: tuple[Cell, ...]
    left_out: tuple[str, ...]


def plan(grid: GridFile, runs: Path, skip_missing: bool = False) -> Plan:
    """The cells of a grid.

    Args:
        grid: The file.
        runs: Where grids lie.
        skip_missing: Leave out cards whose data are not there, where it is an error otherwise.

    Raises:
        UserError: Everything that is wrong with any key of any cell, each with its line.
    """
    problems: list[str] = []
    grid_expectations(grid, problems)
    configs = grid.config_paths(problems)
    base = [setting for path in configs for setting in file_settings(path, problems)]
    given = _Given(grid, problems)
    missing = {card: lack for card, keys in given.cards.items() if (lack := _missing_root(keys))}
    if not skip_missing:
        problems += [f"{grid.source.at('cards').at(card)}: {lack}" for card, lack in missing.items()]
    cards = [card for card in given.cards if card not in missing]
    for card in given.cards:
        for row in given.methods:
            problems += faults([*base, *given.of(card, row)], OWN_KEYS)
    if problems:
        raise _refused(grid, problems)
    fingerprints = _card_fingerprints(cards, given, problems)
    resolved = _resolved(grid, configs, given, cards, problems)
    problems += _same_rows(grid, cards, resolved)
    if problems:
        raise _refused(grid, problems)
    cells = []
    for card in cards:
        for shots in grid.shots:
            for seed in grid.seeds:
                for row in given.methods:
                    arguments, settings = resolved[card, row]
                    text = json.dumps(settings).replace(str(_SHOTS), json.dumps(shots)).replace(str(_SEED), str(seed))
                    settings = json.loads(text)
                    digest = run_digest(settings, fingerprints[card])
                    folder = cell_folder(runs / grid.name, card, row, shots, seed, digest)
                    cells.append(Cell(card, row, shots, seed, _at(arguments, shots, seed), settings, digest, folder))
    return Plan(tuple(cells), tuple(f"card {card}: {lack}" for card, lack in missing.items()))


def _resolved(
    grid: GridFile, configs: Iterable[Path], given: _Given, cards: Iterable[str], problems: list[str]
) -> dict[tuple[str, str], tuple[list[str], dict[str, Any]]]:
    """Command line and configuration of each card and row, with stand-ins for shots and seed."""
    resolve = resolver()
    found = {}
    for card in cards:
        for row in given.methods:
            options = {**{s.key: s.value for s in given.of(card, row)}, "name": grid.name, "row": row}
            arguments = [*as_options(DEFAULTS), *(f"--config={path}" for path in configs), *as_options(options)]
            place = grid.source.at("methods").at(row)
            try:
                settings = resolve(_at(arguments, _SHOTS, _SEED))
            except ArgumentError as error:
                problems.append(f"{place}: on card {card}: {error}")
                continue
            if fault := not_one_device(settings):
                problems.append(f"{place}: {fault}")
            settings = without(settings, WITHOUT_EFFECT)
            found[card, row] = arguments, settings
    return found


def _at(arguments: Iterable[str], shots: int | None, seed: int) -> tuple[str, ...]:
    """The command line of one draw; the draw goes by the run's seed, unless the grid sets ``data.seed`` otherwise."""
    return f"--data.seed={seed}", *arguments, f"--data.shots={json.dumps(shots)}", f"--seed_everything={seed}"


class _Given:
    """The keys of a grid's file, one by one and with their lines."""

    def __init__(self, grid: GridFile, problems: list[str]) -> None:
        self.everywhere = self._settings(grid, ("set",), grid.set, problems)
        self.cards = {
            name: [
                Setting("data.card", name, str(grid.source.at("cards").at(name))),
                *self._settings(grid, ("cards", name), keys, problems),
            ]
            for name, keys in grid.cards.items()
        }
        self.methods = {
            name: self._settings(grid, ("methods", name), keys, problems) for name, keys in grid.methods.items()
        }

    def of(self, card: str, row: str) -> list[Setting]:
        """The settings of a card and a row: which method it is first, since keys of a method come after its name."""
        settings = [*self.everywhere, *self.cards[card], *self.methods[row]]
        return sorted(settings, key=lambda s: s.key not in ("model", "model.class_path"))

    @staticmethod
    def _settings(grid: GridFile, where: tuple[str, ...], keys: Keys, problems: list[str]) -> list[Setting]:
        found = []
        for key, value in keys.items():
            line = grid.source.lines.get((*where, str(key)))
            place = f"{grid.path}:{line}" if line else str(grid.path)
            settings = list(flat(str(key), value, place))
            problems += [
                f"{place}: {s.key}: cannot be set here; {why}" for s in settings if (why := _RESERVED.get(s.key))
            ]
            problems += [
                f"{place}: {s.key}: refers to another key, which only a configuration file can"
                for s in settings
                if isinstance(s.value, str) and _REFERENCE.search(s.value)
            ]
            found += settings
        return found


def _missing_root(settings: Iterable[Setting]) -> str | None:
    """What there is not, where a card's keys name a root that does not exist."""
    root = next((s.value for s in settings if s.key == "data.root"), None)
    if not isinstance(root, str):
        return None
    try:
        path = Path(OmegaConf.create({"root": root})["root"]).expanduser()
    except OmegaConfBaseException as error:
        return f"data.root: {root} has no value: {str(error).splitlines()[0]}"
    return None if path.exists() else f"data.root: there is no {path}"


def _card_fingerprints(cards: Iterable[str], given: _Given, problems: list[str]) -> dict[str, str]:
    found = {}
    for card in cards:
        named = [s for s in [*given.everywhere, *given.cards[card]] if s.key == "data.card"][-1]
        try:
            found[card] = load_card(str(named.value)).fingerprint
        except UserError as error:
            problems += [f"{named.place}: {error.summary}", *(f"{named.place}: {p}" for p in error.problems)]
    return found


def _same_rows(
    grid: GridFile, cards: Iterable[str], resolved: Mapping[tuple[str, str], tuple[object, Mapping[str, Any]]]
) -> list[str]:
    """Rows that would train the very same thing under two names."""
    first: dict[str, str] = {}
    problems = []
    for row in grid.methods:
        settings = [{**resolved[card, row][1], "row": None} for card in cards if (card, row) in resolved]
        other = first.setdefault(digest_of(settings), row)
        if settings and other != row:
            problems.append(f"{grid.source.at('methods').at(row)}: the same run as {other!r}")
    return problems


def _refused(grid: GridFile, problems: Iterable[str]) -> UserError:
    return UserError(f"{grid.path}: this grid cannot be run", list(dict.fromkeys(problems)))
