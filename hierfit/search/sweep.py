"""``hierfit sweep``: a W&B sweep file, by an agent where there is an account, else on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from hierfit.config.command import Say
from hierfit.config.named import SWEEPS
from hierfit.config.schema import read_yaml
from hierfit.errors import UserError
from hierfit.search.progress import Cluster, Jobs, Runs, Workbench, begin_work
from hierfit.streams import program

if TYPE_CHECKING:
    from hierfit.search.sweep_file import SweepFile

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
    try:
        from hierfit.search.sweep_file import read_sweep
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise UserError("A sweep needs optuna.", hint='pip install "hierfit[sweep]"') from error
    content = read_sweep(SWEEPS.find(file))
    here = local or cluster is not None or os.environ.get("WANDB_MODE", "online") != "online"
    if not here:
        from hierfit.run.wandb import has_wandb_key  # with Lightning

        here = not has_wandb_key()
    bench = begin_work(jobs, cluster, here and not check, trials=trials)
    from hierfit.search.trials import Trials, search_here

    cells = Trials(content, runs, here)
    whole = content.combinations if content.method == "grid" else None
    count = min(trials or content.run_cap or whole or _TRIALS, whole or sys.maxsize)
    if check:
        for name, parameter in content.parameters.items():
            bench.say(f"{name}: {parameter}")
        goal = f"{content.metric.goal} {content.metric.name}"
        bench.say(f"{content.name}: {content.method}, {count} trials, {goal}. A trial is, for example:")
        values = {name: parameter.probes()[0] for name, parameter in content.parameters.items()}
        bench.say(f"hierfit fit {' '.join(content.arguments(values))}")
    elif not here:
        _run_agent(content, count, bench)
    elif missed := search_here(cells, count, seed, seeds or [None], show, bench):
        bench.say(f"{missed} runs failed; the same command runs them again.")
        sys.exit(1)


def _run_agent(file: SweepFile, count: int, bench: Workbench) -> None:
    """Makes the sweep at W&B and runs its trials here, one after the other."""
    import wandb

    content: Any = read_yaml(file.source.file, [])[0]
    project = file.project or "hierfit"
    sweep_id = wandb.sweep(content, project=project, entity=file.entity)
    whole = "/".join(filter(None, (file.entity, project, sweep_id)))
    bench.say(f"More agents, here or elsewhere: wandb agent {whole}")
    # An agent runs plain "python": it is to be this one.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    wandb.agent(sweep_id, project=project, entity=file.entity, count=count)
    values = " ".join(f"--{name}=…" for name in file.varied)
    bench.say("When the sweep is done, test the best trial's values, and those alone:")
    bench.say(f"  {program()} fit {' '.join(file.start)} --tuned_on=val {values}")
