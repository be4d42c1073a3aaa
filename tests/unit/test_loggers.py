"""Who meets W&B."""

from __future__ import annotations

from pathlib import Path

import pytest
import wandb
from lightning.pytorch.utilities import rank_zero_only

from hierfit.run.loggers import loggers


def test_only_the_first_of_several_processes_reads_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # An agent's variables reach every process; its values do so on the command line, the same for all.
    started = []
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    monkeypatch.setenv("WANDB_RUN_ID", "run1")
    monkeypatch.setattr(wandb, "init", lambda **named: started.append(named))
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    _, logger = loggers(tmp_path, "offline", "experiment", "row", "id")
    logger.log_metrics({"val/fpa": 0.5}, step=1)
    logger.experiment.finish()
    assert not started
    assert not list(tmp_path.iterdir())
