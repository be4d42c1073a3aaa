"""The preprocessing a tower was trained with, in Pillow, from the image processor's own settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        """Normalised pixels `[3, S, S]`, float32, of a picture of any mode and size; transparency is laid on white."""
        if "A" in image.getbands() or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("RGB")
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
    def of(cls, given: Mapping[str, Any], kind: str, image_size: int, where: str) -> ImageTransform:
        """Reads the content of a ``preprocessor_config.json``, for towers that take pictures of one size; what it
        leaves out is as in those of their kind, ``clip`` or ``siglip``.

        Raises:
            UserError: The settings ask for something else than resize, centre crop, rescale, normalise, or do
                not fit the tower.
        """
        settings = {**_UNSAID[kind], **{key: value for key, value in given.items() if value is not None}}
        size = _sides(settings["size"], "shortest_edge")
        crop = _sides(settings["crop_size"], "square") if settings["do_center_crop"] else {}
        square = {"height": image_size, "width": image_size}
        squeezed, shortest = size == square and crop in ({}, square), size.get("shortest_edge", 0)
        shortened = crop == square and size == {"shortest_edge": shortest} and shortest >= image_size
        problems = [f"{key} is off" for key in ("do_resize", "do_rescale", "do_normalize") if not settings[key]]
        if shortened and shortest > _LARGEST * image_size:
            problems.append(f"resizing to {shortest} pixels to crop {image_size} of them")
        if not squeezed and not shortened:
            problems.append(
                f"resizing to {size} and cropping to {crop or 'nothing'} does not give the {image_size} × {image_size} "
                "pixels the tower takes"
            )
        mean, std = _channels(settings["image_mean"]), _channels(settings["image_std"])
        if len(mean) != 3 or len(std) != 3:
            problems.append("image_mean and image_std need three numbers each")
        if problems:
            raise UserError(f"{where}: this image preprocessing is not supported", problems)
        resample, scale = Image.Resampling(settings["resample"]), float(settings["rescale_factor"])
        return cls(image_size, None if squeezed else shortest, mean, std, resample, scale)

    def settings(self, kind: str) -> dict[str, Any]:
        """What `of` reads."""
        square = {"height": self.size, "width": self.size}
        whole = self.shortest_edge is None
        return {
            "image_processor_type": {"clip": "CLIPImageProcessor", "siglip": "SiglipImageProcessor"}[kind],
            "do_resize": True,
            "do_center_crop": not whole,
            "do_rescale": True,
            "do_normalize": True,
            "size": square if whole else {"shortest_edge": self.shortest_edge},
            "crop_size": square,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
            "resample": int(self.resample),
            "rescale_factor": self.scale,
        }


CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_ON = {"do_resize": True, "do_rescale": True, "do_normalize": True, "resample": 3, "rescale_factor": 1 / 255}
_UNSAID: Mapping[str, Mapping[str, Any]] = {
    "clip": {
        **_ON, "do_center_crop": True, "size": 224, "crop_size": 224, "image_mean": CLIP_MEAN, "image_std": CLIP_STD
    },
    "siglip": {
        **_ON, "do_center_crop": False, "size": {"height": 224, "width": 224}, "crop_size": {}, "image_mean": 0.5,
        "image_std": 0.5,
    },
}  # fmt: skip


def _channels(values: float | Sequence[float]) -> Any:
    return (float(values),) * 3 if isinstance(values, int | float) else tuple(float(v) for v in values)


def _sides(size: Any, one: str) -> dict[str, int]:
    """A size as older files write it, one number or two, as keys and values; what ``one`` number is."""
    if isinstance(size, int):
        return {"height": size, "width": size} if one == "square" else {one: size}
    found = dict(size) if isinstance(size, Mapping) else dict(zip(("height", "width"), size, strict=True))
    return {key: value for key, value in found.items() if value is not None}
