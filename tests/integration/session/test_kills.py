"""A run that is ended at any moment goes on with the same command and ends as if nothing had happened."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import ModuleType

import torch

from hierfit.cli import main
from hierfit.run.folder import STATE


def test_killed_twice_it_ends_the_same(kills: ModuleType, experiment: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    control = '--controls={"λ=0": {"model.hierarchy_weight": 0}}'
    arguments = ["fit", f"--config={experiment}", control, "--save_every=0", "--trainer.max_steps=20"]
    main([*arguments, f"--runs={tmp_path / 'whole'}"])
    killed, log = [*arguments, f"--runs={tmp_path / 'killed'}"], tmp_path / "log"
    for pattern in ("toy/*/checkpoints/last.ckpt", "toy/*/controls/*/checkpoints/last.ckpt"):  # saved, not yet tested
        code = kills.run(killed, log, lambda _, p=pattern: any((tmp_path / "killed").glob(p)))
        assert code == -signal.SIGKILL, log.read_text()
    assert kills.run(killed, log) == 0, log.read_text()
    assert kills.differences(kills.only(tmp_path / "whole"), kills.only(tmp_path / "killed")) == []
    folder = kills.only(tmp_path / "killed")  # one folder: it was found again each time
    said = log.read_text()
    assert "LatHAdapter: goes on from step" in said
    assert "λ=0: goes on from step" in said
    assert "LatHAdapter: finished already" in said
    assert json.loads((folder / STATE).read_text())["stage"] == "done"
    assert not list(folder.rglob("*last*.ckpt"))
