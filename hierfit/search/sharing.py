"""What the runs of one process share: the data set they read, and the features of a draw."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from hierfit.data import datamodule, prepare
from hierfit.data.card import DataCard
from hierfit.data.prepare import Prepared

T = TypeVar("T")


@contextmanager
def shared_data(ready: Callable[[], None] = lambda: None, tables: int = 1, draws: int = 1) -> Iterator[None]:
    """While open, runs of this process read a data set once, and encode or look up a draw once.

    A table is only ever read, so all runs get the same one. Of a prepared draw, whatever a method may change (towers,
    which LoRA wraps and a trainer moves; tensors, which a method may train) is given to each run as a copy of its own,
    so that a run finds what it would find alone.

    Args:
        ready: Called whenever data are ready to be used.
        tables: Data sets kept; the one used longest ago goes first.
        draws: Draws kept.
    """
    # The data module knows nothing of grids: what it calls is replaced from here, and put back.
    read, prepared = _Kept(vars(prepare)["read_table"], tables), _Kept(vars(datamodule)["prepare"], draws)

    def prepare_or_copy(*arguments: Any, **named: Any) -> Prepared:
        found: Prepared = prepared(*arguments, **named)
        ready()
        return _with_own_task(found)

    vars(prepare)["read_table"], vars(datamodule)["prepare"] = read, prepare_or_copy
    try:
        yield
    finally:
        vars(prepare)["read_table"], vars(datamodule)["prepare"] = read.make, prepared.make


class _Kept(Generic[T]):
    """A function that remembers its last results."""

    def __init__(self, make: Callable[..., T], size: int) -> None:
        self.make = make
        self._size = size
        self._results: OrderedDict[str, T] = OrderedDict()

    def __call__(self, *arguments: Any, **named: Any) -> T:
        key = repr([_name(value) for value in (*arguments, *sorted(named.items()))])
        if key not in self._results:
            while len(self._results) >= self._size:  # before making the next, so that both need not fit
                self._results.popitem(last=False)
            self._results[key] = self.make(*arguments, **named)
        self._results.move_to_end(key)
        return self._results[key]


def _name(value: object) -> object:
    """Something short that stands for an argument."""
    return (str(value.path), value.fingerprint) if isinstance(value, DataCard) else value


def _with_own_task(found: Prepared) -> Prepared:
    values = {f.name: getattr(found.task, f.name) for f in fields(found.task)}
    own: dict[str, Any] = {k: copy.deepcopy(v) for k, v in values.items() if isinstance(v, Tensor | nn.Module)}
    return replace(found, task=replace(found.task, **own))
