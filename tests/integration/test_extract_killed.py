"""``hierfit features extract`` over two processes, ended by kill -9: the same command goes on and ends the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PICTURES, PART, PATIENCE = 480, 16, 120.0
ROOT = str(Path(__file__).parents[2])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of four classes."""
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        path = tmp_path / "pictures" / str(number % 4) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return tmp_path / "pictures"


def start(folder: Path, out: Path, devices: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hierfit", "features", "extract", str(folder), f"--out={out}"]
    options = [f"--part={PART}", f"--devices={devices}", "--workers=0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ROOT}
    return subprocess.Popen(
        [*command, *options], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children_of(process: subprocess.Popen[str]) -> list[int]:
    """Its other processes, and not Python's resource tracker."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(c) for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]


def finished(out: Path) -> int:
    """Parts that are done."""
    return len(list(out.with_name(f".{out.name}.parts").glob("[0-9]*.safetensors")))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes by /proc")
def test_two_processes_killed_one_after_the_other_end_the_same(folder: Path, tmp_path: Path) -> None:
    undisturbed = start(folder, tmp_path / "whole.safetensors", 1)
    out = tmp_path / "killed.safetensors"
    first = start(folder, out, 2)
    until(lambda: finished(out) > 1)
    children = children_of(first)
    assert len(children) == 1  # the first one encodes, too
    first.kill()  # the one that plans and prints
    first.communicate()
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))  # nobody is left behind
    done = finished(out)
    assert 2 <= done < PICTURES // PART

    second = start(folder, out, 2)
    until(lambda: finished(out) > done + 1)
    os.kill(children_of(second)[-1], signal.SIGKILL)
    _, said = second.communicate(timeout=PATIENCE)
    assert second.returncode == 2
    assert "one of the processes has ended; what is done is kept" in said
    assert "Traceback" not in said
    assert not out.exists()

    third = start(folder, out, 2)
    told, said = third.communicate(timeout=PATIENCE)
    assert third.returncode == 0, said
    assert "parts are there already" in told
    assert undisturbed.wait(PATIENCE) == 0
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert not list(tmp_path.glob(".*"))
