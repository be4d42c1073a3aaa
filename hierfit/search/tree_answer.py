"""Does the tree help? One answer from what the true tree changes against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hierfit.search.tree_effect import Comparison

Outcome = Literal["helps", "no evidence", "hurts", "no verdict"]

SPOKEN = {
    "flat": "no tree",
    "zero-shot": "zero-shot",
    "shuffled": "a shuffled tree",
    "truncated": "a truncated tree",
    "induced": "an induced tree",
}
"""What the true tree is held against, as a sentence says it; the first two decide, the third must fall short."""

_DECIDE = ("flat", "zero-shot")


@dataclass(frozen=True)
class Answer:
    """The verdict on a tree.

    Attributes:
        outcome: ``helps`` only where the true tree beats no tree and zero-shot, and a shuffled one falls short of it;
            ``hurts`` where it falls short of no tree or of zero-shot; ``no verdict`` where one of the two was not run.
        sentence: The same in words, with its figures.
        remark: Whether the truncated tree differs from the flat one; empty where that was not asked.
    """

    outcome: Outcome
    sentence: str
    remark: str = ""


def conclude(
    compared: Mapping[str, Comparison],
    metric: str,
    shares: bool = True,
    truncated_against_flat: Comparison | None = None,
) -> Answer:
    """The verdict.

    Args:
        compared: The true tree against others and against zero-shot, by name.
        metric: What is compared: ``H`` or ``leaf accuracy``.
        shares: Whether the method shares anything along the tree; else no shuffled tree can be tried.
        truncated_against_flat: The truncated tree against the flat one, where both were tried.
    """
    remark = "" if truncated_against_flat is None else _on_truncated(truncated_against_flat, metric)
    if compared and all(found.same for found in compared.values()):
        return Answer("no evidence", "No difference: every test sample is given the same leaf on every tree.", remark)
    missing = [SPOKEN[name] for name in _DECIDE if name not in compared]
    if missing:
        return Answer("no verdict", f"No verdict: the true tree was not held against {' and '.join(missing)}.", remark)
    outcome = _outcome(compared)
    said = {"helps": "The tree helps", "hurts": "The tree hurts"}.get(outcome, "No evidence that the tree helps")
    figures = ", ".join(
        f"{_amount(compared[name])}{f' points of {metric}' if i == 0 else ''} over {SPOKEN[name]}"
        for i, name in enumerate(name for name in (*_DECIDE, "shuffled") if name in compared)
    )
    first = compared["flat"]
    seeds, samples = first.over_seeds.n, first.over_samples.n
    over = f"{seeds} seed{'s' if seeds > 1 else ''}, {samples} test samples"
    reasons = "" if outcome != "no evidence" else _reasons(compared, shares, seeds)
    return Answer(outcome, f"{said}: {figures} ({over}).{reasons}", remark)


def _outcome(compared: Mapping[str, Comparison]) -> Outcome:
    decide = [compared[name].effect for name in _DECIDE]
    if "hurts" in decide:
        return "hurts"
    shuffled = compared.get("shuffled")
    helps = decide == ["helps", "helps"] and shuffled is not None and shuffled.effect == "helps"
    return "helps" if helps else "no evidence"


def _reasons(compared: Mapping[str, Comparison], shares: bool, seeds: int) -> str:
    if seeds == 1:
        return " One seed is no evidence."
    asked = [name for name in (*_DECIDE, "shuffled") if name in compared]
    unsure = [SPOKEN[name] for name in asked if compared[name].effect != "helps"]
    said = f" Not beyond chance: over {' and over '.join(unsure)}." if unsure else ""
    if "shuffled" in compared:
        return said
    if not shares:
        return f"{said} The method shares nothing along the tree: no shuffled one can show that it is this tree."
    return f"{said} No shuffled tree was tried."


def _on_truncated(found: Comparison, metric: str) -> str:
    if found.same:
        return "Truncated equals flat: every test sample is given the same leaf, with every seed."
    figure = f"truncated − flat: {_amount(found)} points of {metric}"
    if found.effect in ("helps", "hurts"):
        return f"{figure[0].upper()}{figure[1:]}."
    return f"Truncated equals flat as far as can be told ({figure})."


def _amount(found: Comparison) -> str:
    """``+2.12 ± 0.57``; what is the same for sure has no interval."""
    mean = points(found.over_seeds.mean)
    return f"{mean} ± {100 * found.over_seeds.half_width:.2f}" if found.over_seeds.n > 1 else mean


def points(fraction: float) -> str:
    """``+2.12``, with a minus sign as wide as the plus."""
    return f"{100 * fraction:+.2f}".replace("-", "−")
