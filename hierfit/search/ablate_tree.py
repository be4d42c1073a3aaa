"""``hierfit ablate-tree``: one experiment on its true tree, on others over the same leaves, and untrained. Does my tree
help?"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from hierfit.config.option import option_value
from hierfit.config.schema import Place
from hierfit.errors import UserError
from hierfit.results.card import ResultCard
from hierfit.search.cell import LOG, Cell, finished
from hierfit.search.grid import run_cells
from hierfit.search.grid_file import GridFile
from hierfit.search.pool import prepare_workers

if TYPE_CHECKING:
    from hierfit.search.tree_verdict import Verdict

TREES = ("shuffled", "flat", "truncated", "induced")
ZERO_SHOT = "zero-shot"

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
    from hierfit.run.quiet import quieten
    from hierfit.search.plan import plan
    from hierfit.search.tree_verdict import FILE, PAGE

    quieten()
    file = _grid_file(options, keys)
    cells = plan(file, options.runs).cells
    shares = _shares(cells[0])
    if not shares:
        cells = tuple(cell for cell in cells if cell.row != "shuffled")
    failed = run_cells(file.name, cells, options.jobs, Console())
    left_out = {cell.row: _fault(cell) or error for cell, error in failed.items()}
    if not shares and "shuffled" in file.methods:
        left_out["shuffled"] = "the method shares nothing along the tree, so there is nothing to shuffle"
    verdict, folder = _verdict(file, cells, shares, left_out), options.runs / file.name
    verdict.print(Console())
    verdict.write(folder)
    print(f"Written to {folder / FILE} and {PAGE}")
    if crashed := [cell for cell in failed if not _fault(cell)]:
        print(f"{len(crashed)} runs failed, the first in {crashed[0].folder / LOG}; the same command runs them again.")
        sys.exit(1)


def _verdict(file: GridFile, cells: Sequence[Cell], shares: bool, left_out: dict[str, str]) -> Verdict:
    """What has finished, compared.

    Args:
        file: The grid of trees.
        cells: Of it.
        shares: Whether the method shares anything along the tree.
        left_out: Why a tree was not tried.

    Raises:
        UserError: The experiment cannot be run on its true tree, or on no other.
    """
    from hierfit.search.tree_answer import conclude
    from hierfit.search.tree_effect import Answers, compare_trees
    from hierfit.search.tree_verdict import Verdict, metric_of

    if "true" in left_out:
        raise UserError(f"The experiment cannot be run on its true tree: {left_out['true']}")
    done = {tree: {c.seed: c for c in cells if c.row == tree and finished(c)} for tree in file.methods}
    answers = {tree: {seed: Answers.read(cell.folder) for seed, cell in own.items()} for tree, own in done.items()}
    true = answers["true"]
    compared = {tree: compare_trees(true, other) for tree, other in answers.items() if other and tree != "true"}
    if not compared.keys() & TREES:
        raise UserError("No other tree can be tried.", [f"{tree}: {fault}" for tree, fault in left_out.items()])
    cards = {tree: {seed: ResultCard.read(cell.folder) for seed, cell in own.items()} for tree, own in done.items()}
    metric = metric_of(next(iter(cards["true"].values())))
    truncated, flat = (answers.get(tree, {}) for tree in ("truncated", "flat"))
    pair = compare_trees(truncated, flat) if truncated.keys() & flat.keys() else None
    return Verdict(cards, compared, left_out, conclude(compared, metric, shares, pair))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hierfit ablate-tree",
        description="Run an experiment on its true tree, on others over the same leaves, untrained (zero-shot); say "
        "whether the true one helps. Any --key=value of `hierfit fit` can be added; what is done is not run again.",
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
    """The grid of trees and zero-shot × seeds; card, shots and name are those of the experiment."""
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
    own = {key: value for key, value in keys.items() if key.partition(".")[0] == "model"}
    rows: dict[str, dict[str, Any]] = {tree: {"data.tree": tree, **own} for tree in ("true", *options.trees)}
    if str(given.get("model", given.get("model.class_path"))).rpartition(".")[2] != "ZeroShot":
        rows[ZERO_SHOT] = {"model": "ZeroShot", "tuned_on": None}
    return GridFile(
        source=Place(Path("command line")),
        name=f"{name}-trees",
        cards={Path(card).stem: {"data.card": card}},
        methods=rows,
        seeds=tuple(options.seeds),
        shots=(shots,),
        configs=tuple(options.config),
        set={k: value for k, value in keys.items() if k not in own and k not in ("data.card", "data.shots", "name")},
    )


def _shares(cell: Cell) -> bool:
    """Whether the experiment shares anything along the tree that could be shared along a shuffled one."""
    from hierfit.run.session import method_class

    model = cell.settings["model"]
    return method_class(model["class_path"])(**model["init_args"]).shares_along_tree


def _fault(cell: Cell) -> str:
    """What the log of a failed cell names as a mistake in its settings; empty when something else went wrong."""
    path = cell.folder / LOG
    log = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    found = re.findall(r"^error: (.*)\Z", log, re.MULTILINE | re.DOTALL)
    return found[-1].strip().replace("\n  - ", "; ").replace("\n", ". ") if found else ""
