"""Where the curves of a run go: a CSV file always, W&B beside it."""

from __future__ import annotations

import netrc
import os
from pathlib import Path
from typing import Literal

from lightning.pytorch.loggers import Logger
from wandb import Settings

from hierfit.run.curves import Curves
from hierfit.run.wandb_run import WandbRun

WandbMode = Literal["auto", "online", "offline", "disabled"]


def has_wandb_key() -> bool:
    """Whether this user is logged in to W&B: by environment or by ``wandb login``."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        known = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return False
    return known.authenticators("api.wandb.ai") is not None


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
        wandb: ``auto`` is online where a key is configured and offline elsewhere; ``WANDB_MODE`` goes before it.
        experiment: Becomes the W&B group.
        row: Becomes part of the W&B run's name.
        wandb_id: Of the run at W&B; the same again when the run is taken up.
    """
    curves = Curves(folder)
    if wandb == "disabled":
        return [curves]
    usual = os.environ.get("WANDB_MODE") or ("online" if has_wandb_key() else "offline")
    # `offline=True` fails once wandb has been initialised in a process; `mode` does not.
    run = WandbRun(
        curves,
        project=os.environ.get("WANDB_PROJECT", "hierfit"),
        group=experiment,
        name=f"{row} {folder.name}",
        save_dir=str(folder),
        mode=usual if wandb == "auto" else wandb,
        id=wandb_id,
        settings=Settings(silent=True, disable_git=True),  # the closing lines say where the run lies
    )
    return [curves, run]
