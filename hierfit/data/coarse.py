"""Coarse labels: what is left of labels when only the upper levels of a tree are told."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from hierfit.config.schema import nearest
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy


def depth_of(levels: Iterable[str], level: str) -> int:
    """Depth of the level that ``data.train_level`` names.

    Raises:
        UserError: There is no such level; names the nearest.
    """
    levels = list(levels)
    if level not in levels:
        raise UserError(f"data.train_level: there is no level {level!r}{nearest(level, levels)}")
    return levels.index(level)


def coarsened(nodes: Tensor, taxonomy: Taxonomy, depth: int) -> Tensor:
    """Each node's ancestor at ``depth``, or itself where it lies above that ``[...]``; −1 stays −1."""
    return taxonomy.paths(nodes)[..., : depth + 1].amax(dim=-1)  # ids grow with depth
