"""Two processes see every test sample once, however odd their number, and find what one process finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hierfit.report.card import ResultCard

from .conftest import Fit


def test_two_processes_test_exactly(fit: Fit, experiment: Path, tmp_path: Path) -> None:
    alone = fit("--controls=null", "--model", "hierfit.methods.ZeroShot")
    folder = tmp_path / "runs" / "two"
    options = {
        "config": experiment,
        "model": "hierfit.methods.ZeroShot",
        "controls": "null",
        "folder": folder,
        "trainer.devices": 2,
        "trainer.strategy": "ddp",
    }
    command = [sys.executable, "-m", "hierfit", "fit", *(f"--{k}={v}" for k, v in options.items())]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("TICE (lower is better)") == 1  # one rank speaks
    assert ResultCard.read(folder).metrics == ResultCard.read(alone).metrics
    one, two = (load_file(f / "test_logits.safetensors") for f in (alone, folder))
    assert torch.equal(one["indices"], two["indices"])
    assert torch.equal(one["paths"], two["paths"])
    torch.testing.assert_close(one["logits"], two["logits"])
    kept = [json.loads((f / "predictor" / "predictor.json").read_text(encoding="utf-8")) for f in (alone, folder)]
    assert kept[0]["calibration"]["images"] == kept[1]["calibration"]["images"] == 16
    first, second = (k["calibration"]["temperature"]["best_path"] for k in kept)
    assert first == pytest.approx(second, rel=1e-3)
    assert not list(folder.glob(".*"))
