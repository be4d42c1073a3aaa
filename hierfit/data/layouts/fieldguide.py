"""Pictures that are drawn, not stored: the procedural butterflies of `hierfit.fieldguide`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from hierfit import fieldguide
from hierfit.data.table import Split, Table
from hierfit.fieldguide import Fieldguide as Guide

if TYPE_CHECKING:
    from hierfit.data.card import DataCard


# Whoever changes the drawing code changes the data: features of the old pictures must not be found. Read once, with the
# code: a process that is at work while the files change draws the old pictures still.
_CODE = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(Path(fieldguide.__path__[0]).glob("*.py")))).hexdigest()


@dataclass(frozen=True)
class Fieldguide:
    """A guide to draw from; there is no root.

    Attributes:
        guide: Which species there are and how hard their pictures are.
        per_leaf: Pictures of each leaf in each split.
    """

    guide: Guide = field(default_factory=Guide)
    per_leaf: Mapping[str, int] = field(default_factory=lambda: {"train": 64, "val": 8, "test": 20})

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """List the pictures; none is drawn yet."""
        taxonomy = self.guide.taxonomy
        splits = {
            name: Split(
                tuple(f"{name}/{leaf}/{i}" for leaf in range(taxonomy.num_leaves) for i in range(count)),
                taxonomy.leaves.repeat_interleave(count),
            )
            for name, count in self.per_leaf.items()
        }
        return Table(taxonomy, splits, Drawn(self.guide))


class Drawn:
    """The pictures of a guide; a key is ``split/leaf/index``."""

    def __init__(self, guide: Guide) -> None:
        self.guide = guide
        self._made_by = f"{guide!r} {_CODE}"

    def load(self, key: str) -> Image.Image:
        """Draw the picture."""
        split, leaf, index = key.split("/")
        return Image.fromarray(self.guide.draw(int(leaf), split, int(index)))

    def stamp(self, key: str) -> str:
        """A picture follows from its guide, the drawing code and its key."""
        return f"{self._made_by} {key}"
