"""Finished runs as one page: what it shows, how it is drawn, and the figures alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hierfit.results.card import ResultCard


def show_at_wandb(run: Any, folder: Path, card: ResultCard) -> None:
    """Sends W&B what ``hierfit report`` shows of a finished run: what `hierfit.run.train` takes as ``show``."""
    from hierfit.report.wandb import log_report  # with wandb, torch and matplotlib

    log_report(run, folder, card)
