"""Draws through any executor: what is done again after a death, what waits, what ends at once; and when a cell counts
as done."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from hierfit.atomic import sole
from hierfit.results.card import ResultCard
from hierfit.run.configure import Config
from hierfit.run.folder import RunState
from hierfit.search import engines
from hierfit.search.engines import Origin, run_draw
from hierfit.search.runner import Draw, Engine, Outcome, Reporter, RunCell, finished, in_draws, run, state

CARD = ResultCard("r", "e", "M", 0, {"card": "toy"}, {"source": "tiny"}, "val", ("a",), {})


def cell(card: str = "a", row: str = "r", shots: int | None = 1, seed: int = 0, runs: Path = Path("runs")) -> RunCell:
    config = Config({"row": row, "seed_everything": seed, "data": {"shots": shots}})
    config.__dict__["digest"] = "0123456789"  # of a card that need not exist
    return RunCell.of(runs, card, config)


def test_draws_keep_together_what_shares_data_and_the_last_are_shared_out() -> None:
    cells = [cell(row=row, seed=seed) for seed in (0, 1, 2) for row in "xyz"]
    draws = in_draws(cells, 2)
    assert draws == [tuple(cells[:3]), tuple(cells[3:6]), (cells[6], cells[8]), (cells[7],)]
    assert in_draws(cells, 3) == [tuple(cells[i : i + 3]) for i in (0, 3, 6)]
    assert sorted(map(len, in_draws(cells, 100))) == [1] * 9


def test_what_others_are_at_work_on_comes_last_and_an_engine_s_error_costs_one_draw() -> None:
    draws: list[Draw] = [(cell(row="x"), cell(row="busy")), (cell(row="lost"),), (cell(row="y"),)]
    asked: list[tuple[tuple[str, ...], bool]] = []
    pool = ThreadPoolExecutor(1)

    def work(draw: Draw, waits: bool, report: Reporter) -> list[Outcome]:
        asked.append((tuple(c.row for c in draw), waits))
        if draw[0].row == "lost":
            raise RuntimeError("the machine is gone")
        outcomes = [Outcome("busy" if c.row == "busy" and not waits else "done", card=CARD) for c in draw]
        report(draw[0], outcomes[0])
        return outcomes

    def submit(draw: Draw, waits: bool, report: Reporter) -> Future[list[Outcome]]:
        return pool.submit(work, draw, waits, report)

    heard: list[tuple[str, str]] = []
    run(draws, Engine(2, submit), lambda c, outcome: heard.append((c.row, outcome.kind)))
    assert heard == [("x", "done"), ("lost", "failed"), ("y", "done"), ("busy", "done")]
    assert asked[-1] == (("busy",), True)


def _work(cell: RunCell, waits: bool) -> Outcome:
    """In place of a run: its row says what happens."""
    cell.folder.mkdir(parents=True, exist_ok=True)
    with (cell.folder / "log.txt").open("a") as log:
        print(os.getpid(), file=log)
    died = (cell.folder / "died").exists()
    if cell.row == "dies" or (cell.row == "dies once" and not died):
        (cell.folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if cell.row == "sleeps":
        time.sleep(60)
    if cell.row == "crashes":
        return Outcome("failed", error="RuntimeError: no")
    return Outcome("failed", error="no", mistake=True) if cell.row == "refuses" else Outcome("done", card=CARD)


def _begin(origin: Origin) -> None:
    """In place of what a run's process sets up."""


@pytest.fixture
def fake_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_run_cell", _work)
    monkeypatch.setattr(engines, "_begin", _begin)


@pytest.mark.usefixtures("fake_runs")
def test_a_death_costs_one_cell_a_second_try_and_no_other_anything(tmp_path: Path) -> None:
    rows = ("x", "dies once", "y", "refuses", "z", "crashes", "v", "dies", "w")
    draw = tuple(cell(row=row, runs=tmp_path) for row in rows)
    heard: list[str] = []
    outcomes = run_draw(draw, False, Origin.here(1), lambda c, _: heard.append(c.row), lambda: False, forks=False)
    assert tuple(heard) == rows
    assert [o.kind for o in outcomes] == ["done", "done", "done", "failed", "done", "failed", "done", "failed", "done"]
    assert outcomes[7].error == "the process that ran it was ended by SIGKILL – out of memory?"
    logs = [(c.folder / "log.txt").read_text().splitlines() for c in draw]
    assert [len(log) for log in logs] == [1, 3, 1, 1, 1, 1, 1, 3, 1]
    assert logs[7][-1] == f"error: {outcomes[7].error}"
    numbers = [log[1] if len(log) == 3 and row == "dies once" else log[0] for row, log in zip(rows, logs, strict=True)]
    # One process until one dies, or an error nobody foresaw may have left it in any state.
    assert numbers[1] == numbers[2] == numbers[3] == numbers[4] == numbers[5]
    assert len({numbers[0], numbers[1], numbers[6], numbers[8]}) == 4


@pytest.mark.usefixtures("fake_runs")
def test_who_is_told_to_stop_stops_at_once(tmp_path: Path) -> None:
    draw = (cell(row="sleeps", runs=tmp_path),)
    stop = threading.Event()
    thread = threading.Thread(target=run_draw, args=(draw, False, Origin.here(1), lambda *_: None, stop.is_set, False))
    thread.start()
    while not (draw[0].folder / "log.txt").exists():
        time.sleep(0.02)
    started = time.monotonic()
    stop.set()
    thread.join()
    assert time.monotonic() - started < 5
    number = int((draw[0].folder / "log.txt").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_folder_names_are_safe_and_tell_cells_apart() -> None:
    assert cell("../cards/b.yaml", "no hierarchy (λ=0)", None, 3).folder == Path(
        "runs/cards-b.yaml/no-hierarchy-λ=0/all-s3-01234567"
    )


def test_a_cell_is_done_when_sealed_with_its_settings_and_readable(tmp_path: Path) -> None:
    mine = cell(runs=tmp_path)
    assert state(mine) == "to do"
    mine.folder.mkdir(parents=True)
    CARD.write(mine.folder)
    run_state = RunState(mine.folder, mine.config.digest)
    run_state.begin()
    run_state.release()
    assert state(mine) == "broken"  # begun, not tested
    run_state.reached("tested")
    assert state(mine) == "done"
    assert finished(mine) == CARD
    with sole(mine.folder, wait=False) as first, sole(mine.folder, wait=False) as second:
        assert (first, second) == (True, False)
    (mine.folder / "result.json").write_text("{}")
    with sole(mine.folder, wait=False):
        assert state(mine) == "running"
    assert state(mine) == "broken"
    CARD.write(mine.folder)
    RunState(mine.folder, "other").reached("tested")
    assert finished(mine) is None
    assert not list(mine.folder.parent.glob(".*.lock"))
