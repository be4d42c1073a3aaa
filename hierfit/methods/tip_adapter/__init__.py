"""Tip-Adapter and Tip-Adapter-F: a cache of the training images beside zero-shot; see README.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hierfit.methods.tip_adapter.lightning import TipAdapter, TipAdapterF

__all__ = ["TipAdapter", "TipAdapterF"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Lightning takes seconds to import, and predicting does not need it.
    from hierfit.methods.tip_adapter import lightning

    return getattr(lightning, name)
