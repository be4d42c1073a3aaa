"""``hierfit sweep``: a W&B sweep file, by an agent where there is an account, else on this machine."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from hierfit.errors import UserError
from hierfit.search.cell import LOG, sole
from hierfit.search.pool import prepare_workers
from hierfit.search.sweep_file import SweepFile, read_sweep

if TYPE_CHECKING:
    from hierfit.search.trials import Trials

_TRIALS = 20


def sweep(arguments: Sequence[str]) -> None:
    """Runs the command; exits with 1 when a trial has failed.

    Raises:
        UserError: The file is at fault; nothing has been started. Or no trial has been done.
    """
    options = _parser().parse_args(arguments)
    file = read_sweep(options.file)
    problems = [
        f"--{name} {value}: at least one is needed"
        for name, value in (("trials", options.trials), ("jobs", options.jobs))
        if value is not None and value < 1
    ]
    if problems:
        raise UserError("The command line cannot be used.", problems)
    local = options.local or not _has_account()
    # From here on imports take seconds: workers begin theirs meanwhile.
    if local and not options.check:
        prepare_workers()
    from hierfit.run.quiet import quieten
    from hierfit.search.trials import Trials

    quieten()
    trials = Trials(file, options.runs, local)
    count = _count(file, options.trials)
    console = Console()
    if options.check:
        _describe(file, count, console)
    elif local:
        _search_here(trials, count, options, console)
    else:
        _run_agent(file, count, console)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hierfit sweep",
        description="Search hyper-parameters by a file in W&B's sweep format, on the validation split. With a W&B "
        "account the sweep is made there and an agent runs it; without one it runs here, what is done already is not "
        "run again, and at the end the best trial alone is trained once more with the test.",
        epilog="Several devices: with --trainer.devices in the file's command an agent starts one process, which "
        "starts the others on the same command line; only the first one meets W&B. Here a trial has one device.",
    )
    parser.add_argument("file", type=Path, help="the sweep, a YAML file; see experiments/sweeps")
    parser.add_argument("--trials", type=int, help=f"in all; default: run_cap of the file, a whole grid, or {_TRIALS}")
    parser.add_argument("--local", action="store_true", help="run here, also with a W&B account")
    parser.add_argument("--jobs", type=int, help="trials at once; default: one a GPU, else one a core")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder under which sweeps lie (runs)")
    parser.add_argument("--seed", type=int, default=0, help="of the search, not of the trials (0)")
    parser.add_argument("--seeds", type=int, nargs="+", help="to test the best trial's values with; default: its own")
    parser.add_argument("--show", type=int, default=10, metavar="N", help="trials in the table (10)")
    parser.add_argument("--check", action="store_true", help="check the file and show the command of a trial")
    return parser


def _has_account() -> bool:
    """Whether W&B can be reached under an account, for all we know without asking it."""
    if os.environ.get("WANDB_MODE", "online") != "online":
        return False
    from hierfit.run.loggers import has_wandb_key

    return has_wandb_key()


def _count(file: SweepFile, wanted: int | None) -> int:
    if file.method == "grid":
        return min(wanted or file.run_cap or file.combinations, file.combinations)
    return wanted or file.run_cap or _TRIALS


def _describe(file: SweepFile, count: int, console: Console) -> None:
    for name, parameter in file.parameters.items():
        console.print(Text(f"{name}: {parameter}"), soft_wrap=True)
    values = {name: parameter.probes()[0] for name, parameter in file.parameters.items()}
    goal = f"{file.metric.goal} {file.metric.name}"
    console.print(Text(f"{file.name}: {file.method}, {count} trials, {goal}. A trial is, for example:"), soft_wrap=True)
    console.print(Text(f"hierfit fit {' '.join(file.arguments(values))}"), soft_wrap=True)


def _search_here(trials: Trials, count: int, options: argparse.Namespace, console: Console) -> None:
    try:
        from hierfit.search.sweep_run import LocalSweep
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise UserError("A sweep on this machine needs optuna.", hint='pip install "hierfit[sweep]"') from error
    from hierfit.search.sweep_table import print_importances, print_trials, test_chosen

    file = trials.file
    with sole(trials.folder / "trials", wait=False) as mine:
        if not mine:
            raise UserError(
                f"Another process is at work on {trials.folder}.", hint="Wait for it, or give other --runs."
            )
        run = LocalSweep(trials, options.seed, console)
        failed = run.run(count, options.jobs)
        for cell, fault in failed.items():
            console.print(Text(f"failed: {cell.row}: {fault}", "red"), soft_wrap=True)
            console.print(Text(f"        {cell.folder / LOG}"), soft_wrap=True)
        done = run.done()
        if not done:
            raise UserError("No trial has been done.", hint=f"Their logs are below {trials.folder / 'trials'}.")
        print_trials(done, file, options.show, console)
        print_importances(run.search.importances(), console)
        missed = test_chosen(done[0], trials, options.seeds, len(done), options.jobs, console)
    if failed or missed:
        console.print(Text(f"{len(failed) + missed} runs failed; the same command runs them again."))
        sys.exit(1)


def _run_agent(file: SweepFile, count: int, console: Console) -> None:
    """Makes the sweep at W&B and runs its trials here, one after the other."""
    import wandb

    from hierfit.config.schema import read_yaml
    from hierfit.run.closing import program

    content: Any = read_yaml(file.path, [])[0]
    project = file.project or "hierfit"
    sweep_id = wandb.sweep(content, project=project, entity=file.entity)
    whole = "/".join(filter(None, (file.entity, project, sweep_id)))
    console.print(Text(f"More agents, here or elsewhere: wandb agent {whole}"), soft_wrap=True)
    # An agent runs plain "python": it is to be this one.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    wandb.agent(sweep_id, project=project, entity=file.entity, count=count)
    values = " ".join(
        f"--{name}=…" for name, parameter in file.parameters.items() if parameter.distribution != "constant"
    )
    console.print(Text("When the sweep is done, test the best trial's values, and those alone:"))
    console.print(Text(f"  {program()} fit {' '.join(file.start)} --tuned_on=val {values}"), soft_wrap=True)
