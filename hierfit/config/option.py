"""What the text of an option on the command line means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

MOST_SEED = 2**32 - 1
_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?")  # YAML 1.1 takes them for mappings and for numbers to base 60


def option_value(text: str) -> Any:
    """YAML, and a number also where YAML 1.1 sees text, as in ``1e-3``; slices (``-2:``, ``2:10``) are text."""
    if _SLICE.fullmatch(text):
        return text
    try:
        value = yaml.safe_load(text)
        return float(value) if isinstance(value, str) else value
    except (yaml.YAMLError, ValueError):
        return text


def seed_problem(key: str, seed: int) -> str:
    """What is wrong with a seed, which NumPy must take, too; empty if nothing is."""
    return "" if 0 <= seed <= MOST_SEED else f"{key}: {seed}, must be 0 to {MOST_SEED}"


def slices_with_dots(arguments: Sequence[str]) -> list[str]:
    """A command line whose slices of layers (``--model.layers=-2:``) are text to every reader of YAML: ``-2..``."""
    spelled = []
    for word in arguments:
        option, _, value = word.partition("=")
        slice_ = option.endswith(".layers") and _SLICE.fullmatch(value)
        spelled.append(f"{option}={value.replace(':', '..')}" if slice_ else word)
    return spelled
