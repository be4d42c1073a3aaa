"""Experiments and grids that say what a rerun of them finds: read, and run again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from hierfit.config.schema import nearest, read_yaml
from hierfit.data.card import load_card
from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.errors import UserError
from hierfit.results.card import ResultCard
from hierfit.results.columns import with_decoder
from hierfit.run.check import check_settings, file_settings
from hierfit.run.expected import Expectations, Range, expectations
from hierfit.run.folder import new_run_folder
from hierfit.run.keys import OWN_KEYS
from hierfit.run.session import run
from hierfit.search.cell import LOG, finished
from hierfit.search.grid import run_cells
from hierfit.search.grid_expected import GridExpectations, grid_expectations
from hierfit.search.grid_file import GridFile, read_grid
from hierfit.search.plan import plan

_BASE = "base.yaml"


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


@dataclass(frozen=True)
class Reproducible(ABC):
    """A file that may state what a rerun finds.

    Attributes:
        file: Its path.
        roots: Where the user says data lie, by name of their card.
    """

    file: Path
    roots: Mapping[str, str]

    @property
    @abstractmethod
    def name(self) -> str:
        """Of the experiment or grid."""

    @property
    @abstractmethod
    def expected(self) -> Expectations | GridExpectations | None:
        """What it says a rerun finds; None where it says nothing."""

    @property
    @abstractmethod
    def cards(self) -> tuple[str, ...]:
        """Names of the data cards it reads."""

    @property
    @abstractmethod
    def lacking(self) -> Mapping[str, str]:
        """Why data are not there, by name of their card."""

    @abstractmethod
    def rerun(self, seed: int, runs: Path) -> tuple[Figure, ...]:
        """Runs it in a new folder below ``runs`` and compares.

        Raises:
            UserError: It cannot be run.
        """

    @property
    def stated(self) -> Expectations | GridExpectations:
        """What it expects, of one that is run."""
        assert self.expected is not None
        return self.expected

    def not_run(self, cheaper_than: float, seed: int | None) -> str | None:
        """Why it is skipped, if it is.

        Args:
            cheaper_than: Minutes.
            seed: The one asked for.
        """
        if self.expected is None:
            return "does not state what to expect"
        if self.expected.minutes >= cheaper_than:
            return f"takes about {self.expected.minutes:g} min; --cheaper-than {cheaper_than:g} leaves it out"
        if seed is not None and seed not in self.expected.seeds:
            return f"was measured with seeds {', '.join(map(str, self.expected.seeds))}, not with {seed}"
        return "; ".join(self.lacking.values()) if len(self.lacking) == len(self.cards) else None


@dataclass(frozen=True)
class Experiment(Reproducible):
    """An experiment's file.

    Attributes:
        configs: Configuration files of its run: the folder's ``base.yaml``, where there is one, then its own.
        settings: Of them, by key, the last first.
        ranges: What it expects.
    """

    configs: tuple[Path, ...]
    settings: Mapping[str, Any]
    ranges: Expectations | None

    @property
    def name(self) -> str:
        """Of the experiment."""
        return str(self.settings.get("name", self.file.stem))

    @property
    def expected(self) -> Expectations | None:
        """What it says a rerun finds."""
        return self.ranges

    @cached_property
    def cards(self) -> tuple[str, ...]:
        """The card's name."""
        return (load_card(self._card).name,)

    @property
    def lacking(self) -> Mapping[str, str]:
        """Why its data are not there."""
        (name,) = self.cards
        root = self.roots.get(name, self.settings.get("data.root"))
        if root is not None:
            there = Path(str(root)).expanduser().exists()
            return {} if there else {name: f"needs data.root, and there is no {root}"}
        if load_card(self._card).is_drawn:
            return {}
        return {name: f"needs the data of {name}: --data-root {name}=PATH says where they lie"}

    def rerun(self, seed: int, runs: Path) -> tuple[Figure, ...]:
        """Runs it as ``make train`` does."""
        folder = new_run_folder(runs, self.name, seed)
        options = [*(f"--config={path}" for path in self.configs), f"--seed_everything={seed}", f"--folder={folder}"]
        options += [f"--data.root={self.roots[name]}" for name in self.cards if name in self.roots]
        run(["fit", *options, "--wandb=disabled"])
        assert self.ranges is not None
        return compared(self.ranges.rows, own_cards(folder))

    @property
    def _card(self) -> str:
        from inspect import signature

        default = signature(HierarchicalDataModule).parameters["card"].default
        return str(self.settings.get("data.card", default))


@dataclass(frozen=True)
class Grid(Reproducible):
    """A grid's file; of it only those cells are run that a figure is stated of."""

    grid: GridFile
    ranges: GridExpectations | None

    @property
    def name(self) -> str:
        """Of the grid."""
        return self.grid.name

    @property
    def expected(self) -> GridExpectations | None:
        """What it says a rerun finds."""
        return self.ranges

    @property
    def cards(self) -> tuple[str, ...]:
        """Those with stated figures."""
        return tuple(self.ranges.cards) if self.ranges is not None else ()

    @cached_property
    def lacking(self) -> Mapping[str, str]:
        """Why cards are left out, those of them without data."""
        left_out = plan(self._chosen(self.grid.seeds[0]), Path(), skip_missing=True).left_out
        found = {name: note for name in self.cards for note in left_out if note.startswith(f"card {name}: ")}
        return {name: f"{note}; --data-root {name}=PATH says where they lie" for name, note in found.items()}

    def rerun(self, seed: int, runs: Path) -> tuple[Figure, ...]:
        """Runs its stated cells side by side."""
        assert self.ranges is not None
        folder = new_run_folder(runs, self.name, seed)
        cells = plan(self._chosen(seed), folder, skip_missing=True).cells
        cells = tuple(cell for cell in cells if cell.row in self.ranges.cards[cell.card])
        if failed := run_cells(self.name, cells, None, Console()):
            problems = [f"{cell.label}: {error}, see {cell.folder / LOG}" for cell, error in failed.items()]
            raise UserError(f"{len(failed)} of {len(cells)} cells failed.", problems)
        figures: list[Figure] = []
        for card, rows in self.ranges.cards.items():
            if card not in self.lacking:
                found = [result for cell in cells if cell.card == card and (result := finished(cell))]
                figures += [figure._replace(row=f"{card}/{figure.row}") for figure in compared(rows, found)]
        return tuple(figures)

    def _chosen(self, seed: int) -> GridFile:
        """The grid of the rows and cards that figures are stated of, at one seed and number of shots."""
        assert self.ranges is not None
        shots = self.grid.shots[0] if len(self.grid.shots) == 1 else self.ranges.shots
        cards = {name: dict(self.grid.cards[name]) for name in self.ranges.cards}
        for name in cards.keys() & self.roots.keys():
            cards[name]["data.root"] = self.roots[name]
        methods = {row: self.grid.methods[row] for row in self.ranges.rows}
        return replace(
            self.grid, cards=cards, methods=methods, seeds=(seed,), shots=(shots,), control=None, expected=None
        )


def read_files(files: Sequence[Path], roots: Mapping[str, str]) -> list[Reproducible]:
    """Experiments, each with its settings checked as ``hierfit fit`` does, and grids.

    Raises:
        UserError: Everything that is wrong with any of them; or a root is given of a card that none of them reads.
    """
    found: list[Reproducible] = []
    problems: list[str] = []
    for file in dict.fromkeys(files):
        try:
            found.append(_grid(file, roots, problems) if _is_grid(file) else _experiment(file, roots))
        except UserError as error:
            problems += error.problems or [str(error)]
    if problems:
        raise UserError("These experiments cannot be run.", list(dict.fromkeys(problems)))
    cards = sorted({card for each in found for card in each.cards})
    unknown = [f"{name}: no card here has this name{nearest(name, cards)}" for name in roots if name not in cards]
    if unknown:
        raise UserError("--data-root cannot be used.", unknown, f"Cards: {', '.join(cards)}.")
    return found


def _is_grid(file: Path) -> bool:
    content = read_yaml(file, [])[0] if file.is_file() else None
    return isinstance(content, Mapping) and {"methods", "cards"} <= content.keys()


def _experiment(file: Path, roots: Mapping[str, str]) -> Experiment:
    base = file.with_name(_BASE)
    configs = (base, file) if base.is_file() and base != file else (file,)
    check_settings([f"--config={path}" for path in configs], OWN_KEYS)
    settings = {s.key: s.value for path in configs for s in file_settings(path, [])}
    return Experiment(file, roots, configs, settings, expectations(*read_yaml(file, []), []))


def _grid(file: Path, roots: Mapping[str, str], problems: list[str]) -> Grid:
    grid = read_grid(file)
    return Grid(file, roots, grid, grid_expectations(grid, problems))


def own_cards(folder: Path) -> list[ResultCard]:
    """The cards of a run and its controls, without those of the other data sets they were tested on."""
    return [ResultCard.read(run) for run in (folder, *sorted(folder.glob("controls/*")))]


def compared(expected: Mapping[str, Mapping[str, Range]], cards: Sequence[ResultCard]) -> tuple[Figure, ...]:
    """Every figure that is expected, beside the one that a run's cards hold."""
    by_row = {card.row: card.metrics for card in cards}
    figures = []
    for row, ranges in expected.items():
        for name, ends in ranges.items():
            metric, _, decoder = with_decoder(name).partition("@")
            value = by_row.get(row, {}).get(decoder, {}).get(metric)
            figures.append(Figure(row, name, ends, None if value is None else 100 * value))
    return tuple(figures)
