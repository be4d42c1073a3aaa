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

from hierfit.geometry.embeddings import Embeddings
from hierfit.results.card import ResultCard

from .conftest import Fit


def by_two(command: str, folder: Path, **options: object) -> subprocess.CompletedProcess[str]:
    """A command of two processes, which must not fail."""
    given = {**options, "folder": folder, "trainer.devices": 2, "trainer.strategy": "ddp"}
    done = subprocess.run(
        [sys.executable, "-m", "hierfit", command, *(f"--{name}={value}" for name, value in given.items())],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def test_two_processes_test_exactly(fit: Fit, experiment: Path, tmp_path: Path) -> None:
    alone = fit("--controls=null", "--model", "hierfit.methods.ZeroShot")
    folder = tmp_path / "runs" / "two"
    done = by_two("fit", folder, config=experiment, model="hierfit.methods.ZeroShot", controls="null")
    assert done.stdout.count("TICE (lower is better)") == 1  # one rank speaks
    assert ResultCard.read(folder).metrics == ResultCard.read(alone).metrics
    one, two = (load_file(f / "test_logits.safetensors") for f in (alone, folder))
    assert torch.equal(one["indices"], two["indices"])
    assert torch.equal(one["paths"], two["paths"])
    torch.testing.assert_close(one["logits"], two["logits"])
    kept = [json.loads((f / "predictor" / "predictor.json").read_text(encoding="utf-8")) for f in (alone, folder)]
    assert kept[0]["calibration"]["images"] == kept[1]["calibration"]["images"] == 16
    first, second = (k["calibration"]["temperatures"]["best_path"] for k in kept)
    assert first == pytest.approx(second, rel=1e-3)
    assert not list(folder.glob(".*"))


def test_two_processes_predict_and_show_all_images(fit: Fit, experiment: Path, tmp_path: Path) -> None:
    alone = fit("--controls=null")
    selected = {"config": experiment, "ckpt_path": alone / "checkpoints" / "selected.ckpt"}
    table = fit("--ckpt_path", str(selected["ckpt_path"]), command="predict") / "predictions.csv"
    by_two("predict", tmp_path / "predicted", **selected)
    assert (tmp_path / "predicted" / "predictions.csv").read_text() == table.read_text()
    assert len(table.read_text().splitlines()) == 1 + 37
    by_two("test", tmp_path / "tested", **selected)
    one, two = (Embeddings.read(folder) for folder in (alone, tmp_path / "tested"))
    assert one is not None
    assert two is not None
    assert two.indices.tolist() == one.indices.tolist() == list(range(37))
    torch.testing.assert_close(two.images, one.images)
