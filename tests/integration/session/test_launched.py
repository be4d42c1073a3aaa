"""Processes that torchrun or SLURM starts: one run, one voice, and the same end as one process alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch

from hierfit.cli import main
from hierfit.results.card import ResultCard
from hierfit.run.folder import STATE


def free_port() -> int:
    """Of this machine."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def start(command: Sequence[str | Path], variables: Mapping[str, object] = {}) -> subprocess.Popen[str]:
    """A program whose two outputs come as one."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **{k: str(v) for k, v in variables.items()}}
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, command)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def ended(*programs: subprocess.Popen[str], code: int = 0) -> str:
    """What they have said when all have ended as they should."""
    try:
        said = "".join(program.communicate(timeout=240)[0] for program in programs)
    finally:
        for program in programs:
            program.kill()
    assert [program.returncode for program in programs] == [code] * len(programs), said
    return said


def fit(experiment: Path, folder: Path, **options: object) -> list[str]:
    """The command line of a run."""
    given = {"trainer.max_steps": 20, "trainer.val_check_interval": 10, **options}
    return [
        "hierfit", "fit", f"--config={experiment}", "--controls=null", f"--folder={folder}",
        *(f"--{name}={value}" for name, value in given.items()),
    ]  # fmt: skip


def assert_as_alone(experiment: Path, folder: Path, **options: object) -> None:
    """A run of several processes has the figures of one process."""
    torch.set_num_threads(1)
    main(fit(experiment, folder.with_name("alone"), **options)[1:])
    cards = [ResultCard.read(path) for path in (folder, folder.with_name("alone"))]
    for decoder, figures in cards[0].metrics.items():
        # Images that are nearly equally sure may change places in the curve, and cross a bin's edge.
        close = {name: value for name, value in figures.items() if name not in ("haurc", "ece")}
        assert {name: cards[1].metrics[decoder][name] for name in close} == pytest.approx(close, abs=1e-6)
        assert cards[1].metrics[decoder] == pytest.approx(figures, abs=2e-3)
    assert cards[0].val == pytest.approx(cards[1].val, abs=1e-6)
    assert cards[0].cost["steps"] == cards[1].cost["steps"]


def test_torchrun_stops_and_goes_on(experiment: Path, tmp_path: Path) -> None:
    folder, steps = tmp_path / "two", {"trainer.max_steps": 200, "trainer.val_check_interval": 100}
    torchrun = ["torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}", "-m"]
    command = [*torchrun, *fit(experiment, folder, save_every=0, **{"trainer.devices": 2}, **steps)]
    program = start(command)
    while not (folder / "checkpoints" / "last.ckpt").is_file() and program.poll() is None:
        time.sleep(0.05)
    program.send_signal(signal.SIGTERM)
    said = ended(program, code=1)
    assert said.count("stopped by SIGTERM after step ") == 1, said
    assert '"begun"' in (folder / STATE).read_text()
    said = ended(start(command))
    assert said.count("goes on from step ") == 1
    assert said.count("TICE (lower is better)") == 1
    assert_as_alone(experiment, folder, **steps)
    assert not list(folder.rglob("*last*.ckpt"))


def test_two_nodes_of_torchrun(experiment: Path, tmp_path: Path) -> None:
    port = free_port()
    torchrun = ["torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1"]
    command = fit(experiment, tmp_path / "two", **{"trainer.devices": 1, "trainer.num_nodes": 2})
    nodes = [start([*torchrun, f"--master-port={port}", f"--node-rank={i}", "-m", *command]) for i in range(2)]
    assert ended(*nodes).count("TICE (lower is better)") == 1
    assert_as_alone(experiment, tmp_path / "two")


def slurm(task: int) -> dict[str, object]:
    """What SLURM tells one of two tasks."""
    facts = {"JOB_ID": 7, "NTASKS": 2, "NTASKS_PER_NODE": 2, "NODEID": 0, "PROCID": task, "LOCALID": task}
    return {f"SLURM_{name}": value for name, value in facts.items()}


def test_two_tasks_of_slurm(experiment: Path, tmp_path: Path) -> None:
    """As srun starts them: Lightning's own reading of SLURM's variables."""
    command = fit(experiment, tmp_path / "two", **{"trainer.devices": 2})
    shared = {"SLURM_JOB_NAME": "hierfit", "SLURM_NNODES": 1, "SLURM_NODELIST": "127.0.0.1", "MASTER_PORT": free_port()}
    tasks = [start(command, {**slurm(i), **shared}) for i in range(2)]
    assert ended(*tasks).count("TICE (lower is better)") == 1
    assert_as_alone(experiment, tmp_path / "two")


def test_processes_the_trainer_does_not_expect_are_refused(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torchrun: dict[str, object] = {"TORCHELASTIC_RUN_ID": 1, "WORLD_SIZE": 2, "RANK": 0, "LOCAL_RANK": 0}
    launches = {"torchrun": {**torchrun, "GROUP_RANK": 0}, "SLURM": slurm(0)}
    for name, variables in launches.items():
        with monkeypatch.context() as set_up:
            for variable, value in variables.items():
                set_up.setenv(variable, str(value))
            with pytest.raises(SystemExit) as end:
                main(fit(experiment, tmp_path / name)[1:])
        assert end.value.code == 2
        assert f"{name} has started 2 processes, but trainer.devices is 1" in capsys.readouterr().err
        assert not (tmp_path / name).exists()
    for variable, value in launches["SLURM"].items():
        monkeypatch.setenv(variable, str(value))
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(SystemExit):
        main(fit(experiment, tmp_path / "by tasks")[1:])
    assert "Give sbatch --ntasks-per-node." in capsys.readouterr().err
