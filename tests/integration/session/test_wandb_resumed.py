"""A run that is ended and taken up is one run at W&B: the same id, every step of its curves once, and how it ended."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import wandb

from hierfit.errors import UserError
from hierfit.run.folder import STATE
from hierfit.run.saving import Curves, Stopped
from hierfit.run.wandb import WandbRun

from .transaction_log import ending, history


def curves(folder: Path) -> list[dict[str, float]]:
    """Rows of the curves as W&B has them."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    return [{"_step": n, "trainer/global_step": row.pop("step"), **row} for n, row in enumerate(rows)]


def test_a_run_taken_up_is_one_run(kills: ModuleType, experiment: Path, tmp_path: Path) -> None:
    wandb.teardown()  # W&B's service of an earlier test would hold the killed child's run for still at work
    torch.set_num_threads(1)
    arguments = ["fit", f"--config={experiment}", "--controls=null", "--save_every=0", "--trainer.max_steps=20"]
    arguments += ["--wandb=offline", f"--runs={tmp_path / 'runs'}"]
    log = tmp_path / "log"

    def saved(_: float) -> bool:
        return any((tmp_path / "runs").glob("toy/*/checkpoints/last.ckpt"))

    assert kills.run(arguments, log, saved) == -signal.SIGKILL, log.read_text()
    (folder,) = (tmp_path / "runs").glob("toy/*")
    first = json.loads((folder / STATE).read_text())["wandb_id"]
    (killed,) = (folder / "wandb").glob("offline-run-*")
    assert ending(killed) == (None, False)
    killed.with_name(f"{killed.name}-1").mkdir()  # as of an attempt in the same second
    assert kills.run(arguments, log) == 0, log.read_text()
    assert "goes on from step" in log.read_text()
    # Its folder stands for the whole run: `wandb sync` would let it replace the first, which it might not even read.
    (whole,) = (folder / "wandb").glob("offline-run-*")
    assert whole != killed
    assert [run.name.split("-")[3] for run in (killed, whole)] == [first, first]
    assert ending(whole) == (0, False)
    assert f"wandb sync {whole}" in log.read_text()
    expected = curves(folder)
    got = history(whole)
    assert [row["_step"] for row in got] == list(range(len(expected)))
    assert len(expected) == len({row["_step"] for row in expected}) >= 20
    for row, wanted in zip(got, expected, strict=True):
        assert {name: row[name] for name in wanted} == pytest.approx(wanted, nan_ok=True)


def test_a_preempted_run_says_so(kills: ModuleType, experiment: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    arguments = ["fit", f"--config={experiment}", "--controls=null", "--wandb=offline", f"--runs={tmp_path / 'runs'}"]
    (tmp_path / "stopper.py").write_text(
        "import os\nfrom lightning import Callback\n\n\nclass Stop(Callback):\n"
        "    def on_train_batch_end(self, trainer, *args):\n"
        f"        if trainer.global_step == 4:\n            os.kill(os.getpid(), {int(signal.SIGTERM)})\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        code = kills.run([*arguments, '--trainer.callbacks=[{"class_path": "stopper.Stop"}]'], tmp_path / "log")
    assert code == 128 + signal.SIGTERM, (tmp_path / "log").read_text()
    (run,) = (tmp_path / "runs").glob("toy/*/wandb/offline-run-*")
    assert ending(run) == (143, True)
    assert len(history(run)) == 5  # four steps, one of them with a validation


@pytest.mark.parametrize(
    ("error", "in_sweep", "expected"),
    [
        (Stopped(signal.SIGTERM, 3), False, ["preempting", 143]),
        (Stopped(signal.SIGUSR1, 3), True, ["preempting", 138]),  # back into the sweep's queue
        (Stopped(signal.SIGTERM, 3), True, [255]),  # how an agent stops a trial, which is not to come again
        (Stopped(signal.SIGINT, 3), False, [255]),
        (KeyboardInterrupt(), False, [255]),
        (UserError("no"), False, [1]),
    ],
)
def test_wandb_is_told_how_a_run_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, in_sweep: bool, expected: list[Any]
) -> None:
    heard: list[Any] = []

    class Experiment:
        def mark_preempting(self) -> None:
            heard.append("preempting")

        def finish(self, exit_code: int) -> None:
            heard.append(exit_code)

    monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    if in_sweep:
        monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    run = WandbRun(Curves(tmp_path), id="a", experiment=Experiment())
    with pytest.raises(type(error)), run.ended_as_it_ends():
        raise error
    assert heard == expected


def test_online_only_what_wandb_lacks_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Online:
        starting_step, offline, disabled, url = 3, False, False, "page"
        rows: dict[int, Any] = {}  # noqa: RUF012
        define_metric, config = None, wandb.Config()

        def log(self, row: dict[str, Any], step: int) -> None:
            assert step not in self.rows
            self.rows[step] = row

    monkeypatch.setattr(wandb, "init", lambda **named: Online())
    log = Curves(tmp_path)
    run = WandbRun(log, id="a", mode="online")
    # Taken up at row 2, while W&B has rows 0, 1 and 2.
    for step in range(2, 6):
        log.rows = log.rows or [{"loss": "0.5", "step": "0"}, {"loss": "0.25", "step": "1"}]
        log.log_metrics({"loss": 1 / (step + 2)}, step)
        run.log_metrics({"loss": 1 / (step + 2)}, step)
    assert Online.rows == {n: {"loss": 1 / (n + 2), "trainer/global_step": n} for n in (3, 4, 5)}
    assert run.where == "page"
    assert capsys.readouterr().out == "W&B: page\n"
    fresh = WandbRun(Curves(tmp_path), id="a", mode="online")
    fresh.log_hyperparams({})
    fresh.log_hyperparams({})
    assert capsys.readouterr().out == "W&B: page\n"
