"""Which cell a worker gets, what a tally says, and when a cell counts as done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hierfit.results.card import ResultCard
from hierfit.search.cell import Cell, cell_folder, claimed, clear, finished, seal, state
from hierfit.search.orders import Outcome
from hierfit.search.pool import Pool, _Worker
from hierfit.search.progress import Tally


def cell(card: str = "a", row: str = "r", shots: int | None = 1, seed: int = 0, runs: Path = Path("runs")) -> Cell:
    digest = f"{abs(hash((card, row, shots, seed))):x}".zfill(8)
    return Cell(card, row, shots, seed, (), {}, digest, cell_folder(runs, card, row, shots, seed, digest))


def waiting(cells: list[Cell], cold: set[str], at_work: list[Cell], elsewhere: list[Cell] | None = None) -> Pool:
    pool = Pool(jobs=4)
    pool._pending, pool._cold, pool._elsewhere = list(cells), set(cold), elsewhere or []
    pool._workers = [_Worker(None, None, slot, at) for slot, at in enumerate(at_work)]  # type: ignore[arg-type]
    return pool


def chosen(pool: Pool, last: Cell | None = None) -> Cell | None:
    order = pool._next(last)
    return order.cell if order else None


def test_a_worker_stays_with_its_draw_then_with_its_card() -> None:
    cells = [cell("a", seed=1), cell("b", seed=0), cell("b", seed=1)]
    assert chosen(waiting(cells, set(), []), last=cell("b", row="q", seed=1)) == cells[2]
    assert chosen(waiting(cells[:2], set(), []), last=cell("b", row="q", seed=1)) == cells[1]
    assert chosen(waiting(cells, set(), []), last=cell("c")) == cells[0]


def test_a_new_worker_takes_the_card_with_fewest_others() -> None:
    cells = [cell("a", seed=1), cell("b")]
    assert chosen(waiting(cells, set(), [cell("a")])) == cells[1]
    assert chosen(waiting(cells, set(), [cell("a"), cell("b", seed=3), cell("b", seed=4)])) == cells[0]


def test_nobody_starts_on_a_card_that_another_is_the_first_to_encode() -> None:
    cells = [cell("a", seed=1), cell("b")]
    assert chosen(waiting(cells[:1], {"a"}, [cell("a")])) is None
    assert chosen(waiting(cells, {"a", "b"}, [cell("a")])) == cells[1]
    assert chosen(waiting(cells[:1], set(), [cell("a")])) == cells[0]


def test_what_another_grid_is_at_work_on_comes_last_and_is_waited_for() -> None:
    pool = waiting([cell("a")], set(), [], elsewhere=[cell("b")])
    first, second = pool._next(None), pool._next(None)
    assert first is not None
    assert second is not None
    assert (first.cell.card, first.wait) == ("a", False)
    assert (second.cell.card, second.wait) == ("b", True)
    assert pool._next(None) is None


def test_a_tally_counts_and_tells_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("hierfit.search.progress.time.monotonic", lambda: now)
    tally = Tally(total=10, done=4)
    assert tally.pace() == "starting"
    now = 160.0
    for kind in ("done", "failed"):
        tally.count(Outcome(kind))  # type: ignore[arg-type]
    assert str(tally) == "5/10 done · 1 failed"
    assert tally.pace() == "2.0/min · 0:02:00 to go"


def test_folder_names_are_safe_and_tell_cells_apart() -> None:
    folder = cell_folder(Path("runs"), "../cards/b.yaml", "no hierarchy (λ=0)", None, 3, "0123456789")
    assert folder == Path("runs/cards-b.yaml/no-hierarchy-λ=0/all-s3-01234567")


def test_a_cell_is_done_when_sealed_with_its_settings_and_readable(tmp_path: Path) -> None:
    mine = cell(runs=tmp_path)
    card = ResultCard("r", "e", "M", 0, {"card": "toy"}, {"source": "tiny"}, "val", ("a",), {})
    assert state(mine) == "to do"
    clear(mine)
    card.write(mine.folder)
    assert state(mine) == "broken"  # not sealed
    seal(mine)
    assert state(mine) == "done"
    assert finished(mine) == card
    with claimed(mine, wait=False) as first, claimed(mine, wait=False) as second:
        assert (first, second) == (True, False)
    (mine.folder / "result.json").write_text("{}")
    with claimed(mine, wait=False):
        assert state(mine) == "running"
    assert state(mine) == "broken"
    card.write(mine.folder)
    content = json.loads((mine.folder / "cell.json").read_text())
    (mine.folder / "cell.json").write_text(json.dumps(content | {"digest": "other"}))
    assert finished(mine) is None
    clear(mine)
    assert not list(mine.folder.iterdir())
    assert not list(mine.folder.parent.glob(".*.lock"))
