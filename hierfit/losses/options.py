"""Checks of the options that losses take from configuration files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TypeAlias

from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.spelling import Speller

PerLevel: TypeAlias = float | Sequence[float] | Mapping[str, float]
"""One number for all levels, a list of one a level coarse to fine, or numbers by level name (others: 0)."""

_LEAVES = "leaf"


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raises a UserError that lists the choices, unless ``value`` is one."""
    if value not in choices:
        raise UserError(f"{name} is {value!r}; it must be {' or '.join(choices)}")


def check_number(name: str, value: object, low: float = 0.0, below: float = math.inf) -> float:
    """``value`` as a float.

    Raises:
        UserError: It is no number in [low, below).
    """
    if isinstance(value, Real) and not isinstance(value, bool) and low <= (number := float(value)) < below:
        return number
    allowed = f"at least {low:g}" + (f" and below {below:g}" if below < math.inf else "")
    raise UserError(f"{name} is {value!r}; it must be a number, {allowed}")


def per_level(name: str, value: object, taxonomy: Taxonomy, below: float = math.inf) -> list[float]:
    """One number in [0, below) for each level.

    Raises:
        UserError: Its problems name every wrong number, every level that does not exist, or the wrong length.
    """
    levels = taxonomy.levels
    problems: list[str] = []
    given: dict[str, object]
    if isinstance(value, Mapping):
        speller = Speller(levels)
        problems += [
            f"{name} names the level {level!r}, which does not exist{speller.did_you_mean(str(level))}"
            for level in value
            if level not in levels
        ]
        given = {level: value.get(level, 0.0) for level in levels}
    elif isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != len(levels):
            problems.append(f"{name} lists {len(value)} numbers; there are {len(levels)} levels")
        given = dict(zip(levels, value, strict=False))
    else:
        return [check_number(name, value, below=below)] * len(levels)

    numbers = []
    for level, entry in given.items():
        try:
            numbers.append(check_number(f"{name} at {level}", entry, below=below))
        except UserError as error:
            problems.append(error.summary)
    if problems:
        raise UserError(f"{name} does not fit the levels {', '.join(levels)}", problems)
    return numbers


def per_level_and_leaves(
    name: str, value: object, taxonomy: Taxonomy, below: float = math.inf
) -> tuple[list[float], float | None]:
    """`per_level`, and the number under ``leaf``: that of the leaves, at whatever depth.

    Returns:
        One number for each level, and that of the leaves; None where it is not given, or where ``leaf`` is the name of
        a level.

    Raises:
        UserError: As `per_level`.
    """
    if not isinstance(value, Mapping) or _LEAVES not in value or _LEAVES in taxonomy.levels:
        return per_level(name, value, taxonomy, below), None
    problems: list[str] = []
    numbers, of_leaves = [], 0.0
    try:
        numbers = per_level(name, {key: x for key, x in value.items() if key != _LEAVES}, taxonomy, below)
    except UserError as error:
        problems += error.problems
    try:
        of_leaves = check_number(f"{name} at {_LEAVES}", value[_LEAVES], below=below)
    except UserError as error:
        problems.append(error.summary)
    if problems:
        raise UserError(f"{name} does not fit the levels {', '.join(taxonomy.levels)}", problems)
    return numbers, of_leaves
