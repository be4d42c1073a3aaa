"""Pictures as batches of pixels of one size, the bad ones told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hierfit.errors import UserError

BATCH = 32
"""Pictures that go through a tower at once."""


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


def made_of(
    keys: Sequence[Any], make: Callable[[Any], Any], num_workers: int, gather: Callable[[list[Any]], Any] = list
) -> Iterator[Any]:
    """What is made of each picture, `BATCH` at a time and in order.

    Args:
        keys: Of n pictures, or these themselves.
        make: Runs in the workers; a `UserError` that it raises stands in the place of what it was to make.
        num_workers: Processes; 0 does it in this one.
        gather: Puts a batch together, in the workers, too.

    Raises:
        UserError: A process was killed, as happens when memory runs out.
    """
    workers = min(num_workers, len(keys) // BATCH)
    try:
        yield from DataLoader(_Made(keys, make), batch_size=BATCH, num_workers=workers, collate_fn=gather)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise UserError(
            "a process that decodes pictures was killed, probably for want of memory",
            hint="Use fewer processes: --workers 1, or --data.num_workers 1. It then stops at the picture that is too "
            "large.",
        ) from error


@dataclass
class _Made(Dataset[Any]):
    keys: Sequence[Any]
    make: Callable[[Any], Any]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, row: int) -> Any:
        try:
            return self.make(self.keys[row])
        except UserError as error:
            return error


def decoded(
    things: Sequence[Any],
    load: Callable[[Any], Image.Image],
    transform: Callable[[Image.Image], Tensor],
    num_workers: int = 0,
) -> Iterator[Decoded]:
    """Batches of `BATCH` pictures, in order, loaded and made tensors ``[3, S, S]`` of; see `made_of`."""
    return made_of(things, partial(_pixels_of, load, transform), num_workers, _gather)


def _pixels_of(load: Callable[[Any], Image.Image], transform: Callable[[Image.Image], Tensor], thing: Any) -> Tensor:
    return transform(load(thing))


def _gather(samples: list[Tensor | UserError]) -> Decoded:
    pixels = {row: sample for row, sample in enumerate(samples) if isinstance(sample, Tensor)}
    problems = {row: str(sample) for row, sample in enumerate(samples) if isinstance(sample, UserError)}
    return Decoded(torch.stack([*pixels.values()]) if pixels else torch.empty(0), [*pixels], problems, len(samples))


def run_padded(tower: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    """Features ``[b, d]`` of at most `BATCH` pictures; see `hierfit.data.encode.encode` for why the tower sees 32."""
    padding = pixels[-1:].expand(BATCH - len(pixels), *pixels.shape[1:])
    with torch.inference_mode():
        return tower(torch.cat([pixels, padding]))[: len(pixels)].clone()
