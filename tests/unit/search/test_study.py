"""What the search proposes, remembers, shares and stops."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hierfit.atomic import sole
from hierfit.config.schema import Place
from hierfit.errors import UserError
from hierfit.results.card import ResultCard
from hierfit.search.parameter import Parameter
from hierfit.search.study import Judge, Search, _StopEarly
from hierfit.search.sweep_file import EarlyTerminate, Metric, SweepFile

PLACE = Place(Path("f.yaml"))
CARD = ResultCard("r", "e", "M", 0, {"card": "toy"}, {"source": "tiny"}, "val", ("a",), {}, cost={"steps": 6})
LR = {"distribution": "log_uniform_values", "min": 0.001, "max": 1.0}


def sweep(method: Any = "bayes", stops: EarlyTerminate | None = None, **parameters: Any) -> SweepFile:
    read = {name: Parameter.from_yaml(entry, PLACE, []) for name, entry in parameters.items()}
    metric = Metric("val/fpa", "maximize")
    return SweepFile(PLACE, "s", "hierfit", method, metric, read, (), stops)  # type: ignore[arg-type]


def search(tmp_path: Path, file: SweepFile, seed: int = 0, call: str = "here") -> Search:
    return Search(file, tmp_path / "trials.journal", "s", seed, tmp_path / call)


def peak(values: dict[str, Any]) -> float:
    """Best at lr 0.1 and kind b."""
    return -abs(math.log10(values["lr"]) + 1) + (values.get("kind") == "b")


def reach(judge: Judge, value: float | None) -> None:
    judge.conclude(replace(CARD, val={} if value is None else {"val/fpa": value}))


def proposed(study: Search, count: int) -> list[dict[str, Any]]:
    """Values of trials that are done at once."""
    found = []
    for _ in range(count):
        if (one := study.propose()) is not None:
            reach(one[0], peak({"lr": 0.1, **one[2]}))
            found.append(one[2])
    return found


def test_a_grid_is_every_combination_once_also_by_two_calls(tmp_path: Path) -> None:
    file = sweep("grid", a={"values": [1, 2]}, b={"min": 0, "max": 2})
    both = search(tmp_path, file), search(tmp_path, file, call="there")
    values = [v for n in range(4) for v in proposed(both[n % 2], 2)]
    assert values == [{"a": a, "b": b} for a in (1, 2) for b in (0, 1, 2)]
    assert file.combinations == len(both[0].done()) == len(both[1].done())


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_with_the_same_past_the_same_values_are_drawn(method: str, tmp_path: Path) -> None:
    file = sweep(method, lr=LR, kind={"values": ["a", "b"]})
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = proposed(search(tmp_path / "whole", file, seed=7), 13)
    assert proposed(search(tmp_path / "cut", file, seed=7), 12) == whole[:12]
    assert proposed(search(tmp_path / "cut", file, seed=7), 1) == whole[12:]
    assert len({values["lr"] for values in whole}) == 13


def test_bayes_finds_the_peak_sooner_than_chance(tmp_path: Path) -> None:
    def found(method: str, seed: int) -> float:
        folder = tmp_path / f"{method}{seed}"
        study = search(folder, sweep(method, lr=LR, kind={"values": ["a", "b", "c", "d"]}), seed)
        return sum(peak(values) for values in proposed(study, 36)[18:]) / 18

    assert sum(found("bayes", s) for s in range(3)) > sum(found("random", s) for s in range(3)) + 1


def test_nothing_is_tried_twice_and_a_small_space_ends(tmp_path: Path) -> None:
    values = [v["a"] for v in proposed(search(tmp_path, sweep("random", a={"values": [1, 2, 3]})), 5)]
    assert sorted(values) == [1, 2, 3]


def test_what_failed_or_was_cut_off_runs_again_under_its_number(tmp_path: Path) -> None:
    file = sweep("grid", a={"values": [1, 2, 3, 4]})
    with sole(tmp_path / "first", wait=False):
        first = search(tmp_path, file, call="first")
        for fate in ("done", "failed", "cut off", "unmeasured"):
            judge, number, _ = first.propose()  # type: ignore[misc]
            if fate in ("done", "unmeasured"):
                reach(judge, 0.5 if fate == "done" else None)
            assert first.fail(judge.number) == (fate != "done") if fate != "cut off" else number == 2
        assert search(tmp_path, file).under_way == 1  # it is at work
    again = search(tmp_path, file, call="second")
    found = [again.propose() for _ in range(4)]
    assert sorted((one[1], one[2]["a"]) for one in found if one) == [(1, 2), (2, 3), (3, 4)]
    assert [done.number for done in again.done()] == [0]


def test_successive_halving_by_hand(tmp_path: Path) -> None:
    stops = EarlyTerminate("hyperband", min_iter=2, eta=2)
    study = search(tmp_path, sweep("random", stops, a={"min": 0.0, "max": 1.0}))
    judges = [study.propose()[0] for _ in range(4)]  # type: ignore[index]
    followers = [judge.watchers()[0] for judge in judges]
    # After two validations a trial goes on if it is among the better half of those that came as far.
    for follower, value, stopped in zip(followers, (0.5, 0.4, 0.6, 0.55), (False, True, False, False), strict=True):
        assert isinstance(follower, _StopEarly)
        assert not follower.stops(value)
        assert follower.stops(value) == stopped
    # The next decision comes after four.
    assert not followers[2].stops(0.1)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("strict", "stopped"), [(True, True), (False, False)])
def test_a_lenient_decision_is_about_the_best_so_far(tmp_path: Path, strict: bool, stopped: bool) -> None:
    stops = EarlyTerminate("hyperband", min_iter=2, eta=2, strict=strict)
    study = search(tmp_path, sweep("random", stops, a={"min": 0.0, "max": 1.0}))
    for number, values in enumerate(((0.5, 0.6), (0.9, 0.2))):
        (follower,) = study.propose()[0].watchers()  # type: ignore[index]
        assert [follower.stops(value) for value in values] == [False, number == 1 and stopped]  # type: ignore[attr-defined]


def test_another_range_keeps_the_trials_that_lie_in_it(tmp_path: Path) -> None:
    kinds = {"values": ["a", "b"]}
    values = proposed(search(tmp_path, sweep("random", lr=LR, kind=kinds)), 8)
    least = sorted(v["lr"] for v in values)[3]
    narrower = search(tmp_path, sweep("bayes", lr={**LR, "min": least}, kind={"values": ["b", "c", "a"]}))
    assert len(narrower.done()) == 5
    assert len(narrower.outside()) == 3
    assert all(v["lr"] >= least for v in proposed(narrower, 3))
    assert search(tmp_path, sweep(rate=LR)).done() == []


def test_the_parameter_that_matters_is_named(tmp_path: Path) -> None:
    study = search(tmp_path, sweep("random", lr=LR, idle={"min": 0.0, "max": 1.0}, fixed={"value": 1}), 1)
    assert study.importances() == {}
    proposed(study, 30)
    shares = study.importances()
    assert next(iter(shares)) == "lr"
    assert sum(shares.values()) == pytest.approx(1)


def test_a_damaged_journal_is_said(tmp_path: Path) -> None:
    proposed(search(tmp_path, sweep(lr=LR)), 1)
    journal = tmp_path / "trials.journal"
    journal.write_text("{" + journal.read_text())
    with pytest.raises(UserError, match=r"trials\.journal is damaged"):
        search(tmp_path, sweep(lr=LR))
