"""Training pictures: a random part of each, stretched to the tower's square, perhaps mirrored."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from hierfit.backbone import ImageTransform

_ASPECT = 4 / 3
"""Sides of a crop are at most 4 : 3, lying or standing; the field's value since the Inception crop."""

_TORCH_FILTERS = {Image.Resampling.BILINEAR: "bilinear", Image.Resampling.BICUBIC: "bicubic"}

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class TrainTransform:
    """Random resized crop and mirroring, before the tower's own filter and normalisation; picklable.

    The crop of Szegedy et al. (2015), in closed form: the aspect is drawn from those at which the drawn area fits,
    so that nothing has to be rejected and areas are uniform.

    Attributes:
        tower: The transform of evaluation: side S, filter, mean and deviation are taken from it.
        area: Smallest share of a picture's area a crop keeps; the largest is 1.
        flip: Mirror every other picture, left to right.
    """

    tower: ImageTransform
    area: float = 0.5
    flip: bool = True

    def __call__(self, image: Image.Image, chance: np.random.Generator) -> Tensor:
        """Preprocesses one picture.

        Args:
            image: In RGB.
            chance: Five numbers are taken from it, whatever the settings.

        Returns:
            Normalised pixels ``[3, S, S]``, float32.
        """
        area, aspect, left, top, mirror = chance.random(5).tolist()
        area = self.area + area * (1 - self.area)
        levels = self._resized(image.crop(crop_box(*image.size, area, aspect, left, top)))
        if self.flip and mirror < 0.5:
            levels = levels.flip(-1)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.tower.mean, self.tower.std))
        return levels.float().mul_(self.tower.scale).sub_(mean).div_(std)

    @property
    def size(self) -> int:
        """Side of the square that pictures become, pixels."""
        return self.tower.size

    @property
    def least(self) -> int:
        """Sides a picture may be coarsened to, pixels: the smallest square crop is then twice as fine as the output."""
        return math.ceil(2 * self.size / math.sqrt(self.area))

    def _resized(self, image: Image.Image) -> Tensor:
        """Grey levels ``[3, S, S]``, uint8."""
        size = (self.size, self.size)
        mode = _TORCH_FILTERS.get(self.tower.resample)
        if mode is None:
            return torch.from_numpy(np.array(image.resize(size, self.tower.resample))).permute(2, 0, 1)
        # The same filters as Pillow's, rounded a little differently, in half the time.
        levels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
        return F.interpolate(levels, size, mode=mode, antialias=True)[0]


def crop_box(width: int, height: int, area: float, aspect: float, left: float, top: float) -> Box:
    """A part of a picture, in whole pixels.

    A part of area share a has a legal aspect r (width over height) and fits into a picture of aspect q where
    max(3/4, a·q) ≤ r ≤ min(4/3, q/a). No r does for long pictures and large a: the largest legal part is taken then.

    Args:
        width: Of the picture, pixels.
        height: Of the picture, pixels.
        area: Share of the picture's area, in (0, 1].
        aspect: In [0, 1): place of the aspect's logarithm between its bounds.
        left: In [0, 1): place of the part between the left and right edge.
        top: In [0, 1): place of the part between the upper and lower edge.

    Returns:
        Left, upper, right and lower edge, as Pillow counts them.
    """
    whole = width / height
    low, high = max(1 / _ASPECT, area * whole), min(_ASPECT, whole / area)
    if low <= high:
        ratio = low * (high / low) ** aspect
        w, h = math.sqrt(area * width * height * ratio), math.sqrt(area * width * height / ratio)
    else:
        ratio = min(max(whole, 1 / _ASPECT), _ASPECT)
        w, h = min(width, height * ratio), min(height, width / ratio)
    columns, rows = min(max(round(w), 1), width), min(max(round(h), 1), height)
    x, y = int(left * (width - columns + 1)), int(top * (height - rows + 1))
    return x, y, x + columns, y + rows


def chance(seed: int, epoch: int, row: int) -> np.random.Generator:
    """What happens to a sample in an epoch: the same on any number of processes and workers, and after a resume."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch, row)))
