"""Methods, one folder each. Importing a method imports Lightning; this module alone does not."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hierfit.methods.base import Method
    from hierfit.methods.hier_lora import HierLoRA
    from hierfit.methods.lathadapter import LatHAdapter
    from hierfit.methods.zero_shot import ZeroShot

_HOMES = {"Method": "base", "HierLoRA": "hier_lora", "LatHAdapter": "lathadapter", "ZeroShot": "zero_shot"}

__all__ = ["HierLoRA", "LatHAdapter", "Method", "ZeroShot"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
