"""``hierfit reproduce``: experiments and grids again, and whether they find what their files say."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

from hierfit.config.command import Say
from hierfit.config.named import EXPERIMENTS, GRIDS
from hierfit.config.schema import read_yaml
from hierfit.config.settings import file_settings
from hierfit.errors import UserError, nearest
from hierfit.run.configure import configure
from hierfit.search.expected import KEY, GridExpectations, Range, read_expected, unknown_figures
from hierfit.search.grid import plan
from hierfit.search.grid_file import ROOT, GridFile, read_grid, unknown
from hierfit.search.progress import Cluster, Jobs, begin_work, failed, run_cells
from hierfit.search.runner import RunCell, finished


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
    roots, problems = dict[str, str](), list[str]()
    for text in data_root or []:
        card, _, path = text.partition("=")
        roots[card] = str(Path(path).expanduser())
        if not card or not path:
            problems.append(f"{text}: expected CARD=PATH")
        elif not Path(roots[card]).exists():
            problems.append(f"{card}: there is no {path}")
    if problems:
        raise UserError("--data-root cannot be used.", problems)
    bench = begin_work(jobs, cluster)
    from hierfit.results.table import NAME, Column, Table
    from hierfit.results.writers import print_table

    reruns, skipped = plan_files(named or here or [*known.values()], roots, seed, cheaper_than, runs)
    every = [cell for rerun in reruns for cell in rerun.cells]
    outcomes = run_cells(f"{len(reruns)} experiments and grids", every, bench) if every else {}
    inside, outside, broken = 0, 0, 0
    for rerun in reruns:
        minutes = sum(outcomes[cell].seconds for cell in rerun.cells) / 60
        title = f"{rerun.name} · seed {rerun.cells[0].seed} · {minutes:.1f} min ({rerun.stated.minutes:g} stated)"
        if bad := failed({cell: outcomes[cell] for cell in rerun.cells}):
            bench.say(f"\n{title}")
            bench.say("failed: " + "\n".join(f"{cell.label}: {outcome.error}" for cell, outcome in bad.items()), "red")
            broken += 1
            continue
        rows = []
        for row, name, ends, measured in _stated_figures(rerun):
            is_inside = measured is not None and ends.holds(measured)
            inside, outside = inside + is_inside, outside + (not is_inside)
            shown = f"{ends.low:.2f} – {ends.high:.2f}"
            rows.append((row, name, shown, measured, "inside" if is_inside else "outside"))
        columns = (NAME, "figure", "expected", Column("measured", "", 2), "")
        print_table(Table.of(title, columns, rows), bench.console)
    bench.console.print()
    for name, why in skipped.items():
        bench.say(f"skipped: {name}: {why}", "dim")
    counts = [f"{inside} inside", f"{outside} outside"]
    counts += [f"{broken} of {len(reruns)} experiments failed"] if broken else []
    counts += [f"{len(skipped)} skipped"] if skipped else []
    reading = "% on the test split; both ends of a range belong to it."
    bench.say(f"{', '.join(counts)}. {reading}" if reruns else "Nothing was run.")
    if broken or outside:
        sys.exit(1)


class Rerun(NamedTuple):
    """The cells of an experiment or a grid to run again, and what is stated of them."""

    name: str
    stated: GridExpectations
    cells: Sequence[RunCell]


def _stated_figures(rerun: Rerun) -> Iterator[tuple[str, str, Range, float | None]]:
    """Every figure that is stated, beside the one that its cell has left, in %; None where it has none of that name."""
    from hierfit.results.columns import figure, with_decoder

    for cell in rerun.cells:
        card = finished(cell)
        for name, ends in rerun.stated.cards[cell.card][cell.row].items():
            value = figure(card, with_decoder(name)) if card else None
            yield f"{cell.card}/{cell.row}", name, ends, None if value is None else 100 * value


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
            if (stated := grid.expected) is None:
                skipped[str(file)] = "does not state what to expect"
            elif stated.minutes >= cheaper_than:
                skipped[str(file)] = (
                    f"takes about {stated.minutes:g} min; --cheaper-than {cheaper_than:g} leaves it out"
                )
            elif seed is not None and seed not in stated.seeds:
                measured = ", ".join(map(str, stated.seeds))
                skipped[str(file)] = f"was measured with seeds {measured}, not with {seed}"
            if stated is None or str(file) in skipped:
                continue
            own = stated.seeds[0] if seed is None else seed
            folder = new_run_folder(runs, grid.name, own)
            planned = plan(_stated_part(grid, stated, roots, own), folder, skip_missing=True)
        except UserError as error:
            problems += error.problems or [str(error)]
            continue
        for name, lack in planned.left_out.items():
            place = f"{file}, {name.removeprefix('card ')}" if planned.cells else str(file)
            hint = f"--data-root {name.removeprefix('card ')}=PATH says where they lie"
            skipped[place] = "; ".join(filter(None, (skipped.get(place), f"{name}: {lack}; {hint}")))
        if cells := [cell for cell in planned.cells if cell.row in stated.cards[cell.card]]:
            reruns.append(Rerun(grid.name, stated, cells))
    if problems:
        raise UserError("These experiments cannot be run.", list(dict.fromkeys(problems)))
    if strange := [f"{name}: no card here has this name{nearest(name, cards)}" for name in roots if name not in cards]:
        raise UserError("--data-root cannot be used.", strange, f"Cards: {', '.join(sorted(cards))}.")
    return reruns, skipped


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
    return GridFile(
        source=source,
        name=config.name,
        cards={card: {"data.card": path, **({ROOT: given[-1]} if given else {})}},
        methods=rows,
        seeds=stated.seeds if stated else (config.seed,),
        shots=(config.settings["data"]["shots"],),
        configs=tuple(map(str, configs)),
        expected=GridExpectations(stated.seeds, stated.minutes, {card: stated.rows}) if stated else None,
    )
