"""Hierarchy-aware LoRA (arXiv 2512.21529): LoRA in the towers under the losses of the tree; see README.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hierfit.methods.hier_lora.lightning import HierLoRA

__all__ = ["HierLoRA"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Lightning takes seconds to import, and merging an adapter does not need it.
    from hierfit.methods.hier_lora.lightning import HierLoRA

    return HierLoRA
