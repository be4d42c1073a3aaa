"""What hostile files, a full disk and a scheduler do to a run, and that no secret reaches its folder."""

from __future__ import annotations

import errno
import os
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer

from hierfit.cli import main
from hierfit.errors import UserError
from hierfit.run.checkpoints import SelectOnVal, read_checkpoint
from hierfit.run.folder import STATE
from hierfit.run.scores import KeepTestLogits

from .conftest import Fit

SECRETS = {name: f"secret-{name}-0123456789" for name in ("WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY")}


class Runs:
    """What a pickle of it does when it is opened by a reader that runs code."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def stopped(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and last words of a command that does not come to its end."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert isinstance(stop.value.code, int)
    return stop.value.code, said


def test_no_checkpoint_runs_code(experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mark, path = tmp_path / "mark", tmp_path / "evil.ckpt"
    hostile: list[bytes | Any] = [
        pickle.dumps(Runs(mark)),
        pickle.dumps({"state_dict": Runs(mark)}, protocol=0),
        {"state_dict": {}, "callbacks": Runs(mark)},
        {"hyper_parameters": {"_class_path": "subprocess.Popen"}, "state_dict": {}},
        [torch.zeros(1)],
        b"",
        b"PK\x03\x04" + bytes(100),
    ]
    for content in hostile:
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        code, said = stopped(capsys, "test", f"--config={experiment}", f"--ckpt_path={path}")
        assert code == 2
        assert "evil.ckpt" in said
    sound = tmp_path / "sound.ckpt"
    torch.save({"state_dict": {"w": torch.randn(20)}}, sound)
    whole = sound.read_bytes()
    generator = torch.Generator().manual_seed(0)
    refused = 0
    for place in torch.randint(len(whole), (100,), generator=generator).tolist():  # any byte, and any length
        for bad in (whole[:place], whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :]):
            sound.write_bytes(bad)
            try:
                read_checkpoint(sound)
            except UserError:
                refused += 1
    assert refused >= 100  # all cut ones, and of the others those whose structure was hit
    assert not mark.exists()


def test_no_secret_reaches_a_run_folder(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    folder = fit("--wandb=offline", "--controls=null")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any("wandb" in path.parts for path in files)
    for path in files:
        content = path.read_bytes()
        assert [name for name, value in SECRETS.items() if value.encode() in content] == [], path


def test_asked_to_stop_it_saves_and_says_how_to_go_on(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log, scontrol = tmp_path / "log", tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    arguments = ["fit", f"--config={experiment}", "--controls=null"]
    validated = SelectOnVal.on_validation_end

    def then_signalled(number: int) -> Any:
        def hook(self: SelectOnVal, trainer: Trainer, pl_module: LightningModule) -> None:
            validated(self, trainer, pl_module)
            if trainer.global_step == 3:
                os.kill(os.getpid(), number)

        return hook

    for number in (signal.SIGTERM, signal.SIGINT):
        monkeypatch.setattr(SelectOnVal, "on_validation_end", then_signalled(number))
        code, said = stopped(capsys, *arguments, f"--runs={tmp_path / number.name}")
        assert code == 128 + number
        assert "after step 3, which is saved: the same command goes on from there" in said
    monkeypatch.setattr(SelectOnVal, "on_validation_end", validated)
    main([*arguments, f"--runs={tmp_path / 'SIGTERM'}"])
    assert "goes on from step 3" in capsys.readouterr().out
    assert not log.exists()  # a cancelled job is not to come back
    from hierfit.run.saving import requeue

    for variables, job in (
        ({"SLURM_JOB_ID": "7"}, "7"),
        ({"SLURM_ARRAY_JOB_ID": "8", "SLURM_ARRAY_TASK_ID": "2"}, "8_2"),
    ):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        requeue()
        assert log.read_text().splitlines()[-1] == f"requeue {job}"


@pytest.mark.parametrize("fails", ["checkpoint", "logits"])
def test_a_full_disk_costs_nothing_that_was_saved(
    fails: str, experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    arguments = ["fit", f"--config={experiment}", "--controls=null", "--save_every=0"]
    with monkeypatch.context() as patched:
        if fails == "checkpoint":
            patched.setattr(torch, "save", full)
        else:
            patched.setattr(KeepTestLogits, "on_test_end", full)
        code, said = stopped(capsys, *arguments)
    assert code == 2
    assert "No space left on device" in said
    (folder,) = (tmp_path / "runs" / "toy").glob("2*")
    assert '"begun"' in (folder / STATE).read_text()
    assert not list(folder.rglob("*.tmp"))
    main(arguments)
    assert '"done"' in (folder / STATE).read_text()
