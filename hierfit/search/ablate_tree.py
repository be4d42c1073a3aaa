"""``hierfit ablate-tree``: one experiment on its true tree, on others over the same leaves, and untrained. Does my tree
help?"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from hierfit.config.command import Say
from hierfit.config.named import experiment_files
from hierfit.config.schema import Place
from hierfit.errors import UserError
from hierfit.search.grid import plan
from hierfit.search.grid_file import GridFile
from hierfit.search.progress import Cluster, Jobs, Runs, begin_work, failed, run_cells
from hierfit.search.runner import LOG

OtherTree = Literal["shuffled", "flat", "truncated", "induced"]
TREES = get_args(OtherTree)

_OTHERWISE = {
    "data.tree": "list the trees under --trees",
    "seed_everything": "list the seeds under --seeds",
    "row": "rows are named by their tree",
    "folder": "--runs says where the runs lie",
    "controls": "the other trees are the controls",
}


def ablate_tree(
    experiment: Annotated[str | None, Say("by name or as a file", "EXPERIMENT")] = None,
    *keys: str,
    config: Annotated[
        list[str] | None, Say("as of `hierfit fit`; may be repeated", "FILE", repeat=True, short="-c")
    ] = None,
    trees: Annotated[Sequence[OtherTree], Say("in place of the true one (all)")] = TREES,
    seeds: Annotated[Sequence[int], Say("of draw, start and shuffle (1 2 3)", "N")] = (1, 2, 3),
    jobs: Jobs = None,
    cluster: Cluster = None,
    runs: Runs = Path("runs"),
) -> None:
    """Run an experiment on its true tree, on others over the same leaves, untrained (zero-shot); say whether the true
    one helps. Any --key=value of `hierfit fit` can be added; what is done is not run again.

    Raises:
        UserError: A setting is at fault, or the experiment cannot be run on its true tree, or on no other.
        SystemExit: With 1 when a run has failed for no fault of its settings.
    """
    bench = begin_work(jobs, cluster)
    from hierfit.config.signature import class_at
    from hierfit.search.verdict import PAGE, VERDICT_FILE, judge

    configs = [*(map(str, experiment_files(experiment)) if experiment else ()), *(config or [])]
    file = _grid_file(keys, configs, trees, seeds)
    cells = plan(file, runs).cells
    first = cells[0].config
    shares = class_at(first.method)(**first.settings["model"]["init_args"]).shares_along_tree
    if not shares:
        cells = tuple(cell for cell in cells if cell.row != "shuffled")
    lost = failed(run_cells(file.name, cells, bench))
    left_out = {cell.row: outcome.error.replace("\n  - ", "; ").replace("\n", ". ") for cell, outcome in lost.items()}
    if not shares and "shuffled" in file.methods:
        left_out["shuffled"] = "the method shares nothing along the tree, so there is nothing to shuffle"
    verdict, folder = judge(file.methods, cells, shares, left_out), runs / file.name
    verdict.print(bench.console)
    verdict.write(folder)
    print(f"Written to {folder / VERDICT_FILE} and {PAGE}")
    if crashed := [cell for cell, outcome in lost.items() if not outcome.mistake]:
        print(f"{len(crashed)} runs failed, the first in {crashed[0].folder / LOG}; the same command runs them again.")
        sys.exit(1)


def _grid_file(words: Sequence[str], configs: Sequence[str], trees: Sequence[str], seeds: Sequence[int]) -> GridFile:
    """The grid of trees and zero-shot × seeds; card, shots and name are those of the experiment."""
    from hierfit.config.settings import read_settings
    from hierfit.run.configure import configure

    problems: list[str] = []
    own = {setting.key: setting.value for setting in read_settings(words, problems)}
    problems += [f"--{key}: {_OTHERWISE[key]}" for key in own if key in _OTHERWISE]
    if problems:
        raise UserError("The command line cannot be used.", problems)
    config = configure([*(f"--config={path}" for path in configs), "--controls=null", *words])
    model: Mapping[str, Any] = {key: value for key, value in own.items() if key.partition(".")[0] == "model"}
    rows: dict[str, dict[str, Any]] = {tree: {"data.tree": tree, **model} for tree in ("true", *trees)}
    if config.method.rpartition(".")[2] != "ZeroShot":
        rows["zero-shot"] = {"model": "ZeroShot", "tuned_on": None}
    data = config.settings["data"]
    taken = (*model, "data.card", "data.shots", "name")
    return GridFile(
        source=Place(Path("command line")),
        name=f"{config.name}-trees",
        cards={Path(data["card"]).stem: {"data.card": data["card"]}},
        methods=rows,
        seeds=tuple(seeds),
        shots=(data["shots"],),
        configs=tuple(configs),
        set={key: value for key, value in own.items() if key not in taken},
    )
