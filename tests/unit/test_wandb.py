"""Who meets W&B."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
from lightning.pytorch.utilities import rank_zero_only

from hierfit.errors import UserError
from hierfit.run.keys import WandbMode
from hierfit.run.saving import Curves
from hierfit.run.wandb import WandbRun, settled_mode, wandb_run, wanted_mode


@pytest.fixture(autouse=True)
def nobody_is_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setattr(WandbRun, "silent", False)


def begun(folder: Path, mode: WandbMode, trains: bool = True) -> WandbRun | None:
    return wandb_run(Curves(folder), mode, trains, "row", "experiment", "id")


def test_only_the_first_of_several_processes_reads_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # An agent's variables reach every process; its values do so on the command line, the same for all.
    started = []
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    monkeypatch.setenv("WANDB_RUN_ID", "run1")
    monkeypatch.setattr(wandb, "init", lambda **named: started.append(named))
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = begun(tmp_path, "offline")
    assert logger is not None
    logger.log_metrics({"val/fpa": 0.5}, step=1)
    logger.experiment.finish()
    assert not started
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("key", "environment", "asked", "wanted", "mode"),
    [
        ("", "", "auto", None, "offline"),  # the curves alone
        ("", "", "offline", "offline", "offline"),
        ("", "", "online", "online", "no key is configured"),
        ("", "", "disabled", "disabled", "disabled"),
        ("", "offline", "auto", "offline", "offline"),
        ("x", "", "auto", "auto", "online"),
        ("x", "disabled", "auto", "disabled", "disabled"),
        ("x", "", "online", "online", "online"),
    ],
)
def test_how_wandb_is_run(
    key: str, environment: str, asked: WandbMode, wanted: str | None, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_MODE", environment)
    assert wanted_mode(asked) == wanted
    if " " in mode:
        with pytest.raises(UserError, match=mode):
            settled_mode(wanted)
    else:
        assert settled_mode(wanted) == mode


def test_where_wandb_is_not_installed_it_is_missed_by_those_alone_who_want_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hierfit.run.wandb.find_spec", lambda name: None)
    assert begun(tmp_path, "auto") is begun(tmp_path, "disabled") is None
    for mode in ("online", "offline"):
        with pytest.raises(UserError, match="W&B is not installed"):
            begun(tmp_path, mode)  # type: ignore[arg-type]


def test_a_test_without_training_goes_to_wandb_where_that_is_wanted(tmp_path: Path) -> None:
    assert begun(tmp_path, "auto", trains=False) is None
    assert begun(tmp_path, "offline", trains=False) is not None


@pytest.mark.parametrize("mode", ["auto", "online"])
def test_a_run_that_wandb_refuses_goes_on_offline_unless_online_was_asked_for(
    mode: WandbMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    modes = []

    def init(**named: Any) -> object:
        modes.append(named["mode"])
        if named["mode"] == "online":
            raise wandb.errors.CommError("401: denied\nmore")
        return SimpleNamespace(disabled=True, offline=True)

    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr(wandb, "init", init)
    logger = begun(tmp_path, mode)
    assert logger is not None
    if mode == "online":
        with pytest.raises(UserError, match="W&B does not take the run: 401: denied"):
            _ = logger.experiment
        return
    _ = logger.experiment
    assert modes == ["online", "offline"]
    said = capsys.readouterr().out
    assert said.startswith("W&B does not take the run: 401: denied: kept offline; later: wandb sync ")
    assert said.count("\n") == 1
    # The next run of the process does not ask again.
    following = begun(tmp_path, mode)
    assert following is not None
    _ = following.experiment
    assert modes == ["online", "offline", "offline"]


def test_a_network_that_does_not_answer_is_left_after_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hierfit.run.wandb._INIT_TIMEOUT", 0.5)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    logger = begun(tmp_path, "auto")
    assert logger is not None
    logger.experiment.finish()
    assert "kept offline; later: wandb sync" in capsys.readouterr().out
    assert list((tmp_path / "wandb").glob("offline-run-*"))
