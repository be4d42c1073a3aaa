"""What the runs of one process share, see `hierfit.data.shared`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.data.shared import Shared

T = TypeVar("T")


@contextmanager
def shared_data(ready: Callable[[], None] = lambda: None) -> Iterator[None]:
    """While open, runs of this process read a data set once, and encode or look up a draw once.

    Args:
        ready: Called whenever data are ready to be used.
    """

    class Calling(Shared):
        def get(self, key: Hashable, make: Callable[[], T]) -> T:
            found = super().get(key, make)
            if isinstance(key, tuple) and key[0] == "task":
                ready()
            return found

    HierarchicalDataModule.shared = Calling()
    try:
        yield
    finally:
        HierarchicalDataModule.shared = None
