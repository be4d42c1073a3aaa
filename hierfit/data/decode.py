"""Pictures through a tower, in batches of one size, the bad ones told apart."""

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


def through_tower(
    keys: Sequence[Any],
    load: Callable[[Any], Image.Image],
    transform: Callable[[Image.Image], Tensor],
    tower: Callable[[Tensor], Tensor],
    num_workers: int = 0,
    device: torch.device | str = "cpu",
    all_or_none: bool = False,
) -> Iterator[tuple[Decoded, Tensor]]:
    """Batches of `BATCH` pictures in order, and what a tower makes of those that could be decoded ``[b, d]``.

    Args:
        load: From key to picture; runs in the workers.
        transform: Picture to tensor ``[3, S, S]``; runs in the workers.
        tower: ``[32, 3, S, S]`` to ``[32, d]``; see `hierfit.data.encode.encode` for why it always sees 32.
        num_workers: Processes that decode; see `made_of`.
        all_or_none: From the first picture that cannot be decoded on, nothing more is encoded.
    """
    faulty = False
    for batch in made_of(keys, partial(_pixels_of, load, transform), num_workers, _gather):
        faulty |= all_or_none and bool(batch.problems)
        found = run_padded(tower, batch.pixels.to(device)) if batch.rows and not faulty else batch.pixels[:0]
        yield batch, found


def _pixels_of(load: Callable[[Any], Image.Image], transform: Callable[[Image.Image], Tensor], key: Any) -> Tensor:
    return transform(load(key))


def _gather(samples: list[Tensor | UserError]) -> Decoded:
    pixels = {row: sample for row, sample in enumerate(samples) if isinstance(sample, Tensor)}
    problems = {row: str(sample) for row, sample in enumerate(samples) if isinstance(sample, UserError)}
    return Decoded(torch.stack([*pixels.values()]) if pixels else torch.empty(0), [*pixels], problems, len(samples))


def run_padded(tower: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    """Features ``[b, d]`` of at most `BATCH` pictures."""
    padding = pixels[-1:].expand(BATCH - len(pixels), *pixels.shape[1:])
    with torch.inference_mode():
        return tower(torch.cat([pixels, padding]))[: len(pixels)].clone()
