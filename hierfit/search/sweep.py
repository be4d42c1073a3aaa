"""``hierfit sweep``: a W&B sweep file, by an agent where there is an account, else on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from rich.text import Text

from hierfit.config.command import Say
from hierfit.config.named import SWEEPS
from hierfit.config.schema import read_yaml
from hierfit.errors import UserError
from hierfit.search.engines import preload
from hierfit.search.progress import Cluster, Jobs, Runs, too_few
from hierfit.search.sweep_file import SweepFile, read_sweep
from hierfit.streams import program

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
        from hierfit.run.wandb import has_wandb_key

        here = not has_wandb_key()
    # From here on imports take seconds: the process that others are forked from begins its own meanwhile.
    if here and not check and cluster is None:
        preload()
    from hierfit.run.quiet import quieten

    quieten()
    try:
        from hierfit.search.trials import Trials, search_here
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
    elif not here:
        _run_agent(content, count, console)
    elif missed := search_here(cells, count, seed, seeds or [None], show, jobs, cluster, console):
        console.print(Text(f"{missed} runs failed; the same command runs them again."))
        sys.exit(1)


def _run_agent(file: SweepFile, count: int, console: Console) -> None:
    """Makes the sweep at W&B and runs its trials here, one after the other."""
    import wandb

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
