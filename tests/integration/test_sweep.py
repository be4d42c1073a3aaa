"""A sweep: W&B's file, an agent's command, the same search here; killed, taken up, and never chosen on the test."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import hierfit
from hierfit.cli import main
from hierfit.results.card import ResultCard

from .session.conftest import write_bundle, write_card
from .session.transaction_log import ending, records, summary

optuna = pytest.importorskip("optuna")
TrialState = optuna.trial.TrialState

WriteSweep = Callable[..., Path]

TROUBLE = """
from hierfit.methods.linear_probe import LinearProbe

class Picky(LinearProbe):
    def build(self, task):
        if self.hparams.lr > 0.5:
            raise RuntimeError("too fast")
        super().build(task)
"""


@pytest.fixture
def write_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteSweep:
    """Writes a sweep of a linear probe on a small bundle; keys given replace its own."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "picky.py").write_text(TROUBLE)
    monkeypatch.syspath_prepend(tmp_path)
    write_bundle(tmp_path / "bundle.safetensors")
    write_card(tmp_path / "toy.yaml")
    trainer = {"accelerator": "cpu", "max_steps": 6, "val_check_interval": 2}
    data = {"card": str(tmp_path / "toy.yaml"), "root": str(tmp_path / "bundle.safetensors"), "shots": 4}
    data |= {"batch_size": 8}
    base = {"model": {"class_path": "hierfit.methods.LinearProbe"}, "data": data, "trainer": trainer}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))

    def write(**changes: Any) -> Path:
        content = {
            "program": "hierfit",
            "name": "small",
            "method": "random",
            "metric": {"name": "val/leaf_accuracy", "goal": "maximize"},
            "parameters": {"model.lr": {"distribution": "log_uniform_values", "min": 0.001, "max": 0.1}},
            "command": [
                *("${env}", "${interpreter}", "-m", "${program}", "fit"),
                *(f"--config={tmp_path / 'base.yaml'}", "--controls=null", "--test=false", "${args}"),
            ],
        }
        path = tmp_path / "small.yaml"
        path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
        return path

    return write


def run(file: Path, *options: str) -> None:
    main(["sweep", str(file), f"--runs={file.parent / 'runs'}", "--jobs=1", *options])


def trials(file: Path) -> dict[str, Path]:
    """Folders of the finished trials by number."""
    found = (file.parent / "runs" / "small" / "trials").glob("*/run.json")
    return {path.parent.name[:4]: path.parent for path in found if "tested" in path.read_text()}


def recorded(tmp_path: Path) -> dict[int, Any]:
    """Trials of a sweep's journal by number, once each."""
    journal = optuna.storages.journal.JournalFileBackend(str(tmp_path / "runs/small/trials.journal"))
    storage = optuna.storages.JournalStorage(journal)
    (study,) = optuna.get_all_study_summaries(storage)
    found = optuna.load_study(study_name=study.study_name, storage=storage).get_trials()
    return {trial.user_attrs.get("number", trial.number): trial for trial in found if "values" in trial.user_attrs}


def test_a_sweep_searches_on_val_stops_early_and_goes_on(
    write_sweep: WriteSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_sweep(
        method="bayes",
        early_terminate={"type": "hyperband", "min_iter": 1, "eta": 2},
        parameters={
            "model.lr": {"distribution": "log_uniform_values", "min": 1e-6, "max": 0.1},
            "model.init": {"values": ["text", "zero"]},
        },
    )
    run(file, "--trials=4")
    printed = capsys.readouterr().out
    assert "small · bayes · 4 trials" in printed
    assert "LinearProbe, best of 4" in printed
    records = recorded(tmp_path)
    assert sorted(records) == [0, 1, 2, 3]
    stopped = [number for number, trial in records.items() if trial.state == TrialState.PRUNED]
    assert stopped
    assert "stopped early (✂)" in printed

    # A trial is not tested; what was chosen is, and says on what.
    folders = trials(file)
    cards = {number: ResultCard.read(folder) for number, folder in folders.items()}
    assert all(card.metrics == {} and "val/fpa" in card.val for card in cards.values())
    assert not [path for folder in folders.values() for path in folder.glob("test_logits*")]
    assert {cards[f"{i:04}"].cost["steps"] for i in stopped} <= {2, 4}
    (chosen,) = (tmp_path / "runs/small/chosen").glob("*/result.json")
    best = ResultCard.read(chosen)
    assert best.tuned_on == "val"
    whole = {number: card for number, card in cards.items() if int(number) not in stopped}
    top = max(sorted(whole), key=lambda n: whole[n].val["val/leaf_accuracy"])
    assert best.val == whole[top].val
    values = records[int(top)].user_attrs["values"]
    assert yaml.safe_load((tmp_path / "runs/small/best.yaml").read_text()) == {
        "model": {"init_args": {key.removeprefix("model."): value for key, value in values.items()}},
        "tuned_on": "val",
    }

    # What was done is not run again.
    before = {number: (folder / "run.json").stat().st_mtime_ns for number, folder in folders.items()}
    run(file, "--trials=5")
    assert "5 trials, 4 done already" in capsys.readouterr().out
    after = {number: (folder / "run.json").stat().st_mtime_ns for number, folder in trials(file).items()}
    assert {number: after[number] for number in before} == before
    assert set(after) - set(before) == {"0004"}
    run(file, "--trials=5")
    assert "5 trials of small are done already." in capsys.readouterr().out

    # Another range: what lies in it counts. Other settings: nothing does.
    lowest = min(records, key=lambda n: records[n].user_attrs["values"]["model.lr"])
    low = records[lowest].user_attrs["values"]["model.lr"]
    content = yaml.safe_load(file.read_text())
    content["parameters"]["model.lr"]["min"] = 1.01 * low
    file.write_text(yaml.safe_dump(content))
    run(file, "--trials=4")
    printed = capsys.readouterr().out
    assert f"left out: trial {lowest}" in printed
    assert "4 trials of small are done already." in printed
    content["command"].append("--trainer.max_steps=4")
    file.write_text(yaml.safe_dump(content))
    run(file, "--trials=1")
    assert "1 trials, 0 done already" in capsys.readouterr().out


def at_work(place: Path) -> list[str]:
    """Command lines of processes that name a place."""
    lines = [path.read_bytes().replace(b"\0", b" ").decode() for path in Path("/proc").glob("[0-9]*/cmdline")]
    return [line for line in lines if str(place) in line]


def test_one_agent_drives_both_processes_of_a_trial(
    write_sweep: WriteSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W&B's own agent; only what its server would say is made up: two trials, of which the second is to be stopped."""
    agents = pytest.importorskip("wandb.wandb_agent")
    api = pytest.importorskip("wandb.apis.public.sweeps")
    steps = {"one": 6, "two": 10**6}
    file = write_sweep(parameters={"model.lr": {"values": [1e-05, 0.01]}, "trainer.max_steps": {"values": [6, 10**6]}})
    content = yaml.safe_load(file.read_text())
    content["command"] += ["--trainer.devices=2", "--trainer.strategy=ddp", "--save_every=0.5"]
    file.write_text(yaml.safe_dump(content))
    todo = list(steps)

    def heartbeat(api: Any, agent_id: str, metrics: Any, running: dict[str, bool]) -> list[dict[str, Any]]:
        if "two" in running:
            saved = any((tmp_path / "runs").glob("*/*-two/checkpoints/last.ckpt"))
            return [{"type": "stop", "run_id": "two"}] if saved else []
        if running:
            return []
        if not todo:
            return [{"type": "exit"}]
        run_id = todo.pop(0)
        values = {"model.lr": 0.01, "trainer.max_steps": steps[run_id]}
        values = {name: {"value": value} for name, value in values.items()}
        return [{"type": "run", "run_id": run_id, "program": "hierfit", "args": values}]

    monkeypatch.setattr(api, "_sweep_with_runs", lambda *_: {"config": file.read_text()})
    monkeypatch.setattr(api, "_register_agent", lambda *_, **__: {"id": "agent"})
    monkeypatch.setattr(api, "_agent_heartbeat", heartbeat)
    monkeypatch.setattr("wandb.Api", lambda: None)
    monkeypatch.setattr(agents.Agent, "POLL_INTERVAL", 0.2)
    for name, value in {"SWEEP_ID": "sweep", "DIR": str(tmp_path), "RUN_ID": "", "SWEEP_PARAM_PATH": ""}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(hierfit.__file__).parents[1]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    agent = agents.Agent(None, multiprocessing.Queue(), sweep_id="sweep")
    agent.run()
    assert (agent._finished, agent._failed) == (2, 0)  # an agent that counts three failures soon after its start quits

    found = {path.name.rpartition("-")[2]: path for path in tmp_path.rglob("offline-run-*")}
    assert len(list(tmp_path.rglob("run-*.wandb"))) == 2  # the second process of each has none
    for run_id, run_folder in found.items():
        (head,) = (record.run for record in records(run_folder) if record.HasField("run"))
        assert (head.run_id, head.sweep_id) == (run_id, "sweep")
    assert ending(found["one"]) == (0, False)
    assert ending(found["two"]) == (255, False)  # killed, and not to come again
    card = ResultCard.read(found["one"].parents[1])
    assert (card.metrics, card.method_settings["init_args"]["lr"]) == ({}, 0.01)
    last = summary(found["one"])
    assert {name: last[name] for name in card.val} == pytest.approx(dict(card.val), nan_ok=True)
    assert json.loads((found["two"].parents[1] / "run.json").read_text())["stage"] == "begun"
    assert at_work(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parameters": {"model.lrr": {"values": [1.0, 2.0]}}}, "model.lrr: unknown key – did you mean 'lr'?"),
        ({"parameters": {"model.lr": {"values": [0.1, "fast"]}}}, "model.lr: expected a number, got 'fast'"),
        ({"parameters": {"model.lr": {"values": [0.1, -2.0]}}}, "model.lr: -2.0, must be positive"),
        ({"parameters": {"trainer.devices": {"values": [1, 2]}}}, "takes trials of several devices"),
        ({"parameters": {"name": {"values": ["a", "b"]}}}, "cannot be searched; the sweep's name is taken"),
        ({"metric": {"name": "val/leaf_acuracy", "goal": "maximize"}}, "did you mean 'val/leaf_accuracy'?"),
        ({"metric": {"name": "val/accuracy/midd", "goal": "maximize"}}, "did you mean 'val/accuracy/mid'?"),
        ({"parameters": {"model": {"values": ["LinearProb", "TaskRes"]}}}, "there is no method 'LinearProb'"),
    ],
)
def test_a_faulty_sweep_starts_nothing(
    write_sweep: WriteSweep, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], said: str
) -> None:
    file = write_sweep(**changes)
    with pytest.raises(SystemExit) as stop:
        run(file, "--check")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "small.yaml: this sweep cannot be run" in error
    assert said in error
    assert "small.yaml:" in error.splitlines()[1]
    assert not (file.parent / "runs").exists()


def test_a_trial_is_kept_from_the_test_split_by_an_agent_too(
    write_sweep: WriteSweep, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_sweep()
    file.write_text(file.read_text().replace("- --test=false\n", ""))
    with pytest.raises(SystemExit):
        run(file, "--check")
    assert "command: --test=false is missing; only what was chosen is tested" in capsys.readouterr().err


def test_trials_that_fail_stop_no_other(write_sweep: WriteSweep, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_sweep(
        method="grid", parameters={"model.lr": {"values": [0.9, 0.02, 0.6]}, "model": {"value": "picky.Picky"}}
    )
    with pytest.raises(SystemExit) as stop:
        run(file)
    assert stop.value.code == 1
    printed = capsys.readouterr().out
    assert "failed: toy/trial 0/4-s1: RuntimeError: too fast" in printed
    assert re.search(r"3/3 trials · in [\d:]+ · 2 failed", printed)
    assert "Picky, best of 1" in printed
    with pytest.raises(SystemExit) as stop:
        run(file)  # what failed is run again, under its old number
    assert stop.value.code == 1
    printed = capsys.readouterr().out
    assert "failed: toy/trial 2/4-s1: RuntimeError: too fast" in printed
    assert re.search(r"3/3 trials · in [\d:]+ · 2 failed", printed)


def test_with_an_account_an_agent_runs_it(
    write_sweep: WriteSweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb = pytest.importorskip("wandb")
    calls: list[Any] = []
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setattr(wandb, "sweep", lambda content, **named: calls.append((content, named)) or "abc")
    monkeypatch.setattr(wandb, "agent", lambda sweep_id, **named: calls.append((sweep_id, named)))
    file = write_sweep(run_cap=3)
    run(file)
    content, named = calls[0]
    assert content == yaml.safe_load(file.read_text())
    assert named == {"project": "hierfit", "entity": None}
    assert calls[1] == ("abc", {"project": "hierfit", "entity": None, "count": 3})
    printed = capsys.readouterr().out
    assert "wandb agent hierfit/abc" in printed
    assert f"fit --config={file.parent / 'base.yaml'} --tuned_on=val --model.lr=…" in printed


def test_a_killed_sweep_goes_on(write_sweep: WriteSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_sweep()
    command = [sys.executable, "-m", "hierfit", "sweep", str(file), f"--runs={tmp_path / 'runs'}", "--jobs=1"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([*command, "--trials=50", "--local"], stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + 240
    while len(trials(file)) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = trials(file)
    assert len(done) >= 2, (tmp_path / "log").read_text()
    before = {number: (folder / "run.json").stat().st_mtime_ns for number, folder in done.items()}
    capsys.readouterr()
    run(file, f"--trials={len(done) + 2}")
    assert f"{len(done) + 2}/{len(done) + 2} trials" in capsys.readouterr().out
    after = {number: (folder / "run.json").stat().st_mtime_ns for number, folder in trials(file).items()}
    assert {number: after[number] for number in before} == before
    assert len(after) == len(done) + 2
