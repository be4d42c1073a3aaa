"""``hierfit sweep``: a W&B sweep file, by an agent where there is an account, else on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Console
from rich.text import Text

from hierfit.config.command import Say
from hierfit.config.named import SWEEPS
from hierfit.errors import UserError
from hierfit.search.engines import prepare
from hierfit.search.progress import Cluster, Jobs, Runs, too_few
from hierfit.search.sweep_file import SweepFile, read_sweep

if TYPE_CHECKING:
    from hierfit.search.study import Done
    from hierfit.search.trials import Trials

BEST = "best.yaml"
_TRIALS = 20


def sweep(
    file: Annotated[str, Say("the sweep, by name or as a YAML file; `hierfit experiments` lists them", "SWEEP")],
    *,
    trials: Annotated[int | None, Say(f"in all; default: run_cap of the file, a whole grid, or {_TRIALS}", "N")] = None,
    local: Annotated[bool, Say("run here, also with a W&B account")] = False,
    jobs: Jobs = None,
    cluster: Cluster = None,
    runs: Runs = Path("runs"),
    seed: Annotated[int, Say("of the search, not of the trials (0)")] = 0,
    seeds: Annotated[Sequence[int] | None, Say("to test the best trial's values with; default: its own", "N")] = None,
    show: Annotated[int, Say("trials in the table (10)", "N")] = 10,
    check: Annotated[bool, Say("check the file and show the command of a trial")] = False,
) -> None:
    """Search hyper-parameters by a file in W&B's sweep format, on the validation split. With a W&B account the sweep is
    made there and an agent runs it; without one it runs here, what is done already is not run again, several calls may
    share the work, and at the end the best trial alone is trained once more with the test.

    Several devices: with --trainer.devices in the file's command an agent starts one process, which starts the others
    on the same command line; only the first one meets W&B. Here a trial has one device.

    Raises:
        UserError: The file is at fault; nothing has been started. Or no trial has been done.
        SystemExit: With 1 when a trial has failed.
    """
    content = read_sweep(SWEEPS.find(file))
    if problems := too_few(trials=trials, jobs=jobs):
        raise UserError("The command line cannot be used.", problems)
    here = local or cluster is not None or os.environ.get("WANDB_MODE", "online") != "online"
    if not here:
        from hierfit.run.loggers import has_wandb_key

        here = not has_wandb_key()
    # From here on imports take seconds: the process that others are forked from begins its own meanwhile.
    if here and not check and cluster is None:
        prepare()
    from hierfit.run.quiet import quieten

    quieten()
    try:
        from hierfit.search.trials import Trials
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise UserError("A sweep needs optuna.", hint='pip install "hierfit[sweep]"') from error
    cells = Trials(content, runs, here)
    count = trials or content.run_cap or (content.combinations if content.method == "grid" else _TRIALS)
    count = min(count, content.combinations) if content.method == "grid" else count
    console = Console()
    if check:
        for name, parameter in content.parameters.items():
            console.print(Text(f"{name}: {parameter}"), soft_wrap=True)
        goal = f"{content.metric.goal} {content.metric.name}"
        text = f"{content.name}: {content.method}, {count} trials, {goal}. A trial is, for example:"
        console.print(Text(text), soft_wrap=True)
        values = {name: parameter.probes()[0] for name, parameter in content.parameters.items()}
        console.print(Text(f"hierfit fit {' '.join(content.arguments(values))}"), soft_wrap=True)
        return
    if not here:
        _run_agent(content, count, console)
        return
    from hierfit.search.trials import search_here

    search, missed = search_here(cells, count, seed, jobs, cluster, console)
    done = search.done()
    if not done:
        raise UserError("No trial has been done.", hint=f"Their logs are below {cells.folder / 'trials'}.")
    print_trials(done, content, show, console)
    if importances := search.importances():
        listed = " · ".join(f"{_short(name)} {100 * share:.0f} %" for name, share in importances.items())
        console.print()
        console.print(Text(f"What tells better trials from worse (PED-ANOVA): {listed}", "dim"))
    missed += _test_chosen(done, cells, seeds or [None], jobs, cluster, console)
    if missed:
        console.print(Text(f"{missed} runs failed; the same command runs them again."))
        sys.exit(1)


def _run_agent(file: SweepFile, count: int, console: Console) -> None:
    """Makes the sweep at W&B and runs its trials here, one after the other."""
    import wandb

    from hierfit.config.schema import read_yaml
    from hierfit.streams import program

    content: Any = read_yaml(file.source.file, [])[0]
    project = file.project or "hierfit"
    sweep_id = wandb.sweep(content, project=project, entity=file.entity)
    whole = "/".join(filter(None, (file.entity, project, sweep_id)))
    console.print(Text(f"More agents, here or elsewhere: wandb agent {whole}"), soft_wrap=True)
    # An agent runs plain "python": it is to be this one.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    wandb.agent(sweep_id, project=project, entity=file.entity, count=count)
    values = " ".join(f"--{name}=…" for name in file.varied)
    console.print(Text("When the sweep is done, test the best trial's values, and those alone:"))
    console.print(Text(f"  {program()} fit {' '.join(file.start)} --tuned_on=val {values}"), soft_wrap=True)


def print_trials(done: Sequence[Done], file: SweepFile, most: int, console: Console) -> None:
    """The best trials, a row each, the best first; at most so many."""
    from hierfit.results.table import Table
    from hierfit.results.writers import print_table

    names = file.varied
    rows = tuple(
        (
            f"{each.number}{' ✂' if each.stopped else ''}",
            file.metric.shown(each.reached),
            *(f"{v:.3g}" if isinstance(v := each.values[name], float) else str(v) for name in names),
            str(each.steps),
        )
        for each in done[:most]
    )
    stopped = sum(each.stopped for each in done)
    early = f", {stopped} of them stopped early (✂)" if stopped else ""
    title = f"{file.name} · {file.method} · {len(done)} trials{early} · {file.metric.goal} {file.metric.name}"
    reached = f"val [{file.metric.unit}]" if file.metric.unit else "val"
    print_table(Table.of(title, ("trial", reached, *map(_short, names), "steps"), rows), console)


def _test_chosen(
    done: Sequence[Done],
    trials: Trials,
    seeds: Sequence[int | None],
    jobs: int | None,
    cluster: str | None,
    console: Console,
) -> int:
    """Trains the best trial's values again, now with the test, and prints what it found; how many runs failed."""
    from omegaconf import OmegaConf

    from hierfit.atomic import whole_file
    from hierfit.results.summary import print_summary
    from hierfit.search.progress import failed, run_cells
    from hierfit.search.runner import finished
    from hierfit.streams import program

    best, path = done[0], trials.folder / BEST
    values = OmegaConf.create()
    for name, value in {**best.values, "tuned_on": "val"}.items():
        group, _, key = name.partition(".")
        own = group == "model" and key and key.partition(".")[0] not in ("class_path", "init_args")
        OmegaConf.update(values, f"model.init_args.{key}" if own else name, value)
    with whole_file(path) as draft:
        draft.write_text(OmegaConf.to_yaml(values), encoding="utf-8")
    console.print()
    cells = [trials.chosen(best.values, f"{best.method}, best of {len(done)}", seed) for seed in seeds]
    outcomes = run_cells(f"trial {best.number} with the test", cells, jobs, cluster, console)
    if cards := [card for cell in cells if (card := finished(cell))]:
        print_summary(cards, console=console)
    console.print(Text(f"Values of trial {best.number}: {path}; to go on with them:"), soft_wrap=True)
    console.print(Text(f"  {program()} fit {' '.join(trials.file.start)} --config={path}"), soft_wrap=True)
    return len(failed(outcomes))


def _short(name: str) -> str:
    return name.removeprefix("model.").removeprefix("init_args.")
