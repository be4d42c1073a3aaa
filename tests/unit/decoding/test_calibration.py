"""Bins and ECE: by hand, and against a slow loop."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hierfit.decoding.calibration import reliability


def test_by_hand() -> None:
    found = reliability(torch.tensor([0.5, 0.5, 0.75, 1.0]), torch.tensor([True, False, True, False]), bins=2)
    assert found.count.tolist() == [2, 2]
    assert found.confidence.tolist() == [0.5, 0.875]
    assert found.accuracy.tolist() == [0.5, 0.5]
    assert found.ece == pytest.approx(0.5 * 0 + 0.5 * 0.375)


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), max_size=40), st.integers(1, 20))
def test_as_a_slow_loop_counts(pairs: list[tuple[float, bool]], bins: int) -> None:
    confidence = torch.tensor([c for c, _ in pairs], dtype=torch.float32)
    found = reliability(confidence, torch.tensor([r for _, r in pairs], dtype=torch.bool), bins)
    binned: dict[int, list[tuple[float, bool]]] = {}
    for sure, right in pairs:
        binned.setdefault(max(1, math.ceil(sure * bins)) - 1, []).append((sure, right))
    gaps = [abs(sum(c for c, _ in b) - sum(r for _, r in b)) for b in binned.values()]
    assert found.count.tolist() == [len(binned.get(b, ())) for b in range(bins)]
    assert (math.isnan(found.ece) and not pairs) or found.ece == pytest.approx(sum(gaps) / len(pairs), abs=1e-9)


def test_what_is_no_probability_is_refused() -> None:
    for bad in (1.5, -0.1, math.nan):
        with pytest.raises(ValueError, match="outside"):
            reliability(torch.tensor([bad]), torch.tensor([True]))
    with pytest.raises(ValueError, match="one length"):
        reliability(torch.tensor([0.5]), torch.tensor([True, False]))
