"""The class tree: one numbering of its nodes, shared by losses, decoders and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hierfit.lazy import on_first_use

if TYPE_CHECKING:
    from hierfit.taxonomy.readers import read_taxonomy
    from hierfit.taxonomy.tree import Taxonomy

__all__ = ["Taxonomy", "read_taxonomy"]

# `Taxonomy` brings torch, which the commands that read, check and draw trees can do without.
__getattr__ = on_first_use(__name__, {"tree": "Taxonomy", "readers": "read_taxonomy"})
