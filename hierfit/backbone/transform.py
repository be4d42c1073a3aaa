"""The preprocessing a tower was trained with, in Pillow, from the image processor's own settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hierfit.errors import UserError

_LARGEST = 8
"""Times the tower's side that the shorter edge may have before the crop; more would be a fault, or a trap."""


@dataclass(frozen=True)
class ImageTransform:
    """Turns a picture into a tower's input; picklable, so that loader workers carry it and not the model.

    Equals transformers' own Pillow processors. (Resampling only what the crop keeps, with `resize(box=…)`, is
    faster; but Pillow picks the order of its two passes by the sizes it is given, and the pictures differ.)

    Attributes:
        size: Side S of the output, pixels.
        shortest_edge: Side the shorter edge is resized to before the centre crop (CLIP); None squeezes the
            whole picture into the square (SigLIP).
        mean: Subtracted from the three channels, which lie in 0–1.
        std: Divides them after that.
        resample: Pillow's filter.
        scale: Factor from grey levels to 0–1.
    """

    size: int
    shortest_edge: int | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: Image.Resampling = Image.Resampling.BICUBIC
    scale: float = 1 / 255

    def __call__(self, image: Image.Image) -> Tensor:
        """Preprocesses one picture of any mode and size; transparency is laid on white.

        Returns:
            Normalised pixels `[3, S, S]`, float32.
        """
        image = _rgb(image)
        if self.shortest_edge is None:
            image = image.resize((self.size, self.size), self.resample)
        else:
            short = min(image.size)
            # The longer side is cut to whole pixels, not rounded, as the processors do.
            width, height = (int(self.shortest_edge * side / short) for side in image.size)
            left, top = (width - self.size) // 2, (height - self.size) // 2
            image = image.resize((width, height), self.resample)
            image = image.crop((left, top, left + self.size, top + self.size))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float()
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        return (pixels * self.scale - mean) / std

    @classmethod
    def from_processor(cls, processor: Any, image_size: int, where: str) -> ImageTransform:
        """Reads the settings of a transformers image processor.

        Args:
            processor: The image processor.
            image_size: Side of the pictures the tower takes, pixels.
            where: Shown in errors.

        Raises:
            UserError: The settings ask for something else than resize, centre crop, rescale, normalise, or do
                not fit the tower.
        """
        size, crop = processor.size, processor.crop_size if processor.do_center_crop else None
        square = (image_size, image_size)
        cropped = crop is not None and (crop.height, crop.width) == square
        squeezed = (size.height, size.width) == square and (cropped or crop is None)
        shortened = cropped and (size.shortest_edge or 0) >= image_size and size.longest_edge is None
        problems = [
            f"{key} is off" for key in ("do_resize", "do_rescale", "do_normalize") if not getattr(processor, key)
        ]
        if shortened and size.shortest_edge > _LARGEST * image_size:
            problems.append(f"resizing to {size.shortest_edge} pixels to crop {image_size} of them")
        if not squeezed and not shortened:
            problems.append(
                f"resizing to {_sides(size)} and cropping to {_sides(crop)} does not give the {image_size} × "
                f"{image_size} pixels the tower takes"
            )
        mean, std = _channels(processor.image_mean), _channels(processor.image_std)
        if len(mean) != 3 or len(std) != 3:
            problems.append("image_mean and image_std need three numbers each")
        if problems:
            raise UserError(f"{where}: this image preprocessing is not supported", problems)
        return cls(
            size=image_size,
            shortest_edge=size.shortest_edge,
            mean=mean,
            std=std,
            resample=Image.Resampling(processor.resample),
            scale=float(processor.rescale_factor),
        )


def _channels(values: float | Sequence[float] | None) -> Any:
    return (float(values),) * 3 if isinstance(values, int | float) else tuple(float(v) for v in values or ())


def _sides(size: Any) -> str:
    return str({key: value for key, value in vars(size).items() if value is not None}) if size else "nothing"


def _rgb(image: Image.Image) -> Image.Image:
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
