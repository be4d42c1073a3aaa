"""From the file of a grid to its cells: every key checked, every configuration resolved, before anything starts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hierfit.config.settings import Setting, spread
from hierfit.errors import UserError
from hierfit.methods.base import Method
from hierfit.run.train import Config, configure
from hierfit.search.cell import DEFAULTS, Cell, cell_folder, option
from hierfit.search.grid_file import GridFile, Keys

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

Words = list[str | Setting]


@dataclass(frozen=True)
class Plan:
    """The cells of a grid, draw by draw; and the cards that were left out, with the reason."""

    cells: tuple[Cell, ...]
    left_out: Mapping[str, str]


def plan(grid: GridFile, runs: Path, skip_missing: bool = False) -> Plan:
    """The cells of a grid.

    Args:
        grid: The file.
        runs: Where grids lie.
        skip_missing: Leave out cards whose data are not there, where it is an error otherwise.

    Raises:
        UserError: Everything that is wrong with any key of any cell, each with its line.
    """
    problems = grid.faults()
    configs = [f"--config={path}" for path in grid.config_paths(problems)]
    everywhere = _settings(grid, ("set",), grid.set, problems)
    cards = {name: _settings(grid, ("cards", name), keys, problems) for name, keys in grid.cards.items()}
    rows = {name: _settings(grid, ("methods", name), keys, problems) for name, keys in grid.methods.items()}
    missing = {card: lack for card, keys in cards.items() if (lack := missing_root(keys))}
    if not skip_missing:
        problems += [f"{grid.source.at('cards').at(card)}: {lack}" for card, lack in missing.items()]

    def words(card: str, row: str, shots: int | None, seed: int) -> Words:
        named = Setting("data.card", card, _line(grid, ("cards", card)))
        own = [*everywhere, named, *cards[card], *rows[row]]
        own.sort(key=lambda setting: setting.key not in ("model", "model.class_path"))  # its keys come after it
        draw = {"name": grid.name, "row": row, "data.shots": shots, "seed_everything": seed}
        # The draw goes by the run's seed, unless the grid sets data.seed otherwise.
        first = {"data.seed": seed, **DEFAULTS}
        before, after = ([option(*each) for each in keys.items()] for keys in (first, draw))
        return [*before, *configs, "--controls=null", *own, *after]

    firsts: dict[tuple[str, str], Config] = {}
    if grid.seeds and grid.shots:
        for card, row in product(cards, rows):
            place = f"{grid.source.at('methods').at(row)}: on card {card}"
            given = words(card, row, grid.shots[0], grid.seeds[0])
            if card in missing:
                given = [word for word in given if isinstance(word, str) or word.key != "data.root"]
            try:
                config = configure(given)
                config.digest  # noqa: B018 (reads the card)
            except UserError as error:
                problems += faults_of(error, place)
                continue
            firsts[card, row] = config
            if fault := not_one_device(config):
                problems.append(f"{place}: {fault}")
    problems += _same_rows(grid, firsts)
    if problems:
        raise UserError(f"{grid.path}: this grid cannot be run", list(dict.fromkeys(problems)))
    cells = []
    for card, shots, seed, row in product(cards, grid.shots, grid.seeds, rows):
        if card not in missing:
            given = words(card, row, shots, seed)
            config = configure(given)
            folder = cell_folder(runs / grid.name, card, row, shots, seed, config.digest)
            cells.append(Cell(card, row, shots, seed, tuple(given), config.settings, config.digest, folder))
    return Plan(tuple(cells), missing)


def faults_of(error: UserError, place: str) -> list[str]:
    """What is wrong with a configuration, said of a place where it does not say so itself."""
    if error.problems and error.summary.startswith("The configuration"):
        return list(error.problems)
    return [f"{place}: {error.summary}", *(f"{place}: {problem}" for problem in error.problems)]


def method_of(settings: Mapping[str, Any]) -> type[Method]:
    """The class of a resolved configuration's method."""
    module, _, name = settings["model"]["class_path"].rpartition(".")
    found: type[Method] = getattr(import_module(module), name)
    return found


def not_one_device(config: Config) -> str | None:
    """What is wrong with the devices of a cell; None where it runs on one."""
    trainer = config.settings["trainer"]
    if trainer["devices"] in (1, "1", "auto") and trainer["num_nodes"] == 1:
        return None
    return "trainer.devices: a cell runs on one device here; --jobs takes as many cells at once as there are"


def _settings(grid: GridFile, where: tuple[str, ...], keys: Keys, problems: list[str]) -> list[Setting]:
    """Keys of a grid's file one by one, each with its line."""
    found: list[Setting] = []
    for key, value in keys.items():
        found += spread(Setting(str(key), value, _line(grid, (*where, str(key)))))
    for setting in found:
        if why := _RESERVED.get(setting.key):
            problems.append(f"{setting.place}: {setting.key}: cannot be set here; {why}")
        if isinstance(setting.value, str) and _REFERENCE.search(setting.value):
            why = "refers to another key, which only a configuration file can"
            problems.append(f"{setting.place}: {setting.key}: {why}")
    return found


def _line(grid: GridFile, where: tuple[str, ...]) -> str:
    line = grid.source.lines.get(where)
    return f"{grid.path}:{line}" if line else str(grid.path)


def missing_root(settings: Iterable[Setting]) -> str | None:
    """What there is not, where keys name a root that does not exist."""
    root = next((s.value for s in reversed([*settings]) if s.key == "data.root"), None)
    if not isinstance(root, str):
        return None
    try:
        path = Path(OmegaConf.create({"root": root})["root"]).expanduser()
    except OmegaConfBaseException as error:
        return f"data.root: {root} has no value: {str(error).splitlines()[0]}"
    return None if path.exists() else f"data.root: there is no {path}"


def _same_rows(grid: GridFile, configs: Mapping[tuple[str, str], Config]) -> Iterator[str]:
    """Rows that would train the very same thing under two names."""
    first: dict[str, str] = {}
    for row in grid.methods:
        settings: list[Any] = [{**config.settings, "row": None} for (_, own), config in configs.items() if own == row]
        other = first.setdefault(json.dumps(settings, sort_keys=True), row)
        if settings and other != row:
            yield f"{grid.source.at('methods').at(row)}: the same run as {other!r}"
