"""A method of one's own: one file in the folder one works in, named by its import path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hierfit.cli import main
from hierfit.results.card import ResultCard

from .test_mistakes import refused

MINE = '''
from hierfit.methods import ZeroShot


class Sharper(ZeroShot):
    """Zero-shot with sharper logits.

    Args:
        factor: Of the logits; more than 0.
    """

    def __init__(self, factor: float, shy: bool = False) -> None:
        super().__init__()
        if shy:
            raise KeyError("a mistake in programming keeps its traceback")
        if factor <= 0:
            raise ValueError(f"factor is {factor}; it must be more than 0")
        self.factor = factor

    def forward(self, inputs):
        return self.factor * super().forward(inputs)


class NotOne:
    needs = "features"

    def __init__(self):
        pass
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file, in the folder one works in."""
    (tmp_path / "my_method.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    sys.modules.pop("my_method", None)


@pytest.mark.usefixtures("mine")
def test_it_trains_from_another_folder(experiment: Path, tmp_path: Path) -> None:
    options = [f"--config={experiment}", "--model=my_method.Sharper", "--model.factor=2"]
    options += ['--controls={"one": {"model.factor": 1}}', f"--folder={tmp_path / 'mine'}"]
    command = [sys.executable, "-m", "hierfit", "fit", *options]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    card, control = (ResultCard.read(path) for path in (tmp_path / "mine", tmp_path / "mine" / "controls" / "one"))
    assert card.method_settings == {"class_path": "my_method.Sharper", "init_args": {"factor": 2.0, "shy": False}}
    assert card.metrics["per_level"] == control.metrics["per_level"]  # sharper logits, the same answers


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--model=my_method.Sharper", "--model.factr=2"],
            ["unknown key – did you mean 'factor'?", "factor is missing"],
        ),
        (["--model=my_method.Shaper"], ["there is no method 'my_method.Shaper' – did you mean 'Sharper'?"]),
        (["--model=my_method.Sharper", "--model.factor=0"], ["Sharper: factor is 0.0; it must be more than 0"]),
        (["--model=my_method.NotOne"], ["my_method.NotOne is no method"]),
        (["--model=my_metod.Sharper"], ["there is no method 'my_metod.Sharper'"]),
        (["--trainer.callbacks=[{class_path: my_method.Nothing}]"], ["there is no class 'my_method.Nothing'"]),
        (["--trainer.callbacks=[{class_path: EarlyStopping, init_args: {monitr: a}}]"], ["did you mean 'monitor'?"]),
    ],
)
@pytest.mark.usefixtures("mine")
def test_its_mistakes_are_said(
    experiment: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: list[str]
) -> None:
    text = refused(capsys, "fit", f"--config={experiment}", "--controls=null", *options)
    assert [part for part in said if part not in text] == []


@pytest.mark.usefixtures("mine")
def test_help_and_print_config_know_it(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--help", "--model=my_method.Sharper"])
    assert "factor=(must be given)" in capsys.readouterr().out
    main(["fit", "--help=all", "--model=my_method.Sharper"])
    printed = capsys.readouterr().out
    assert "--model.factor\n      Of the logits; more than 0." in printed
    assert "--trainer.detect_anomaly" in printed
    given = [f"--config={experiment}", "--model=my_method.Sharper", "--model.factor=2", "--seed_everything=5"]
    main(["fit", *given, "--controls=null", "--print_config"])
    settings = yaml.safe_load(capsys.readouterr().out)
    assert settings["model"]["init_args"] == {"factor": 2.0, "shy": False}
    assert settings["data"]["seed"] == 5
