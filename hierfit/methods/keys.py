"""Ranges of hyper-parameters, as types of a method's ``__init__`` arguments; files and calls are held to the same."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from annotated_types import Ge, Gt, Le, Lt

Positive: TypeAlias = Annotated[float, Gt(0)]
NotNegative: TypeAlias = Annotated[float, Ge(0)]
Count: TypeAlias = Annotated[int, Ge(1)]
Share: TypeAlias = Annotated[float, Ge(0), Le(1)]
PartialShare: TypeAlias = Annotated[float, Ge(0), Lt(1)]
OpenShare: TypeAlias = Annotated[float, Gt(0), Lt(1)]
