"""What the benches' table rests on: medians, ratios within a round, targets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
from harness import Claim, in_turns, markdown, ratio


def test_ways_take_turns_and_warmup_does_not_count() -> None:
    order: list[str] = []
    values = iter(range(100))

    def way(name: str) -> float:
        order.append(name)
        return float(next(values))

    taken = in_turns({"a": lambda: way("a"), "b": lambda: way("b")}, rounds=2, warmup=1)
    assert order == list("ababab")
    assert taken == {"a": [2.0, 4.0], "b": [3.0, 5.0]}


def test_a_ratio_is_taken_round_by_round() -> None:
    # The machine is ten times slower in the second round: that is not the way's fault.
    assert Claim("x ÷ y", ratio([2.0, 30.0, 3.0], [1.0, 10.0, 1.0])).quartiles == (2.5, 3.0, 3.0)
    assert Claim("x", [4.0]).quartiles == (4.0, 4.0, 4.0)


@pytest.mark.parametrize(
    ("target", "better", "holds"),
    [(2.0, "less", True), (1.9, "less", False), (2.0, "more", True), (2.1, "more", False), (None, "less", True)],
)
def test_a_claim_keeps_to_its_target(target: float | None, better: str, holds: bool) -> None:
    claim = Claim("x ÷ y", [2.0, 2.0], target, better=better)  # type: ignore[arg-type]
    assert claim.holds == holds


def test_the_table_is_markdown() -> None:
    facts = {"gpu": None, "cpu": "some CPU", "cores": 2, "load": 0.25, "torch": "2", "commit": "abc"}
    claims = [Claim("fast", [1.0, 1.2, 1.1], 1.15), Claim("lean", [50.0], 100, "×", "more")]
    lines = markdown(claims, facts).splitlines()
    assert "2 cores of some CPU, load 0.2" in lines[0]
    assert lines[-2:] == ["| fast | ≤ 1.15 × | 1.10 × (1.05–1.15) | yes |", "| lean | ≥ 100 × | 50.0 × | **no** |"]
