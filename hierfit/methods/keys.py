"""Ranges of hyper-parameters, as types of a method's ``__init__`` arguments; files and calls are held to the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

from annotated_types import Ge, Gt, Le, Lt

from hierfit.config.schema import argument_faults
from hierfit.errors import UserError

Positive: TypeAlias = Annotated[float, Gt(0)]
NotNegative: TypeAlias = Annotated[float, Ge(0)]
Count: TypeAlias = Annotated[int, Ge(1)]
Share: TypeAlias = Annotated[float, Ge(0), Le(1)]
PartialShare: TypeAlias = Annotated[float, Ge(0), Lt(1)]
OpenShare: TypeAlias = Annotated[float, Gt(0), Lt(1)]


def check_keys(method: type, keys: Mapping[str, Any], problems: Sequence[str] = ()) -> None:
    """Refuses hyper-parameters of another type or out of range, together with other ``problems``.

    Raises:
        UserError: Names every one of them.
    """
    if found := [*argument_faults(method, keys), *problems]:
        raise UserError(f"{method.__name__} cannot be set up", found)
