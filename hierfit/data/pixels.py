"""Pictures that are in memory already."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from PIL import Image
from torch import Tensor


class Pixels:
    """The pictures of one array.

    Args:
        pixels: ``[n, H, W, 3]`` uint8. A tensor, so that workers that are spawned share its memory.
        keys: Of the n pictures.
    """

    def __init__(self, pixels: Tensor, keys: Sequence[str]) -> None:
        self.pixels = pixels
        self._row = {key: row for row, key in enumerate(keys)}

    def load(self, key: str) -> Image.Image:
        """The picture in RGB."""
        return Image.fromarray(self.pixels[self._row[key]].numpy())

    def stamp(self, key: str) -> str:
        """Hash of the pixels: features are found again wherever the array came from."""
        pixels = self.pixels[self._row[key]].numpy()
        return f"{pixels.shape} {hashlib.sha256(pixels.tobytes()).hexdigest()}"
