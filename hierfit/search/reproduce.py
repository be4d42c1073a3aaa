"""``hierfit reproduce``: experiments and grids again, and whether they find what their files say."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hierfit.config.command import Say
from hierfit.config.named import EXPERIMENTS, GRIDS
from hierfit.config.schema import nearest, read_yaml
from hierfit.config.settings import Setting, file_settings
from hierfit.errors import UserError
from hierfit.run.configure import configure
from hierfit.search.data_root import missing_root
from hierfit.search.engines import prepare
from hierfit.search.grid import Plan, not_one_device, plan
from hierfit.search.grid_file import read_grid
from hierfit.search.progress import Cluster, Jobs, failed, run_cells, too_few
from hierfit.search.runner import DEFAULTS, Cell, finished

if TYPE_CHECKING:
    from hierfit.run.expected import Range

_READING = "% on the test split; both ends of a range belong to it."


def reproduce(
    files: Annotated[
        Sequence[Path], Say("experiments and grids; default: all of ./experiments, else of hierfit", "NAME")
    ] = (),
    *,
    cheaper_than: Annotated[float, Say("skip what takes as long or longer (3)", "MINUTES")] = 3.0,
    seed: Annotated[int | None, Say("one of those measured; default: an experiment's first")] = None,
    data_root: Annotated[
        list[str] | None,
        Say("where a card's data lie; repeatable. What has no data is skipped, and said", "CARD=PATH", repeat=True),
    ] = None,
    jobs: Jobs = None,
    cluster: Cluster = None,
    runs: Annotated[Path, Say("where runs lie (runs/reproduce)")] = Path("runs/reproduce"),
) -> None:
    """Run experiments and grids again that state what they found, and say whether they find it.

    Raises:
        UserError: A file is at fault; nothing has been started.
        SystemExit: With 1 when a figure lies outside its range, or an experiment fails.
    """
    known = {**GRIDS.files(), **EXPERIMENTS.files()}
    here = [path.relative_to(Path.cwd()) for path in known.values() if path.is_relative_to(Path.cwd())]
    named = [known.get(str(name)) or EXPERIMENTS.find(str(name)) for name in files]
    files = named or here or [*known.values()]
    if problems := too_few(jobs=jobs):
        raise UserError(problems[0])
    pairs = {card: Path(path).expanduser() for card, _, path in (text.partition("=") for text in data_root or [])}
    problems = [f"{text}: expected CARD=PATH" for text in data_root or [] if not all(text.partition("="))]
    problems += [f"{card}: there is no {path}" for card, path in pairs.items() if path != Path() and not path.exists()]
    if problems:
        raise UserError("--data-root cannot be used.", problems)
    roots = {card: str(path) for card, path in pairs.items()}
    if cluster is None:
        prepare()  # from here on imports take seconds
    from hierfit.run.quiet import quieten

    quieten()
    console = Console()
    found = read_files(files, roots)
    skipped = {str(each.file): why for each in found if (why := each.not_run(cheaper_than, seed))}
    chosen = {each: each.seeds[0] if seed is None else seed for each in found if str(each.file) not in skipped}
    skipped |= {f"{each.file}, {card}": why for each in chosen for card, why in each.lacking.items()}
    cells = {each: each.cells(own, runs) for each, own in chosen.items()}
    every = [cell for own in cells.values() for cell in own]
    outcomes = run_cells(f"{len(chosen)} experiments and grids", every, jobs, cluster, console) if every else {}
    figures, broken = list[Figure](), 0
    for each, own in cells.items():
        bad = failed({cell: outcomes[cell] for cell in own})
        minutes = sum(outcomes[cell].seconds for cell in own) / 60
        title = f"{each.name} · seed {chosen[each]} · {minutes:.1f} min ({each.minutes:g} stated)"
        console.print("", Text(title, "bold"), sep="\n")
        if bad:
            errors = "\n".join(f"{cell.label}: {outcome.error}" for cell, outcome in bad.items())
            console.print(Text(f"failed: {errors}", "red"))
            broken += 1
        else:
            figures += (measured := each.figures(own))
            console.print(_table(measured))
    console.print()
    for name, why in skipped.items():
        console.print(Text(f"skipped: {name}: {why}", "dim"), soft_wrap=True)
    inside = sum(figure.inside for figure in figures)
    counts = [f"{inside} inside", f"{len(figures) - inside} outside"]
    counts += [f"{broken} of {len(cells)} experiments failed"] if broken else []
    counts += [f"{len(skipped)} skipped"] if skipped else []
    console.print(Text(f"{', '.join(counts)}. {_READING}" if cells else "Nothing was run."), soft_wrap=True)
    if broken or inside < len(figures):
        sys.exit(1)


def _table(figures: Sequence[Figure]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", overflow="fold")
    for header in ("", "expected", "measured", ""):
        table.add_column(header, justify="right" if header else "left", no_wrap=True)
    for figure in figures:
        low, high = figure.expected
        measured = "–" if figure.measured is None else f"{figure.measured:.2f}"
        verdict = Text("inside", "green") if figure.inside else Text("outside", "red")
        table.add_row(Text(figure.row), figure.name, f"{low:.2f} – {high:.2f}", measured, verdict)
    return table


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
class Stated:
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
    ranges: Mapping[str, Mapping[str, Mapping[str, Range]]]
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
        from hierfit.results.columns import with_decoder

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


def read_files(files: Sequence[Path], roots: Mapping[str, str]) -> list[Stated]:
    """Experiments and grids, all their keys checked.

    Args:
        files: Of experiments and grids.
        roots: Where the user says data lie, by name of their card.

    Raises:
        UserError: Everything that is wrong with any of them; or a root is given of a card that none of them reads.
    """
    found: list[Stated] = []
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


def _experiment(file: Path, roots: Mapping[str, str]) -> Stated:
    from hierfit.data.card import load_card
    from hierfit.run.expected import expectations

    base = file.with_name("base.yaml")
    configs = (base, file) if base.is_file() and base != file else (file,)
    words: list[str | Setting] = [f"--config={path}" for path in configs]
    config = configure([*words, "--data.root=null"])
    card = load_card(config.settings["data"]["card"])
    given = [setting for path in configs for setting in file_settings(path, [])]
    if card.name in roots:
        given.append(Setting("data.root", roots[card.name], "command line"))
        words.append(given[-1])
    lack = missing_root(given)
    if not any(setting.key == "data.root" for setting in given) and not card.is_drawn:
        lack = f"needs the data of {card.name}"
    problems: list[str] = []
    stated = expectations(*read_yaml(file, []), problems)
    if problems:
        raise UserError("What it expects cannot be used.", problems)
    return Stated(
        file,
        config.name,
        (card.name,),
        {card.name: stated.rows} if stated else {},
        stated.seeds if stated else (),
        stated.minutes if stated else 0,
        {card.name: _where(lack, card.name)} if lack else {},
        partial(_cells, [*DEFAULTS, *words], card.name),
        is_grid=False,
    )


def _cells(words: Sequence[str | Setting], card: str, seed: int, runs: Path) -> list[Cell]:
    """An experiment's run and its controls, in the folders they have when it is run alone."""
    from hierfit.run.folder import control_folder, new_run_folder

    whole = configure([*words, f"--seed_everything={seed}"])
    if fault := not_one_device(whole):
        raise UserError(fault)
    folder = new_run_folder(runs, whole.name, seed)
    controls = [Cell(card, control, control_folder(folder, control.row)) for control in whole.controls]
    return [Cell(card, whole, folder), *controls]


def _grid(file: Path, roots: Mapping[str, str]) -> Stated:
    grid = read_grid(file)
    if problems := list(grid.faults()):
        raise UserError("This grid cannot be run.", problems)
    stated = grid.expected
    if stated is None:
        return Stated(file, grid.name, (), {}, (), 0, {}, lambda *_: [], is_grid=True)

    def planned(seed: int, runs: Path) -> Plan:
        """The rows and cards that figures are stated of, at one seed and number of shots."""
        shots = grid.shots[0] if len(grid.shots) == 1 else stated.shots
        cards = {
            name: {**grid.cards[name], **({"data.root": roots[name]} if name in roots else {})} for name in stated.cards
        }
        rows = {row: grid.methods[row] for rows in stated.cards.values() for row in rows}
        few = replace(grid, cards=cards, methods=rows, seeds=(seed,), shots=(shots,), control=None, expected=None)
        return plan(few, runs, skip_missing=True)

    def cells(seed: int, runs: Path) -> list[Cell]:
        from hierfit.run.folder import new_run_folder

        found = planned(seed, new_run_folder(runs, grid.name, seed)).cells
        return [cell for cell in found if cell.row in stated.cards[cell.card]]

    left_out = planned(grid.seeds[0], Path()).left_out
    lacking = {name.removeprefix("card "): f"{name}: {lack}" for name, lack in left_out.items()}
    lacking = {card: _where(lack, card) for card, lack in lacking.items()}
    return Stated(
        file, grid.name, tuple(stated.cards), stated.cards, stated.seeds, stated.minutes, lacking, cells, is_grid=True
    )


def _where(lack: str, card: str) -> str:
    return f"{lack}; --data-root {card}=PATH says where they lie"
