"""Where the curves of a run go: a CSV file always, W&B beside it."""

from __future__ import annotations

import netrc
import os
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Literal
from urllib.error import HTTPError
from urllib.request import urlopen

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger
from wandb import Settings

from hierfit.errors import UserError
from hierfit.run.curves import Curves
from hierfit.run.keys import WandbMode
from hierfit.run.wandb_run import WandbRun


def has_wandb_key() -> bool:
    """Whether this user is logged in to W&B: by environment or by ``wandb login``."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        known = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return False
    return known.authenticators("api.wandb.ai") is not None


@cache
def answers(server: str, seconds: float = 5.0) -> bool:
    """Whether a server answers in time, whatever it says; a network that hangs hangs here, and not in the run."""
    answered = []

    def ask() -> None:
        try:
            urlopen(server, timeout=seconds).close()
        except HTTPError:
            pass  # an answer, too
        except (OSError, ValueError):
            return
        answered.append(True)

    # Looking a name up knows no time limit of its own.
    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    return bool(answered)


def settled_mode(wandb: Literal["auto", "online", "offline"], folder: Path) -> str:
    """How W&B is run: ``auto`` as ``WANDB_MODE`` says, else online where a key is configured and W&B answers.

    Raises:
        UserError: It was to be online by name, and there is no key, or W&B does not answer.
    """
    named = os.environ.get("WANDB_MODE") if wandb == "auto" else wandb
    if named not in ("online", None):
        return named
    if named is None and not has_wandb_key():
        return "offline"
    server = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    problem = ""
    if not has_wandb_key():
        problem = "no key is configured for W&B (`wandb login`, or WANDB_API_KEY)"
    elif not answers(server):
        problem = f"W&B at {server} does not answer"
    if problem and named == "online":
        raise UserError(problem, hint="--wandb offline keeps the run here, for `wandb sync` later.")
    if problem:
        rank_zero_only(print)(f"{problem}: kept offline; later: wandb sync {folder}/wandb/offline-run-*")
        return "offline"
    return "online"


def wants_report(wandb: WandbMode) -> bool:
    """Whether W&B gets tables and figures beside the curves: it was asked for by name, or somebody is logged in."""
    if wandb == "auto":
        named = os.environ.get("WANDB_MODE")
        return named in ("online", "offline") if named else has_wandb_key()
    return wandb != "disabled"


def loggers(folder: Path, wandb: WandbMode, experiment: str, row: str, wandb_id: str) -> list[Logger]:
    """Loggers of a run.

    Args:
        folder: The run's folder; ``metrics.csv`` and ``wandb/`` lie in it.
        wandb: ``auto`` is online where a key is configured and W&B answers; ``WANDB_MODE`` goes before it.
        experiment: Becomes the W&B group.
        row: Becomes part of the W&B run's name.
        wandb_id: Of the run at W&B; the same again when the run is taken up.

    Raises:
        UserError: See `settled_mode`.
    """
    curves = Curves(folder)
    if wandb == "disabled":
        return [curves]
    # `offline=True` fails once wandb has been initialised in a process; `mode` does not.
    run = WandbRun(
        curves,
        project=os.environ.get("WANDB_PROJECT", "hierfit"),
        group=experiment,
        name=f"{row} {folder.name}",
        save_dir=str(folder),
        mode=settled_mode(wandb, folder),
        id=wandb_id,
        settings=Settings(silent=True, disable_git=True),  # the closing lines say where the run lies
    )
    return [curves, run]
