"""The class tree: one numbering of its nodes, shared by losses, decoders and metrics."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hierfit.taxonomy.readers import read_taxonomy
    from hierfit.taxonomy.tree import Taxonomy

__all__ = ["Taxonomy", "read_taxonomy"]

# On first use: `Taxonomy` brings torch, which the commands that read, check and draw trees can do without.
_LAZY = {"Taxonomy": "tree", "read_taxonomy": "readers"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
