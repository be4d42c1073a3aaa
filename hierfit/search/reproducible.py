"""Experiments and grids that say what a rerun of them finds: read, and turned into cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from hierfit.config.schema import nearest, read_yaml
from hierfit.config.settings import Setting, file_settings
from hierfit.data.card import load_card
from hierfit.errors import UserError
from hierfit.results.columns import with_decoder
from hierfit.run.expected import Range, expectations
from hierfit.run.folder import control_folder, new_run_folder
from hierfit.run.train import Config, configure
from hierfit.search.cell import DEFAULTS, Cell, finished, option
from hierfit.search.grid_file import GridFile, read_grid
from hierfit.search.plan import missing_root, not_one_device, plan

BASE = "base.yaml"

_Words = Sequence[str | Setting]
_Rows = Mapping[str, Mapping[str, Range]]


class Figure(NamedTuple):
    """One figure of a rerun, in %; None where the run has none of that name."""

    row: str
    name: str
    expected: Range
    measured: float | None

    @property
    def inside(self) -> bool:
        """Whether it is what was expected."""
        return self.measured is not None and self.expected.holds(self.measured)


@dataclass(frozen=True, eq=False)
class Reproducible:
    """A file that may state what a rerun finds.

    Attributes:
        file: Its path.
        name: Of the experiment or grid.
        cards: Names of the data cards it states figures of.
        ranges: The figures by card, row and name; empty where it states none.
        seeds: That were measured.
        minutes: Stated.
        lacking: Why data are not there, by name of their card.
        cells: What to run with a seed below a folder.
        is_grid: Its rows stand below the names of their cards.
    """

    file: Path
    name: str
    cards: tuple[str, ...]
    ranges: Mapping[str, _Rows]
    seeds: tuple[int, ...]
    minutes: float
    lacking: Mapping[str, str]
    cells: Callable[[int, Path], Sequence[Cell]]
    is_grid: bool

    def not_run(self, cheaper_than: float, seed: int | None) -> str | None:
        """Why it is skipped, if it is.

        Args:
            cheaper_than: Minutes.
            seed: The one asked for.
        """
        if not self.ranges:
            return "does not state what to expect"
        if self.minutes >= cheaper_than:
            return f"takes about {self.minutes:g} min; --cheaper-than {cheaper_than:g} leaves it out"
        if seed is not None and seed not in self.seeds:
            return f"was measured with seeds {', '.join(map(str, self.seeds))}, not with {seed}"
        return "; ".join(self.lacking.values()) if len(self.lacking) == len(self.cards) else None

    def figures(self, cells: Sequence[Cell]) -> list[Figure]:
        """Every figure that is stated, beside the one that its cells have left."""
        found = []
        for card, rows in self.ranges.items():
            if card in self.lacking:
                continue
            metrics = {cell.row: done.metrics for cell in cells if cell.card == card and (done := finished(cell))}
            for row, ranges in rows.items():
                for name, ends in ranges.items():
                    metric, _, decoder = with_decoder(name).partition("@")
                    value = metrics.get(row, {}).get(decoder, {}).get(metric)
                    shown = f"{card}/{row}" if self.is_grid else row
                    found.append(Figure(shown, name, ends, None if value is None else 100 * value))
        return found


def read_files(files: Sequence[Path], roots: Mapping[str, str]) -> list[Reproducible]:
    """Experiments and grids, all their keys checked.

    Args:
        files: Of experiments and grids.
        roots: Where the user says data lie, by name of their card.

    Raises:
        UserError: Everything that is wrong with any of them; or a root is given of a card that none of them reads.
    """
    found: list[Reproducible] = []
    problems: list[str] = []
    for file in dict.fromkeys(files):
        try:
            content = read_yaml(file, [])[0] if file.is_file() else None
            is_grid = isinstance(content, Mapping) and {"methods", "cards"} <= content.keys()
            found.append(_grid(file, roots) if is_grid else _experiment(file, roots))
        except UserError as error:
            problems += error.problems or [str(error)]
    if problems:
        raise UserError("These experiments cannot be run.", list(dict.fromkeys(problems)))
    cards = sorted({card for each in found for card in each.cards})
    unknown = [f"{name}: no card here has this name{nearest(name, cards)}" for name in roots if name not in cards]
    if unknown:
        raise UserError("--data-root cannot be used.", unknown, f"Cards: {', '.join(cards)}.")
    return found


def _experiment(file: Path, roots: Mapping[str, str]) -> Reproducible:
    base = file.with_name(BASE)
    configs = (base, file) if base.is_file() and base != file else (file,)
    words: list[str | Setting] = [f"--config={path}" for path in configs]
    settings = configure([*words, "--data.root=null"]).settings
    card = load_card(settings["data"]["card"])
    given = [setting for path in configs for setting in file_settings(path, [])]
    if card.name in roots:
        given.append(Setting("data.root", roots[card.name], "command line"))
        words.append(given[-1])
    lack = missing_root(given)
    if not any(setting.key == "data.root" for setting in given) and not card.is_drawn:
        lack = f"needs the data of {card.name}"
    stated = expectations(*read_yaml(file, []), [])
    return Reproducible(
        file,
        str(settings["name"]),
        (card.name,),
        {card.name: stated.rows} if stated else {},
        stated.seeds if stated else (),
        stated.minutes if stated else 0,
        {card.name: _where(lack, card.name)} if lack else {},
        partial(_cells, [*(option(*each) for each in DEFAULTS.items()), *words], card.name),
        is_grid=False,
    )


def _cells(words: _Words, card: str, seed: int, runs: Path) -> list[Cell]:
    """An experiment's run and its controls, in the folders they have when it is run alone."""
    words = [*words, f"--seed_everything={seed}"]
    whole = configure(words)
    if fault := not_one_device(whole):
        raise UserError(fault)
    folder = new_run_folder(runs, whole.name, seed)
    cells = [_cell([*words, "--controls=null"], whole, card, folder)]
    controls: Mapping[str, Mapping[str, Any]] = whole.settings["controls"] or {}
    for row, keys in controls.items():
        changed = (Setting(key, value, f"controls.{row}") for key, value in keys.items())
        own = [*words, "--controls=null", *changed, option("row", row)]
        cells.append(_cell(own, configure(own), card, control_folder(folder, row)))
    return cells


def _cell(words: _Words, config: Config, card: str, folder: Path) -> Cell:
    shots = config.settings["data"]["shots"]
    return Cell(card, config.row, shots, config.seed, tuple(words), config.settings, config.digest, folder)


def _grid(file: Path, roots: Mapping[str, str]) -> Reproducible:
    grid = read_grid(file)
    if problems := grid.faults():
        raise UserError("This grid cannot be run.", problems)
    stated = grid.expected
    lacking: dict[str, str] = {}
    if stated is not None:
        left_out = plan(_chosen(grid, roots, grid.seeds[0]), Path(), skip_missing=True).left_out
        lacking = {card: _where(f"card {card}: {lack}", card) for card, lack in left_out.items()}
    return Reproducible(
        file,
        grid.name,
        tuple(stated.cards) if stated else (),
        stated.cards if stated else {},
        stated.seeds if stated else (),
        stated.minutes if stated else 0,
        lacking,
        partial(_stated_cells, grid, roots),
        is_grid=True,
    )


def _stated_cells(grid: GridFile, roots: Mapping[str, str], seed: int, runs: Path) -> list[Cell]:
    assert grid.expected is not None
    cells = plan(_chosen(grid, roots, seed), new_run_folder(runs, grid.name, seed), skip_missing=True).cells
    return [cell for cell in cells if cell.row in grid.expected.cards[cell.card]]


def _chosen(grid: GridFile, roots: Mapping[str, str], seed: int) -> GridFile:
    """The grid of the rows and cards that figures are stated of, at one seed and number of shots."""
    assert grid.expected is not None
    shots = grid.shots[0] if len(grid.shots) == 1 else grid.expected.shots
    cards = {name: dict(grid.cards[name]) for name in grid.expected.cards}
    for name in cards.keys() & roots.keys():
        cards[name]["data.root"] = roots[name]
    methods = {row: grid.methods[row] for row in grid.expected.rows}
    return replace(grid, cards=cards, methods=methods, seeds=(seed,), shots=(shots,), control=None, expected=None)


def _where(lack: str, card: str) -> str:
    return f"{lack}; --data-root {card}=PATH says where they lie"
