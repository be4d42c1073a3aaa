"""Pictures that are drawn, not stored: the procedural butterflies of `hierfit.fieldguide`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from PIL import Image

from hierfit import fieldguide as drawing
from hierfit.data.home import Home
from hierfit.data.samples import Sample, names_of
from hierfit.fieldguide import Fieldguide as Guide

# Whoever changes the drawing code changes the data: features of the old pictures must not be found. Read once, with the
# code: a process that is at work while the files change draws the old pictures still.
_FILES = [Path(drawing.__path__[0], f"{name}.py") for name in ("draw", "guide", "outline")]
_DRAWING_CODE = hashlib.sha256(b"".join(file.read_bytes() for file in _FILES)).hexdigest()
_GUIDE = Guide()


def fieldguide(
    home: Home, *, guide: Guide = _GUIDE, per_leaf: Mapping[str, int] = {"train": 64, "val": 8, "test": 20}
) -> Iterator[Sample]:
    """A guide to draw from; there is no root, and none is drawn yet.

    Args:
        guide: Which species there are and how hard their pictures are.
        per_leaf: Pictures of each leaf in each split.
    """
    home.tree, home.images, home.names, home.empty = guide.taxonomy, GuidePictures(guide), None, list(per_leaf)
    for split, count in per_leaf.items():
        for leaf, label in enumerate(names_of(guide.taxonomy, guide.taxonomy.leaves)):
            yield from (Sample(split, f"{split}/{leaf}/{i}", label) for i in range(count))


class GuidePictures:
    """The pictures of a guide; a key is ``split/leaf/index``."""

    def __init__(self, guide: Guide) -> None:
        self.guide = guide
        self._made_by = f"{guide!r} {_DRAWING_CODE}"

    def load(self, key: str) -> Image.Image:
        """Draw the picture."""
        split, leaf, index = key.split("/")
        return Image.fromarray(self.guide.draw(int(leaf), split, int(index)))

    def stamp(self, key: str) -> str:
        """A picture follows from its guide, the drawing code and its key."""
        return f"{self._made_by} {key}"
