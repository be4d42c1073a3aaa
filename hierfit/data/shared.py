"""What the runs of one process share: data sets, towers, and the features of a draw."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import fields, replace
from typing import Any, TypeVar

from torch import Tensor, nn

from hierfit.data.batch import Task

T = TypeVar("T")


class Shared:
    """Remembers what was made under a key; one a process, in the hands of whoever starts several runs there.

    Whoever gets a thing only reads it, or takes a copy; see `own_task`.

    Args:
        most: Things of a kind that are kept; of more, the one used longest ago goes. A key's first entry is its kind.
    """

    def __init__(self, most: int = 1) -> None:
        self.most = most
        self._kept: dict[Hashable, OrderedDict[Hashable, Any]] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What was made under this key, or is now."""
        kept = self._kept.setdefault(key[0] if isinstance(key, tuple) and key else key, OrderedDict())
        if key not in kept:
            while len(kept) >= self.most:  # before making the next, so that both need not fit
                kept.popitem(last=False)
            kept[key] = make()
        kept.move_to_end(key)
        found: T = kept[key]
        return found


def get_or_make(shared: Shared | None, key: Hashable, make: Callable[[], T]) -> T:
    """`Shared.get` where there is something to share, else a new one."""
    return make() if shared is None else shared.get(key, make)


def own_task(task: Task) -> Task:
    """A task with copies of its own of whatever a method may change: towers, which LoRA wraps, and tensors.

    So a run finds what it would find alone.
    """
    values = {f.name: getattr(task, f.name) for f in fields(task)}
    own: dict[str, Any] = {k: copy.deepcopy(v) for k, v in values.items() if isinstance(v, Tensor | nn.Module)}
    return replace(task, **own)
