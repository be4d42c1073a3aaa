"""``hierfit reproduce``: experiments and grids again, and whether they find what their files say."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hierfit.config.command import Say
from hierfit.config.named import EXPERIMENTS, GRIDS
from hierfit.config.schema import read_yaml
from hierfit.config.settings import file_settings
from hierfit.errors import UserError, nearest
from hierfit.run.configure import configure
from hierfit.run.expected import KEY, GridExpectations, Range, read_expected, unknown_figures
from hierfit.search.engines import preload
from hierfit.search.grid import plan
from hierfit.search.grid_file import ROOT, GridFile, read_grid, unknown
from hierfit.search.progress import Cluster, Jobs, failed, run_cells, too_few
from hierfit.search.runner import Cell, finished


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
    if problems := too_few(jobs=jobs):
        raise UserError(problems[0])
    pairs = {card: Path(path).expanduser() for card, _, path in (text.partition("=") for text in data_root or [])}
    problems = [f"{text}: expected CARD=PATH" for text in data_root or [] if not all(text.partition("="))]
    problems += [f"{card}: there is no {path}" for card, path in pairs.items() if path != Path() and not path.exists()]
    if problems:
        raise UserError("--data-root cannot be used.", problems)
    if cluster is None:
        preload()  # from here on imports take seconds
    from hierfit.run.quiet import quieten

    quieten()
    roots = {card: str(path) for card, path in pairs.items()}
    reruns, skipped = plan_files(named or here or [*known.values()], roots, seed, cheaper_than, runs)
    every = [cell for rerun in reruns for cell in rerun.cells]
    console = Console()
    outcomes = run_cells(f"{len(reruns)} experiments and grids", every, jobs, cluster, console) if every else {}
    figures, broken = list[Figure](), 0
    for rerun in reruns:
        bad = failed({cell: outcomes[cell] for cell in rerun.cells})
        minutes = sum(outcomes[cell].seconds for cell in rerun.cells) / 60
        title = f"{rerun.name} · seed {rerun.cells[0].seed} · {minutes:.1f} min ({rerun.stated.minutes:g} stated)"
        console.print("", Text(title, "bold"), sep="\n")
        if bad:
            errors = "\n".join(f"{cell.label}: {outcome.error}" for cell, outcome in bad.items())
            console.print(Text(f"failed: {errors}", "red"))
            broken += 1
        else:
            figures += (measured := [*_figures(rerun)])
            console.print(_table(measured))
    console.print()
    for name, why in skipped.items():
        console.print(Text(f"skipped: {name}: {why}", "dim"), soft_wrap=True)
    inside = sum(figure.inside for figure in figures)
    counts = [f"{inside} inside", f"{len(figures) - inside} outside"]
    counts += [f"{broken} of {len(reruns)} experiments failed"] if broken else []
    counts += [f"{len(skipped)} skipped"] if skipped else []
    reading = "% on the test split; both ends of a range belong to it."
    console.print(Text(f"{', '.join(counts)}. {reading}" if reruns else "Nothing was run."), soft_wrap=True)
    if broken or inside < len(figures):
        sys.exit(1)


class Rerun(NamedTuple):
    """The cells of an experiment or a grid to run again, and what is stated of them."""

    name: str
    stated: GridExpectations
    cells: Sequence[Cell]


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


def _figures(rerun: Rerun) -> Iterator[Figure]:
    """Every figure that is stated, beside the one that its cell has left."""
    from hierfit.results.columns import with_decoder

    for cell in rerun.cells:
        card = finished(cell)
        for name, ends in rerun.stated.cards[cell.card][cell.row].items():
            metric, _, decoder = with_decoder(name).partition("@")
            value = card.metrics.get(decoder, {}).get(metric) if card else None
            yield Figure(f"{cell.card}/{cell.row}", name, ends, None if value is None else 100 * value)


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


def plan_files(
    files: Sequence[Path], roots: Mapping[str, str], seed: int | None, cheaper_than: float, runs: Path
) -> tuple[list[Rerun], dict[str, str]]:
    """What to run again of experiments and grids, with one seed; and what not, and why."""
    from hierfit.run.folder import new_run_folder

    reruns, skipped = list[Rerun](), dict[str, str]()
    problems, cards = list[str](), set[str]()
    for file in dict.fromkeys(files):
        try:
            content = read_yaml(file, [])[0] if file.is_file() else None
            is_grid = isinstance(content, Mapping) and {"methods", "cards"} <= content.keys()
            grid = read_grid(file) if is_grid else _as_grid(file)
            cards |= grid.cards.keys()
            if faults := list(grid.faults()):
                raise UserError("This grid cannot be run.", faults)
            why, stated = _not_run(grid.expected, cheaper_than, seed), grid.expected
            if why or stated is None:
                skipped[str(file)] = why
                continue
            own = stated.seeds[0] if seed is None else seed
            folder = new_run_folder(runs, grid.name, own)
            planned = plan(_stated_part(grid, stated, roots, own), folder, skip_missing=True)
        except UserError as error:
            problems += error.problems or [str(error)]
            continue
        left_out = {name.removeprefix("card "): f"{name}: {lack}" for name, lack in planned.left_out.items()}
        left_out = {card: f"{lack}; --data-root {card}=PATH says where they lie" for card, lack in left_out.items()}
        if planned.cells:
            cells = [cell for cell in planned.cells if cell.row in stated.cards[cell.card]]
            reruns.append(Rerun(grid.name, stated, cells))
            skipped |= {f"{file}, {card}": why for card, why in left_out.items()}
        else:
            skipped[str(file)] = "; ".join(left_out.values())
    if problems:
        raise UserError("These experiments cannot be run.", list(dict.fromkeys(problems)))
    if strange := [f"{name}: no card here has this name{nearest(name, cards)}" for name in roots if name not in cards]:
        raise UserError("--data-root cannot be used.", strange, f"Cards: {', '.join(sorted(cards))}.")
    return reruns, skipped


def _not_run(stated: GridExpectations | None, cheaper_than: float, seed: int | None) -> str:
    if stated is None:
        return "does not state what to expect"
    if stated.minutes >= cheaper_than:
        return f"takes about {stated.minutes:g} min; --cheaper-than {cheaper_than:g} leaves it out"
    if seed is not None and seed not in stated.seeds:
        return f"was measured with seeds {', '.join(map(str, stated.seeds))}, not with {seed}"
    return ""


def _stated_part(grid: GridFile, stated: GridExpectations, roots: Mapping[str, str], seed: int) -> GridFile:
    """The rows and cards that figures are stated of, at one seed and number of shots."""
    shots = grid.shots[0] if len(grid.shots) == 1 else stated.shots
    given = {card: {ROOT: roots[card]} if card in roots else {} for card in stated.cards}
    cards = {card: {**(grid.cards[card] or {}), **own} for card, own in given.items()}
    rows = {row: grid.methods[row] for rows in stated.cards.values() for row in rows}
    return replace(grid, cards=cards, methods=rows, seeds=(seed,), shots=(shots,), control=None, expected=None)


def _as_grid(file: Path) -> GridFile:
    """An experiment as a grid: its own row and its controls, on its card, with the seeds that were measured."""
    from hierfit.data.card import load_card

    base = file.with_name("base.yaml")
    configs = (base, file) if base.is_file() and base != file else (file,)
    config = configure([*(f"--config={path}" for path in configs), "--data.root=null"])
    rows = {config.row: {}, **(config.settings["controls"] or {})}
    content, source = read_yaml(file, [])
    problems, place = list[str](), source.at(KEY)
    if stated := read_expected(content.get(KEY), place, problems):
        here = place.at("rows")
        problems += [*unknown(stated.rows, rows, here, "row"), *unknown_figures(stated.rows, here)]
    if problems:
        raise UserError("What it expects cannot be used.", problems)
    path = config.settings["data"]["card"]
    card = load_card(path).name
    given = [setting.value for each in configs for setting in file_settings(each, []) if setting.key == ROOT]
    expected = GridExpectations(stated.seeds, stated.minutes, {card: stated.rows}) if stated else None
    return GridFile(
        source=source,
        name=config.name,
        cards={card: {"data.card": path, **({ROOT: given[-1]} if given else {})}},
        methods=rows,
        seeds=stated.seeds if stated else (config.seed,),
        shots=(config.settings["data"]["shots"],),
        configs=tuple(map(str, configs)),
        expected=expected,
    )
