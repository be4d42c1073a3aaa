"""``hierfit ablate-tree``: one experiment on its true tree and on others over the same leaves. Does my tree help?"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from hierfit.data.schema import Place
from hierfit.errors import UserError
from hierfit.protocols.cell import LOG, Cell, finished
from hierfit.protocols.grid import run_cells
from hierfit.protocols.grid_file import GridFile
from hierfit.protocols.pool import prepare_workers
from hierfit.report.card import ResultCard
from hierfit.run.option import option_value

TREES = ("shuffled", "flat", "truncated", "induced")

_OWN = ("config", "trees", "seeds", "jobs", "runs", "help")
_OTHERWISE = {
    "data.tree": "list the trees under --trees",
    "seed_everything": "list the seeds under --seeds",
    "row": "rows are named by their tree",
    "folder": "--runs says where the runs lie",
    "controls": "the other trees are the controls",
}


def ablate_tree(arguments: Sequence[str]) -> None:
    """Runs the command; exits with 1 when a run has failed for no fault of its settings.

    Raises:
        UserError: A setting is at fault, or the experiment cannot be run on its true tree, or on no other.
    """
    own, keys = _parted(arguments)
    options = _parser().parse_args(own)
    prepare_workers()  # from here on imports take seconds
    from hierfit.protocols.plan import plan
    from hierfit.protocols.tree_effect import Answers, compare_trees
    from hierfit.protocols.tree_verdict import FILE, TABLE, Verdict
    from hierfit.run.quiet import quieten

    quieten()
    file = _grid_file(options, keys)
    cells = plan(file, options.runs).cells
    failed = run_cells(file.name, cells, options.jobs, Console())
    faults = {cell.row: _fault(cell) or error for cell, error in failed.items()}
    if "true" in faults:
        raise UserError(f"The experiment cannot be run on its true tree: {faults['true']}")
    done = {tree: {c.seed: c for c in cells if c.row == tree and finished(c)} for tree in file.methods}
    answers = {tree: {seed: Answers.read(cell.folder) for seed, cell in own.items()} for tree, own in done.items()}
    true = answers.pop("true")
    compared = {tree: compare_trees(true, other) for tree, other in answers.items() if other}
    if not compared:
        raise UserError("No other tree can be tried.", [f"{tree}: {fault}" for tree, fault in faults.items()])
    cards = {tree: {seed: ResultCard.read(cell.folder) for seed, cell in own.items()} for tree, own in done.items()}
    verdict, console, folder = Verdict(cards, compared, faults), Console(record=True), options.runs / file.name
    verdict.print(console)
    verdict.write(folder, console.export_text())
    print(f"Written to {folder / FILE} and {TABLE}")
    if crashed := [cell for cell in failed if not _fault(cell)]:
        print(f"{len(crashed)} runs failed, the first in {crashed[0].folder / LOG}; the same command runs them again.")
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hierfit ablate-tree",
        description="Run an experiment on its true tree and on others over the same leaves, and say whether the true "
        "one helps. Any --key=value of `hierfit fit` can be added; what is done already is not run again.",
        allow_abbrev=False,
    )
    parser.add_argument("-c", "--config", action="append", default=[], help="as of `hierfit fit`; may be repeated")
    parser.add_argument("--trees", nargs="+", choices=TREES, default=TREES, help="in place of the true one (all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=(1, 2, 3), help="of draw, start and shuffle (1 2 3)")
    parser.add_argument("--jobs", type=int, help="runs at once; default: one a GPU, else one a core")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder under which runs lie (runs)")
    return parser


def _parted(arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The command's own words; and ``--key=value`` or ``--key value`` of `hierfit fit`, as keys and values.

    Raises:
        UserError: Names what has no value, or is said otherwise here.
    """
    problems = []
    own: list[str] = []
    keys: dict[str, Any] = {}
    words = iter(arguments)
    for word in words:
        key, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or key in _OWN:
            own.append(word)
            continue
        text = text if equals else next(words, "--")
        if not equals and text.startswith("--"):
            problems.append(f"{word}: has no value")
        elif key in _OTHERWISE:
            problems.append(f"--{key}: {_OTHERWISE[key]}")
        else:
            keys[key] = option_value(text)
    if problems:
        raise UserError("The command line cannot be used.", problems, "Keys are set as --key=value.")
    return own, keys


def _grid_file(options: argparse.Namespace, keys: dict[str, Any]) -> GridFile:
    """The grid of trees × seeds; card, shots and name are those of the experiment."""
    from inspect import signature

    from hierfit.data.datamodule import HierarchicalDataModule
    from hierfit.run.check import file_settings

    problems: list[str] = []
    given = {s.key: s.value for config in options.config for s in file_settings(Path(config), problems)} | keys
    defaults = signature(HierarchicalDataModule).parameters
    card = given.get("data.card", defaults["card"].default)
    shots = given.get("data.shots", defaults["shots"].default)
    name = given.get("name", "experiment")
    for key, value, kind in (("data.card", card, str), ("data.shots", shots, int | None), ("name", name, str)):
        if not isinstance(value, kind) or isinstance(value, bool) or "${" in str(value):
            problems.append(f"{key}: {value!r} cannot be used here; give it on the command line")
    if options.jobs is not None and options.jobs < 1:
        problems.append(f"--jobs {options.jobs}: at least one is needed")
    if problems or not isinstance(card, str) or not isinstance(shots, int | None):
        raise UserError("The configuration cannot be used.", problems)
    return GridFile(
        source=Place(Path("command line")),
        name=f"{name}-trees",
        cards={Path(card).stem: {"data.card": card}},
        methods={tree: {"data.tree": tree} for tree in ("true", *options.trees)},
        seeds=tuple(options.seeds),
        shots=(shots,),
        configs=tuple(options.config),
        set={key: value for key, value in keys.items() if key not in ("data.card", "data.shots", "name")},
    )


def _fault(cell: Cell) -> str:
    """What the log of a failed cell names as a mistake in its settings; empty when something else went wrong."""
    path = cell.folder / LOG
    log = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    found = re.findall(r"^error: (.*)\Z", log, re.MULTILINE | re.DOTALL)
    return found[-1].strip().replace("\n  - ", "; ").replace("\n", ". ") if found else ""
