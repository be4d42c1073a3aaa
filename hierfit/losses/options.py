"""Options that losses take from configuration files: read where they are used, so that every caller is checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TypeAlias

from hierfit.config.reading import nearest
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

PerLevel: TypeAlias = float | Sequence[float] | Mapping[str, float]
"""One number for all levels, a list of one a level coarse to fine, or numbers by level name (others: 0)."""

_LEAVES = "leaf"


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raises a UserError that lists the choices, unless ``value`` is one."""
    if value not in choices:
        raise UserError(f"{name} is {value!r}; it must be {' or '.join(choices)}")


def check_number(name: str, value: object, low: float = 0.0, below: float = math.inf) -> float:
    """``value`` as a float; a UserError if it is no number in [low, below)."""
    if isinstance(value, Real) and not isinstance(value, bool) and low <= (number := float(value)) < below:
        return number
    allowed = f"at least {low:g}" + (f" and below {below:g}" if below < math.inf else "")
    raise UserError(f"{name} is {value!r}; it must be a number, {allowed}")


def per_level(
    name: str, value: object, taxonomy: Taxonomy, below: float = math.inf, leaves: bool = False
) -> tuple[list[float], float | None]:
    """One number in [0, below) for each level; and, where asked for, that under ``leaf``: of leaves at any depth.

    Returns:
        ``[L]`` numbers, and that of the leaves; None where it is not given, or where ``leaf`` is the name of a level.

    Raises:
        UserError: Its problems name every wrong number, every level that does not exist, or the wrong length.
    """
    levels = taxonomy.levels
    if isinstance(value, Mapping):
        named = (*levels, _LEAVES) if leaves and _LEAVES in value and _LEAVES not in levels else levels
        problems = [
            f"{name} names the level {level!r}, which does not exist{nearest(str(level), levels)}"
            for level in value
            if level not in named
        ]
        given = {level: value.get(level, 0.0) for level in named}
    elif isinstance(value, Sequence) and not isinstance(value, str):
        fits = len(value) == len(levels)
        problems = [] if fits else [f"{name} lists {len(value)} numbers; there are {len(levels)} levels"]
        given = dict(zip(levels, value, strict=False))
    else:
        return [check_number(name, value, below=below)] * len(levels), None
    numbers = {}
    for level, entry in given.items():
        try:
            numbers[level] = check_number(f"{name} at {level}", entry, below=below)
        except UserError as error:
            problems.append(error.summary)
    if problems:
        raise UserError(f"{name} does not fit the levels {', '.join(levels)}", problems)
    return [numbers[level] for level in levels], numbers.get(_LEAVES) if _LEAVES not in levels else None
