"""A run that is ended at any moment goes on with the same command and ends as if nothing had happened."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import time
from pathlib import Path
from types import ModuleType

import pytest
import torch

from hierfit.cli import main
from hierfit.run.progress import STATE


@pytest.fixture(scope="module")
def kills() -> ModuleType:
    """The benchmark's way of running and comparing."""
    path = Path(__file__).parents[2] / "bench" / "bench_kills.py"
    spec = importlib.util.spec_from_file_location("bench_kills", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wait_for(path: Path, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.01)


def test_killed_twice_it_ends_the_same(kills: ModuleType, experiment: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    arguments = ["fit", f"--config={experiment}", "--save_every=0", "--trainer.max_steps=40"]
    main([*arguments, f"--runs={tmp_path / 'whole'}"])
    killed = [*arguments, f"--runs={tmp_path / 'killed'}"]
    log = tmp_path / "log"
    started = time.monotonic()
    assert kills.run([*arguments, f"--runs={tmp_path / 'other'}"], log) == 0, log.read_text()
    seconds = time.monotonic() - started
    for share in (0.3, 0.5):
        assert kills.run(killed, log, share * seconds) == -signal.SIGKILL
    assert kills.run(killed, log) == 0, log.read_text()
    assert kills.differences(kills.only(tmp_path / "whole"), kills.only(tmp_path / "killed")) == []
    folder = kills.only(tmp_path / "killed")
    assert json.loads((folder / STATE).read_text())["stage"] == "done"
    assert not list(folder.rglob("*last*.ckpt"))
    main(killed)  # it is finished: the same command is a new run
    assert len(list((tmp_path / "killed" / "toy").glob("2*"))) == 2
    shutil.rmtree(tmp_path / "killed")
