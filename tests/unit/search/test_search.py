"""What the search proposes, remembers and stops."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from hierfit.config.schema import Place
from hierfit.search.parameter import read_parameter
from hierfit.search.search import Search
from hierfit.search.sweep_file import EarlyTerminate, Metric, SweepFile
from hierfit.search.sweep_store import Record, Store

PLACE = Place(Path("f.yaml"))


def sweep(method: Any = "bayes", stops: EarlyTerminate | None = None, **parameters: Any) -> SweepFile:
    read = {name: read_parameter(entry, PLACE, []) for name, entry in parameters.items()}
    metric = Metric("val/fpa", "maximize")
    return SweepFile(PLACE, "s", "hierfit", method, metric, read, (), stops)  # type: ignore[arg-type]


LR = {"distribution": "log_uniform_values", "min": 0.001, "max": 1.0}


def peak(values: dict[str, Any]) -> float:
    """Best at lr 0.1 and kind b."""
    return -abs(math.log10(values["lr"]) + 1) + (values["kind"] == "b")


def test_a_grid_is_every_combination_once() -> None:
    file = sweep("grid", a={"values": [1, 2]}, b={"min": 0, "max": 2})
    search = Search(file, 0)
    search.recall(Record(0, {"a": 1, "b": 1}), 0.5)
    proposed = [found[1] for n in range(1, 9) if (found := search.propose(n))]
    assert proposed == [{"a": a, "b": b} for a in (1, 2) for b in (0, 1, 2) if (a, b) != (1, 1)]
    assert file.combinations == 6


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_with_the_same_past_the_same_values_are_drawn(method: str) -> None:
    file = sweep(method, lr=LR, kind={"values": ["a", "b"]})
    whole, cut = Search(file, 7), Search(file, 7)
    past: list[tuple[dict[str, Any], float]] = []
    for number in range(14):
        found = whole.propose(number)
        assert found
        trial, values = found
        past.append((values, peak(values)))
        whole.close(trial, peak(values))
    for number, (values, value) in enumerate(past[:12]):
        cut.recall(Record(number, values), value)
    assert [cut.propose(12)[1]] == [past[12][0]]  # type: ignore[index]
    assert len({values["lr"] for values, _ in past}) == 14


def test_bayes_finds_the_peak_sooner_than_chance() -> None:
    def found(method: str, seed: int) -> float:
        search = Search(sweep(method, lr=LR, kind={"values": ["a", "b", "c", "d"]}), seed)
        values = []
        for number in range(40):
            trial, drawn = search.propose(number)  # type: ignore[misc]
            search.close(trial, peak(drawn))
            values.append(peak(drawn))
        return sum(values[20:]) / 20

    assert sum(found("bayes", s) for s in range(3)) > sum(found("random", s) for s in range(3)) + 1


def test_nothing_is_tried_twice_and_a_small_space_ends() -> None:
    search = Search(sweep("random", a={"values": [1, 2, 3]}), 0)
    values = [found[1]["a"] for n in range(6) if (found := search.propose(n))]
    assert sorted(values) == [1, 2, 3]


def test_successive_halving_by_hand() -> None:
    search = Search(sweep("random", EarlyTerminate("hyperband", min_iter=2, eta=2), a={"min": 0.0, "max": 1.0}), 0)
    trials = [search.propose(n)[0] for n in range(4)]  # type: ignore[index]
    # After two validations a trial goes on if it is among the better half of those that came as far.
    for trial, value, stops in zip(trials, (0.5, 0.4, 0.6, 0.55), (True, True, False, False), strict=False):
        assert not search.stops(trial, 1, value)
        if trial is trials[0]:
            search.stops(trial, 2, value)
        else:
            assert search.stops(trial, 2, value) == stops
    # The next decision comes after four.
    assert not search.stops(trials[2], 3, 0.1)


def test_values_outside_the_space_are_known() -> None:
    search = Search(sweep(lr=LR), 0)
    assert search.holds({"lr": 0.5})
    assert not search.holds({"lr": 5.0})
    assert not search.holds({"rate": 0.5})


def test_the_parameter_that_matters_is_named() -> None:
    search = Search(sweep("random", lr=LR, idle={"min": 0.0, "max": 1.0}, fixed={"value": 1}), 1)
    for number in range(30):
        trial, values = search.propose(number)  # type: ignore[misc]
        search.close(trial, peak({**values, "kind": "a"}))
    shares = search.importances()
    assert next(iter(shares)) == "lr"
    assert sum(shares.values()) == pytest.approx(1)
    assert Search(sweep(lr=LR), 0).importances() == {}


def test_records_are_kept_whole(tmp_path: Path) -> None:
    store = Store(tmp_path / "trials")
    assert store.read() == []
    assert store.next_number() == 0
    records = [Record(n, {"lr": 0.1 / 3, "o": {"ce": [1, "é"]}}, {1: 0.1, 2: 0.2 / 3}, n == 1) for n in range(3)]
    for record in records:
        store.write(record)
    assert store.read() == records
    (tmp_path / "trials" / "0002.json").write_text('{"format": "hierfit.trial/1", "val')
    (tmp_path / "trials" / "0001.json").write_text(json.dumps({"format": "other"}))
    with pytest.warns(UserWarning, match="is damaged and left out"):
        assert store.read() == records[:1]
    assert store.next_number() == 3
