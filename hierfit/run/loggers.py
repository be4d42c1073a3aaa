"""Where the curves of a run go: a CSV file always, W&B beside it."""

from __future__ import annotations

import netrc
import os
from pathlib import Path
from typing import Literal

from lightning.pytorch.loggers import Logger, WandbLogger
from wandb import Settings

from hierfit.run.curves import Curves

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


def loggers(folder: Path, wandb: WandbMode, experiment: str, row: str) -> list[Logger]:
    """Loggers of a run.

    Args:
        folder: The run's folder; ``metrics.csv`` and ``wandb/`` lie in it.
        wandb: ``auto`` is online where a key is configured and offline elsewhere; ``WANDB_MODE`` goes before it.
        experiment: Becomes the W&B group.
        row: Becomes part of the W&B run's name.
    """
    found: list[Logger] = [Curves(folder)]
    if wandb != "disabled":
        if wandb == "auto":
            mode = os.environ.get("WANDB_MODE") or ("online" if has_wandb_key() else "offline")
        else:
            mode = wandb
        # `offline=True` fails once wandb has been initialised in a process; `mode` does not.
        logger = WandbLogger(
            project="hierfit",
            group=experiment,
            name=f"{row} {folder.name}",
            save_dir=str(folder),
            mode=mode,
            settings=Settings(silent=True, disable_git=True),  # the closing lines say where the run lies
        )
        # Lightning passes on a setting that W&B has dropped and warns about on every run.
        logger._wandb_init.pop("anonymous", None)
        found.append(logger)
    return found
