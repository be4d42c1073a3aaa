"""The class tree: one numbering of its nodes, shared by losses, decoders and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hierfit.taxonomy.readers import read_taxonomy

if TYPE_CHECKING:
    from hierfit.taxonomy.tree import Taxonomy

__all__ = ["Taxonomy", "read_taxonomy"]


def __getattr__(name: str) -> Any:
    # `Taxonomy` brings torch, which the commands that only read, check and draw trees can do without.
    if name == "Taxonomy":
        from hierfit.taxonomy.tree import Taxonomy

        return Taxonomy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
