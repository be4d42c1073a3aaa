"""Who meets W&B."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb
from lightning.pytorch.utilities import rank_zero_only

from hierfit.errors import UserError
from hierfit.run.keys import WandbMode
from hierfit.run.loggers import WandbRun, loggers, responds, settled_mode


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


@pytest.fixture
def silent_server() -> Iterator[str]:
    """One that takes calls and never says a word: a network that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_network_that_hangs_is_left_after_a_moment(silent_server: str) -> None:
    start = time.monotonic()
    assert not responds(silent_server, seconds=0.3)
    assert not responds("http://127.0.0.1:9", seconds=0.3)
    assert not responds("no address", seconds=0.3)
    assert time.monotonic() - start < 5


def test_wandb_without_a_network_is_kept_offline_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert settled_mode("auto", tmp_path) == "offline"
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "does not answer: kept offline; later: wandb sync" in said
    with pytest.raises(UserError, match="does not answer"):
        settled_mode("online", tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert settled_mode("auto", tmp_path) == "disabled"


def test_online_by_name_without_a_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(UserError, match="no key is configured"):
        settled_mode("online", tmp_path)


def test_where_wandb_is_not_installed_it_is_missed_by_those_alone_who_want_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hierfit.run.loggers.find_spec", lambda name: None)
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert settled_mode("auto", tmp_path) == settled_mode("disabled", tmp_path) == "disabled"
    for mode in ("online", "offline"):
        with pytest.raises(UserError, match="W&B is not installed"):
            settled_mode(mode, tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["auto", "online"])
def test_a_run_that_wandb_refuses_goes_on_offline_unless_online_was_asked_for(
    mode: WandbMode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = []

    def init(**named: object) -> object:
        begun.append(named["mode"])
        if named["mode"] == "online":
            raise wandb.errors.CommError("401: denied\nmore")
        return SimpleNamespace(disabled=True, offline=True)

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr("hierfit.run.loggers.settled_mode", lambda *_: "online")
    _, logger = loggers(tmp_path, mode, "experiment", "row", "id")
    assert isinstance(logger, WandbRun)
    if mode == "online":
        with pytest.raises(UserError, match="W&B does not take the run: 401: denied"):
            _ = logger.experiment
        return
    _ = logger.experiment
    assert begun == ["online", "offline"]
    said = capsys.readouterr().out
    assert said.startswith("W&B does not take the run: 401: denied: kept offline; later: wandb sync ")
    assert said.count("\n") == 1
