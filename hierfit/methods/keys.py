"""Ranges of hyper-parameters, as the types of a method's ``__init__`` arguments; one check reads them."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from hierfit.errors import UserError

Positive: TypeAlias = Annotated[float, Gt(0)]
NotNegative: TypeAlias = Annotated[float, Ge(0)]
Count: TypeAlias = Annotated[int, Ge(1)]
Share: TypeAlias = Annotated[float, Ge(0), Le(1)]
PartialShare: TypeAlias = Annotated[float, Ge(0), Lt(1)]
OpenShare: TypeAlias = Annotated[float, Gt(0), Lt(1)]


def check_keys(method: type, keys: Mapping[str, Any], problems: Sequence[str] = ()) -> None:
    """Refuses hyper-parameters out of range, together with other ``problems``.

    Raises:
        UserError: Names every one of them.
    """
    hints = get_type_hints(method.__init__, include_extras=True)  # type: ignore[misc]
    found = [problem for name, hint in hints.items() if name in keys for problem in _strays(name, keys[name], hint)]
    if found := [*found, *problems]:
        raise UserError(f"{method.__name__} cannot be set up", found)


def _strays(name: str, value: Any, hint: Any) -> Iterator[str]:
    """What is wrong with a value; of ``X | None`` it is held against X."""
    origin, parts = get_origin(hint), get_args(hint)
    if value is None:
        return
    if origin is Literal and value not in parts:
        yield f"{name} is {value!r}; it must be one of {', '.join(map(str, parts))}"
    elif origin is Annotated:
        if not all(_within(value, bound) for bound in parts[1:]):
            yield f"{name} is {value}; it must be {_range(parts[1:])}"
    elif origin is not Literal:
        for part in parts:
            if get_origin(part) in (Annotated, Literal):
                yield from _strays(name, value, part)


def _within(value: float, bound: Any) -> bool:
    compare, limit = {
        Gt: (operator.gt, "gt"),
        Ge: (operator.ge, "ge"),
        Lt: (operator.lt, "lt"),
        Le: (operator.le, "le"),
    }[type(bound)]
    return bool(compare(value, getattr(bound, limit)))


def _range(bounds: Sequence[Any]) -> str:
    match bounds:
        case [Gt(0)]:
            return "positive"
        case [Ge(least)]:
            return f"{least:g} or more"
        case [Gt(least) | Ge(least), Lt(most) | Le(most)]:
            first, last = "(" if isinstance(bounds[0], Gt) else "[", ")" if isinstance(bounds[1], Lt) else "]"
            return f"in {first}{least:g}, {most:g}{last}"
    return f"within {', '.join(map(str, bounds))}"
