"""The check of a method's hyper-parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hierfit.errors import UserError


def check_values(
    method: str,
    hparams: Mapping[str, Any],
    positive: Iterable[str],
    at_least: Mapping[str, float],
    problems: Iterable[str] = (),
) -> None:
    """Refuses hyper-parameters out of range, together with other ``problems``.

    Raises:
        UserError: Names every one of them.
    """
    found = list(problems)
    found += [f"{name} is {hparams[name]}; it must be positive" for name in positive if not hparams[name] > 0]
    found += [
        f"{name} is {hparams[name]}; it must be {least:g} or more"
        for name, least in at_least.items()
        if not hparams[name] >= least
    ]
    if found:
        raise UserError(f"{method} cannot be set up", found)
