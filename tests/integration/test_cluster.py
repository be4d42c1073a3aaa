"""The same draws on a dask cluster: workers with folders of their own, one killed half-way."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hierfit.atomic import sole
from hierfit.cli import main

from .test_grid import TROUBLE, WriteGrid, planned, run, seals, write_grid

distributed = pytest.importorskip("distributed")

__all__ = ["write_grid"]  # a fixture


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two worker processes in a folder each, neither of them the grid's."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(tmp_path / "workers")
    ) as found:
        monkeypatch.chdir(tmp_path)
        yield found


def figures(folder: Path) -> dict[str, Any]:
    card = json.loads((folder / "result.json").read_text())
    return {name: value for name, value in card.items() if name != "cost"}


def test_a_grid_comes_out_the_same_though_a_worker_is_killed(
    write_grid: WriteGrid, cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_grid()
    content = file.read_text().replace(str(tmp_path / "toy.yaml"), "toy.yaml")  # as seen from the grid's folder
    file.write_text(content)
    victims = [worker.pid for worker in cluster.workers.values()]

    def kill() -> None:
        while not seals(file):
            time.sleep(0.01)
        os.kill(victims[0], signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    main(["grid", "small.yaml", "--runs=runs", f"--cluster={cluster.scheduler_address}"])
    printed = capsys.readouterr().out
    assert "4 cells, 0 done already, 2 at a time" in printed
    assert "4/4 cells" in printed
    cells = planned(file).cells
    main(["grid", "small.yaml", "--runs=here", "--jobs=2"])
    for cell in cells:
        here = tmp_path / "here" / cell.folder.relative_to(tmp_path / "runs")
        assert figures(cell.folder) == figures(here)


def test_ctrl_c_reaches_the_workers(
    write_grid: WriteGrid,
    cluster: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    (tmp_path / "trouble.py").write_text(TROUBLE)
    monkeypatch.syspath_prepend(tmp_path)
    file = write_grid(methods={"sleeps": {"model": "trouble.Sleeps"}}, seeds=[0])
    (sleeping,) = planned(file).cells
    log, interrupted = sleeping.folder / "log.txt", list[float]()

    def interrupt() -> None:
        while not log.exists():
            time.sleep(0.05)
        time.sleep(0.5)
        interrupted.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(SystemExit) as stop:
        run(file, f"--cluster={cluster.scheduler_address}")
    assert stop.value.code == 130
    with sole(sleeping.folder, wait=True) as mine:  # the kernel lets go of it when its process is gone
        assert mine
    assert time.monotonic() - interrupted[0] < 30  # and not after the minute that it would have slept


def test_where_nobody_answers_it_is_said(write_grid: WriteGrid, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(write_grid(), "--cluster=nowhere")
    assert stop.value.code == 2
    assert "--cluster nowhere: no scheduler with a worker answers there" in capsys.readouterr().err
