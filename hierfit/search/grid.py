"""``hierfit grid``: all cells of a grid that are not done yet, side by side; then the table of all.

Every key is checked and every configuration resolved before anything starts.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from hierfit.config.command import Say
from hierfit.config.named import GRIDS, HOME
from hierfit.config.schema import Place
from hierfit.config.settings import Setting, file_settings, read_settings, settings_by, spread
from hierfit.errors import UserError
from hierfit.run.configure import Config, configure
from hierfit.search.grid_file import ROOT, DataRoot, GridFile, read_grid
from hierfit.search.progress import Cluster, Jobs, Runs, Workbench, begin_work, failed, run_cells
from hierfit.search.runner import DEFAULTS, RunCell, finished, state

Words = list[str | Setting]

_OF_THE_GRID = {
    "name": "the grid's name is taken",
    "row": "the name under methods is taken",
    **dict.fromkeys(("folder", "runs"), "--runs says where the grid lies"),
    "seed_everything": "list it under seeds",
    "data.shots": "list it under shots",
    "controls": "a control is a row of its own, named by the key control",
    "test": "every cell is tested",
}


def grid(
    file: Annotated[str, Say("the grid, by name or as a YAML file; `hierfit experiments` lists them", "GRID")],
    *keys: str,
    jobs: Jobs = None,
    runs: Runs = Path("runs"),
    only: Annotated[
        list[str] | None,
        Say("cells named card/row/shots-sSEED with this in it (* and ?); repeatable", "PATTERN", repeat=True),
    ] = None,
    data_root: Annotated[
        Path | None,
        Say("where all data lie, as downloaded; what is not there is named and left out", "FOLDER"),
    ] = None,
    skip_missing: Annotated[bool, Say("leave out cards whose data are not there")] = False,
    cluster: Cluster = None,
    dry_run: Annotated[bool, Say("check the file, list the cells and their state, and what they will take")] = False,
) -> None:
    """Run rows × shots × seeds × cards of one file; what is done already is not run again. Any --key=value of
    `hierfit fit` can be added, for every cell.

    Raises:
        UserError: The file is at fault; nothing has been started.
        SystemExit: With 1 when a cell has failed.
    """
    content = read_grid(GRIDS.find(file))
    bench = begin_work(jobs, cluster, here=not dry_run)
    planned = plan(content, runs, skip_missing, data_root, keys)
    for name, lack in planned.left_out.items():
        bench.say(f"left out: {name}: {lack}", "yellow")
    chosen = [c for c in planned.cells if not only or any(fnmatchcase(c.label, f"*{pattern}*") for pattern in only)]
    if not chosen:
        labels = ", ".join(cell.label for cell in planned.cells[:5])
        raise UserError("No cell is chosen.", hint=f"Cells are named like {labels}." if labels else "")
    states = {cell: state(cell) for cell in chosen}
    if dry_run:
        for cell, found in states.items():
            bench.say(f"{found:8}{cell.label}  {cell.folder}")
        counts = ", ".join(f"{count} {name}" for name, count in Counter(states.values()).items())
        bench.say(f"{len(chosen)} cells: {counts}")
    if dry_run or data_root is not None:
        from hierfit.search.costs import print_costs

        print_costs([cell for cell, found in states.items() if found != "done"], jobs, bench.console)
    if dry_run:
        return
    outcomes = run_cells(content.name, chosen, bench)
    _summarise(content, planned.cells, bench)
    bench.say(f"Results in {runs / content.name}")
    if bad := failed(outcomes):
        bench.say(f"{len(bad)} of {len(chosen)} cells failed; the same command runs them again.")
        sys.exit(1)


def _summarise(file: GridFile, cells: Sequence[RunCell], bench: Workbench) -> None:
    """The tables of every cell that is done, whether it was chosen now or not, and of what it was tested on beside its
    own data; then, of several data sets, the table over all."""
    from hierfit.results.runs import read_cards
    from hierfit.results.summary import overviews, tables
    from hierfit.results.writers import print_tables

    if cards := read_cards([cell.folder for cell in cells if finished(cell)]):
        control = file.control if any(card.row == file.control for card in cards) else None
        print_tables([*tables(cards, control, file.columns), *overviews(cards)], bench.console)


class GridPlan(NamedTuple):
    """The cells of a grid, draw by draw; and the data sets that were left out, with the reason."""

    cells: tuple[RunCell, ...]
    left_out: Mapping[str, str]


def plan(
    grid: GridFile,
    runs: Path,
    skip_missing: bool = False,
    data_root: Path | None = None,
    keys: Sequence[str] = (),
) -> GridPlan:
    """The cells of a grid.

    Args:
        grid: The file.
        runs: Where grids lie.
        skip_missing: Leave out cards whose data are not there, where it is an error otherwise.
        data_root: Folder of all data; cards and targets whose data are not there, or not laid out as their cards say,
            are left out.
        keys: Words of a command line that set keys for every cell, after all that the file sets.

    Raises:
        UserError: Everything that is wrong with any key of any cell, each with its line.
    """
    from hierfit.data.card import load_card  # with torch

    problems = list(grid.faults())
    data, source = DataRoot(data_root), grid.source

    def settings(where: Place, given: Mapping[str, Any] | None) -> list[Setting]:
        found = [Setting(key, value, where.at(key)) for key, value in (given or {}).items()]
        return checked(data.placed(own) for one in found for own in spread(one))

    def checked(found: Iterable[Setting]) -> list[Setting]:
        found = list(found)
        reserved = [(setting.place, _OF_THE_GRID.get(setting.key)) for setting in found]
        problems.extend(f"{place}: cannot be set here; {why}" for place, why in reserved if why)
        return found

    base = [
        setting
        for file in _config_paths(grid, problems)
        for setting in file_settings(file, problems)
        if setting.key.partition(".")[0] not in ("controls", "expected")
    ]
    everywhere = settings(source.at("set"), grid.set)
    last = checked(read_settings(keys, problems))
    rows = {name: settings(source.at("methods").at(name), own) for name, own in grid.methods.items()}
    before = [*base, *everywhere, *last]
    cards, missing = dict[str, list[Setting]](), dict[str, str]()
    for name, given in grid.cards.items():
        cards[name], lack = data.located(name, settings(source.at("cards").at(name), given), before)
        if lack:
            missing[name] = lack
            cards[name] = [setting for setting in cards[name] if setting.key != ROOT]
    if not skip_missing and data_root is None:
        problems += [f"{source.at('cards').at(card)}: {lack}" for card, lack in missing.items()]

    def words(card: str, row: str, shots: int | None, seed: int) -> Words:
        # The draw goes by the run's seed, unless the grid sets data.seed otherwise.
        first = settings_by(str(source.file), {"data.seed": seed})
        own = [Setting("data.card", card, source.at("cards").at(card)), *cards[card]]
        draw = {"name": grid.name, "row": row, "data.shots": shots, "seed_everything": seed}
        draws = settings_by(str(source.file), draw)
        return [*first, *DEFAULTS, *base, *everywhere, *own, *rows[row], *last, *draws]

    cells: list[RunCell] = []
    fingerprints: dict[str, str] = {}
    for card, shots, seed, row in product(cards, grid.shots, grid.seeds, rows):
        place = f"{source.at('methods').at(row)}: on card {card}"
        try:
            config = configure(words(card, row, shots, seed))
            read = config.settings["data"]["card"]
            fingerprints[read] = fingerprints.get(read) or load_card(read).fingerprint
        except UserError as error:
            problems += faults_of(error, place)
            continue
        if fault := not_one_device(config):
            problems.append(f"{place}: {fault}")
        cells.append(RunCell.of(runs / grid.name, card, replace(config, fingerprint=fingerprints[read])))
    if problems:
        hint = "--data-root FOLDER says where all data lie; --skip-missing leaves out what is not there."
        summary = f"{source.file}: this grid cannot be run"
        raise UserError(summary, list(dict.fromkeys(problems)), hint if missing and data_root is None else "")
    there = tuple(cell for cell in cells if cell.card not in missing)
    return GridPlan(there, {f"card {card}": lack for card, lack in missing.items()} | data.left_out)


def _config_paths(grid: GridFile, problems: list[str]) -> Iterator[Path]:
    """The configuration files: sought here, then from the grid file's folder upwards, then among hierfit's own."""
    for config in grid.configs:
        folders = [Path(), *grid.source.file.absolute().parents, HOME]
        if path := next((folder / config for folder in folders if (folder / config).is_file()), None):
            yield path
        else:
            place = grid.source.at("configs")
            problems.append(f"{place}: there is no file {config}, here or above {grid.source.file}")


def faults_of(error: UserError, place: str) -> list[str]:
    """What is wrong with a configuration, said of a place where it does not say so itself."""
    if error.problems and error.summary.startswith("The configuration"):
        return list(error.problems)
    return [f"{place}: {error.summary}", *(f"{place}: {problem}" for problem in error.problems)]


def not_one_device(config: Config) -> str | None:
    """What is wrong with the devices of a cell; None where it runs on one."""
    trainer = config.settings["trainer"]
    if trainer["devices"] in (1, "1", "auto") and trainer["num_nodes"] == 1:
        return None
    return "trainer.devices: a cell runs on one device here; --jobs takes as many cells at once as there are"
