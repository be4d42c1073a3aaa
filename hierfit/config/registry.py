"""Things that a configuration names: those that hierfit brings, and anything else by its import path."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Generic, TypeVar

from hierfit.config.schema import nearest
from hierfit.errors import UserError

T = TypeVar("T")


class Registry(dict[str, T], Generic[T]):
    """Things of one kind by name. `find` also takes the import path of one that a user wrote: ``my_file.my_loss``."""

    def __init__(self, kind: str, known: Mapping[str, T]) -> None:
        super().__init__(known)
        self.kind = kind

    def find(self, name: str) -> T:
        """What a name or an import path stands for."""
        if name in self:
            return self[name]
        if "." not in name:
            raise UserError(f"there is no {self.kind} {name!r}{nearest(name, self)}")
        found: T = imported(name, self.kind)
        return found


def imported(path: str, kind: str) -> Any:
    """What stands at an import path ``module.name``."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except Exception as error:  # whatever a user's file raises while it is imported
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{kind} {path!r} cannot be imported: {reason}") from error
