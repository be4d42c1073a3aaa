"""``hierfit reproduce``: experiments again, and whether they find what their files say."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hierfit.errors import UserError
from hierfit.report.card import ResultCard

if TYPE_CHECKING:
    from hierfit.run.expected import Expectations, Range

_FOLDER = Path("experiments")
_BASE = "base.yaml"
_READING = "% on the test split; both ends of a range belong to it."


def reproduce(arguments: Sequence[str]) -> None:
    """Runs the command; exits with 1 when a figure lies outside its range, or an experiment fails.

    Raises:
        UserError: A file is at fault; nothing has been started.
    """
    options = _parser().parse_args(arguments)
    files = options.files or [path for path in sorted(_FOLDER.glob("*.yaml")) if path.name != _BASE]
    if not files:
        raise UserError(f"There is no experiment in {_FOLDER}/.", hint="Run this from the repository, or name files.")
    console = Console()
    experiments = _read(files)
    skipped = {e.file: why for e in experiments if (why := e.not_run(options.cheaper_than, options.seed))}
    chosen = [experiment for experiment in experiments if experiment.file not in skipped]
    reruns = []
    for number, experiment in enumerate(chosen, 1):
        console.rule(f"{number}/{len(chosen)}: {experiment.name}, about {experiment.stated.minutes:g} min", style="dim")
        reruns.append(_rerun(experiment, options.seed, options.runs))
    print_comparison(reruns, skipped, console)
    if not all(rerun.reproduced for rerun in reruns):
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hierfit reproduce",
        description="Run experiments again that state what they found, and say whether they find it.",
        allow_abbrev=False,
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help=f"experiments; default: all of {_FOLDER}/")
    parser.add_argument(
        "--cheaper-than", type=float, default=3.0, metavar="MINUTES", help="skip what takes as long or longer (3)"
    )
    parser.add_argument("--seed", type=int, help="one of those measured; default: an experiment's first")
    parser.add_argument("--runs", type=Path, default=Path("runs/reproduce"), help="where runs lie (runs/reproduce)")
    return parser


@dataclass(frozen=True)
class Experiment:
    """An experiment's file.

    Attributes:
        file: Its path.
        configs: Configuration files of its run: the folder's ``base.yaml``, where there is one, then its own.
        settings: Of them, by key, the last first.
        expected: What it says a rerun finds; None where it says nothing.
    """

    file: Path
    configs: tuple[Path, ...]
    settings: Mapping[str, Any]
    expected: Expectations | None

    @property
    def name(self) -> str:
        """Of the experiment."""
        return str(self.settings.get("name", self.file.stem))

    @property
    def stated(self) -> Expectations:
        """What it expects, of an experiment that is run."""
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
        return self._lacks_data()

    def _lacks_data(self) -> str | None:
        from hierfit.data.card import load_card
        from hierfit.data.datamodule import HierarchicalDataModule
        from hierfit.data.layouts.fieldguide import Fieldguide

        root = self.settings.get("data.root")
        if root is not None:
            return None if Path(str(root)).expanduser().exists() else f"needs data.root, and there is no {root}"
        card = load_card(str(self.settings.get("data.card", _default(HierarchicalDataModule, "card"))))
        return None if isinstance(card.layout, Fieldguide) else f"needs data.root, where the data of {card.name} lie"


def _default(owner: type, argument: str) -> Any:
    from inspect import signature

    return signature(owner).parameters[argument].default


def _read(files: Sequence[Path]) -> list[Experiment]:
    """The experiments of these files, each with its settings checked as ``hierfit fit`` does.

    Raises:
        UserError: Everything that is wrong with any of them.
    """
    from hierfit.data.schema import read_yaml
    from hierfit.run.check import check_settings, file_settings
    from hierfit.run.expected import expectations
    from hierfit.run.keys import OWN_KEYS

    found: list[Experiment] = []
    problems: list[str] = []
    for file in dict.fromkeys(files):
        base = file.with_name(_BASE)
        configs = (base, file) if base.is_file() and base != file else (file,)
        try:
            check_settings([f"--config={path}" for path in configs], OWN_KEYS)
        except UserError as error:
            problems += error.problems
            continue
        settings = {s.key: s.value for path in configs for s in file_settings(path, [])}
        found.append(Experiment(file, configs, settings, expectations(*read_yaml(file, []), [])))
    if problems:
        raise UserError("These experiments cannot be run.", list(dict.fromkeys(problems)))
    return found


@dataclass(frozen=True)
class Figure:
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
class Rerun:
    """What came of an experiment: its figures, or why it has none."""

    experiment: Experiment
    seed: int
    minutes: float
    figures: tuple[Figure, ...] = ()
    error: str = ""

    @property
    def reproduced(self) -> bool:
        """Whether it ran, and every figure lies in its range."""
        return not self.error and all(figure.inside for figure in self.figures)


def _rerun(experiment: Experiment, seed: int | None, runs: Path) -> Rerun:
    """Runs an experiment as ``make train`` does, in a folder of its own; what goes wrong ends no other."""
    from hierfit.run.folder import new_run_folder
    from hierfit.run.session import run

    seed = experiment.stated.seeds[0] if seed is None else seed
    folder = new_run_folder(runs, experiment.name, seed)
    configs = [f"--config={path}" for path in experiment.configs]
    started = time.monotonic()
    try:
        run(["fit", *configs, f"--seed_everything={seed}", f"--folder={folder}", "--wandb=disabled"])
        figures, error = compared(experiment.stated, own_cards(folder)), ""
    except UserError as mistake:
        figures, error = (), str(mistake)
    except Exception as fault:
        traceback.print_exc()
        figures, error = (), f"{type(fault).__name__}: {fault}"
    return Rerun(experiment, seed, (time.monotonic() - started) / 60, figures, error)


def own_cards(folder: Path) -> list[ResultCard]:
    """The cards of a run and its controls, without those of the other data sets they were tested on."""
    return [ResultCard.read(run) for run in (folder, *sorted(folder.glob("controls/*")))]


def compared(expected: Expectations, cards: Sequence[ResultCard]) -> tuple[Figure, ...]:
    """Every figure that is expected, beside the one that a run's cards hold."""
    by_row = {card.row: card.metrics for card in cards}
    figures = []
    for row, ranges in expected.rows.items():
        for name, ends in ranges.items():
            metric, _, decoder = name.partition("@")
            value = by_row.get(row, {}).get(decoder or "per_level", {}).get(metric)
            figures.append(Figure(row, name, ends, None if value is None else 100 * value))
    return tuple(figures)


def print_comparison(reruns: Sequence[Rerun], skipped: Mapping[Path, str], console: Console) -> None:
    """Prints every figure beside its range, what was skipped and why, and the count of it all."""
    console.rule(style="dim")
    for rerun in reruns:
        console.print()
        title = f"{rerun.experiment.name} · seed {rerun.seed} · {rerun.minutes:.1f} min"
        console.print(Text(f"{title} ({rerun.experiment.stated.minutes:g} stated)", "bold"))
        console.print(Text(f"failed: {rerun.error}", "red") if rerun.error else _table(rerun.figures))
    console.print()
    for file, why in skipped.items():
        console.print(Text(f"skipped: {file}: {why}", "dim"), soft_wrap=True)
    figures = [figure for rerun in reruns for figure in rerun.figures]
    inside, failed = sum(figure.inside for figure in figures), sum(bool(rerun.error) for rerun in reruns)
    counts = [f"{inside} inside", f"{len(figures) - inside} outside"]
    counts += [f"{failed} of {len(reruns)} experiments failed"] if failed else []
    counts += [f"{len(skipped)} skipped"] if skipped else []
    console.print(Text(f"{', '.join(counts)}. {_READING}" if reruns else "Nothing was run."), soft_wrap=True)


def _table(figures: Sequence[Figure]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", overflow="fold")
    for header in ("", "expected", "measured", ""):
        table.add_column(header, justify="right" if header else "left", no_wrap=True)
    for figure in figures:
        low, high = figure.expected
        measured = "–" if figure.measured is None else f"{figure.measured:.2f}"
        said = Text("inside", "green") if figure.inside else Text("outside", "red")
        table.add_row(Text(figure.row), figure.name, f"{low:.2f} – {high:.2f}", measured, said)
    return table
