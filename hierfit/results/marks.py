"""What the differences of one table say, when all of them are looked at together."""

from __future__ import annotations

from collections.abc import Sequence

from hierfit.results.statistics import Verdict, holm

LEVEL = 0.05
LEAST = 0.002
"""Share of the test samples: nothing below 0.2 points is called a help or harm, however sure it is."""


def verdicts(tests: Sequence[tuple[float, float, bool]], least: Sequence[float] | None = None) -> list[Verdict]:
    """What each difference says, its p corrected over all of them (Holm).

    Args:
        tests: Difference, p and whether higher is better.
        least: Smallest difference that is called one; `LEAST` for all if None.
    """
    corrected = holm([p for _, p, _ in tests])
    found: list[Verdict] = []
    for i, ((mean, _, higher_is_better), p) in enumerate(zip(tests, corrected, strict=True)):
        small = round(abs(mean), 9) < (LEAST if least is None else least[i])
        if p > LEVEL or small:
            found.append("no evidence")
        else:
            found.append("helps" if (mean > 0) == higher_is_better else "hurts")
    return found
