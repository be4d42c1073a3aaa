"""Pictures as batches of pixels of one size, the bad ones told apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hierfit.data.samples import Images
from hierfit.errors import UserError

BATCH = 32
"""Pictures that go through a tower at once."""

Transform = Callable[[Image.Image], Tensor]


class Decoded(NamedTuple):
    """One batch of pictures.

    Attributes:
        pixels: Of the pictures that could be decoded ``[b, 3, S, S]``.
        rows: Their places among the batch's pictures.
        problems: What is wrong with each of the others, by place.
        size: Pictures in all.
    """

    pixels: Tensor
    rows: list[int]
    problems: dict[int, str]
    size: int


def decoded(keys: Sequence[str], images: Images, transform: Transform, num_workers: int = 0) -> DataLoader[Decoded]:
    """Batches of `BATCH` pictures, in order.

    Args:
        keys: n pictures.
        images: Gives the picture of each.
        transform: Picture to tensor ``[3, S, S]``; runs in the workers.
        num_workers: Processes that decode; 0 decodes in this one.
    """
    pictures: Dataset[Any] = _Pictures(keys, images, transform)
    workers = min(num_workers, len(keys) // BATCH)
    return DataLoader(pictures, batch_size=BATCH, num_workers=workers, collate_fn=_gather)


def run_padded(tower: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    """Features ``[b, d]`` of at most `BATCH` pictures; see `hierfit.data.encode.encode` for why the tower sees 32."""
    count = len(pixels)
    padding = pixels[-1:].expand(BATCH - count, *pixels.shape[1:])
    with torch.inference_mode():
        return tower(torch.cat([pixels, padding]))[:count].clone()


class _Pictures(Dataset["Tensor | str"]):
    def __init__(self, keys: Sequence[str], images: Images, transform: Transform) -> None:
        self.keys, self.images, self.transform = keys, images, transform

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, row: int) -> Tensor | str:
        try:
            return self.transform(self.images.load(self.keys[row]))
        except UserError as error:
            return str(error)


def _gather(samples: list[Tensor | str]) -> Decoded:
    rows = [row for row, sample in enumerate(samples) if isinstance(sample, Tensor)]
    pixels = [sample for sample in samples if isinstance(sample, Tensor)]
    problems = {row: sample for row, sample in enumerate(samples) if isinstance(sample, str)}
    return Decoded(torch.stack(pixels) if pixels else torch.empty(0), rows, problems, len(samples))
