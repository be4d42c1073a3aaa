"""How many training images a leaf had, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def shots_text(data: Mapping[str, Any]) -> str:
    """``16 shots a leaf``, ``≤ 16 shots a leaf (median 3)`` where some leaves have fewer, or ``all training images``.

    Args:
        data: Of a result card.
    """
    shots, counts = data.get("shots"), data.get("train_per_leaf")
    if shots is None:
        return "all training images"
    found = [counts.get(name) for name in ("min", "median")] if isinstance(counts, Mapping) else []
    if all(isinstance(number, int | float) for number in found) and found and found[0] < shots:
        return f"≤ {shots} shots a leaf (median {found[1]:g})"
    return f"{shots} shots a leaf"
