"""Batches of pictures: to train on a random part of each, stretched to the tower's square, perhaps mirrored."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from hierfit.backbone import ImageTransform
from hierfit.data.batch import Batch
from hierfit.data.images import Files
from hierfit.data.loader import Step
from hierfit.data.samples import Images

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
        """Normalised pixels ``[3, S, S]``, float32, of a picture in RGB; five numbers are taken from chance, always."""
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


@dataclass(eq=False)
class PixelBatches(Dataset[Batch]):
    """Batches of pictures as the tower wants them, some of them kept.

    First come, first kept, until memory is spent. Nothing is thrown out: an epoch asks for every picture once, so the
    oldest is the one needed next.

    Attributes:
        transform: Gives the pixels of a picture; to train on, by chance.
        paths: Their node ids ``[n, L]``.
        seed: Of that chance: seed, epoch and row say what happens to each, and nothing else does.
        keep: Bytes each process may still keep: of pixels, or, where these vary, of decoded pictures.
    """

    keys: tuple[str, ...]
    images: Images
    transform: ImageTransform | TrainTransform
    paths: Tensor
    seed: int = 0
    keep: int = 0
    _kept: dict[int, Tensor | Image.Image] = field(default_factory=dict, init=False)

    def __getitem__(self, step: Step) -> Batch:
        pixels = [self._pixels(row, step.epoch) for row in step.rows.tolist()]
        side = self.transform.size
        return step.batch(torch.stack(pixels) if pixels else torch.empty(0, 3, side, side), self.paths)

    def _pixels(self, row: int, epoch: int) -> Tensor:
        found = self._kept.get(row)
        if found is None:
            picture = self.images.load(self.keys[row])
            found = picture if isinstance(self.transform, TrainTransform) else self.transform(picture)
            # Pillow pads RGB to four bytes.
            size = found.nbytes if isinstance(found, Tensor) else 4 * found.width * found.height
            if size <= self.keep:
                self.keep -= size
                self._kept[row] = found
        if isinstance(found, Tensor):
            return found
        assert isinstance(self.transform, TrainTransform)
        return self.transform(found, chance(self.seed, epoch, row))


def batches(
    keys: tuple[str, ...],
    images: Images,
    tower: ImageTransform,
    paths: Tensor,
    augment: tuple[float, bool] | None,
    seed: int,
    keep: int,
) -> PixelBatches:
    """Batches as the tower wants them; to train on, cropped to no less than this share, and perhaps mirrored."""
    if augment is None:
        return PixelBatches(keys, images, tower, paths, seed, keep)
    transform = TrainTransform(tower, *augment)
    images = Files(images.root, transform.least) if isinstance(images, Files) else images
    return PixelBatches(keys, images, transform, paths, seed, keep)
