"""Costly results kept in memory, up to a budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """A function of a key that remembers its results: first come, first kept, until the budget is spent.

    Nothing is ever thrown out: an epoch asks for every key once, so the oldest result is the one needed next.

    Args:
        make: Gives the result of a key.
        size: Bytes a result takes.
        budget: Bytes all of them may take; 0 keeps none.
    """

    def __init__(self, make: Callable[[str], T], size: Callable[[T], int], budget: int) -> None:
        self._make, self._size, self._left = make, size, budget
        self._kept: dict[str, T] = {}

    def __call__(self, key: str) -> T:
        if key in self._kept:
            return self._kept[key]
        result = self._make(key)
        size = self._size(result)
        if size <= self._left:
            self._left -= size
            self._kept[key] = result
        return result
