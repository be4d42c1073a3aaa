from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from hierfit.backbone import ImageTransform
from hierfit.data.loader import FeatureBatches, Loader, RowSampler, Step
from hierfit.data.pixels import PixelBatches, TrainTransform, chance

SIZES = st.integers(0, 40)


def flat(rows: RowSampler) -> list[int]:
    return [int(row) for step in rows for row in step.rows]


@given(SIZES, st.integers(1, 9), st.integers(1, 5))
def test_in_order_every_row_is_seen_once_by_one_process(size: int, batch_size: int, world: int) -> None:
    shares = [RowSampler(size, batch_size, rank=rank, world=world) for rank in range(world)]
    assert sorted(row for share in shares for row in flat(share)) == list(range(size))
    assert all(len(list(share)) == len(share) == len(shares[0]) for share in shares)
    assert all(len(step.rows) <= batch_size for share in shares for step in share)
    assert flat(shares[0]) == list(range(0, size, world))


@given(SIZES, st.integers(1, 9), st.integers(1, 5), st.booleans())
def test_shuffled_any_number_of_processes_shares_the_same_batches(
    size: int, batch_size: int, world: int, drop_last: bool
) -> None:
    alone = list(RowSampler(size, batch_size, 3, drop_last=drop_last))
    shares = [list(RowSampler(size, batch_size, 3, rank, world, drop_last)) for rank in range(world)]
    for rank, share in enumerate(shares):
        assert [step.rows.tolist() for step in share] == [step.rows[rank::world].tolist() for step in alone]
        assert len(share) == len(RowSampler(size, batch_size, 3, rank, world, drop_last))
    seen = [row for step in alone for row in step.rows.tolist()]
    whole = size // batch_size * batch_size
    assert len(set(seen)) == len(seen) == (whole if drop_last and whole else size)


def test_order_follows_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        rows = RowSampler(30, 7, seed)
        rows.set_epoch(epoch)
        return flat(rows)

    torch.manual_seed(1)
    first = order(0, 0)
    torch.manual_seed(2)
    assert order(0, 0) == first
    assert len({tuple(order(seed, epoch)) for seed in (0, 1, 2**32) for epoch in (0, 1)}) == 6
    assert sorted(first) == list(range(30))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_hold_what_belongs_together(num_workers: int) -> None:
    features, paths = torch.randn(10, 4), torch.arange(20).view(10, 2)
    loader = Loader(FeatureBatches(features, paths), RowSampler(10, 4, seed=0), num_workers)
    assert len(loader) == 3
    for _ in range(2):
        batches: Iterator = iter(loader)
        seen = []
        for batch in batches:
            assert torch.equal(batch.inputs, features[batch.indices])
            assert torch.equal(batch.paths, paths[batch.indices])
            seen += batch.indices.tolist()
        assert sorted(seen) == list(range(10))


TOWER = ImageTransform(6, 6, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
KEYS = tuple(f"{row}" for row in range(11))
PATHS = torch.arange(22).view(11, 2)


class Noise:
    """A picture of noise a key, and how often each was asked for."""

    def __init__(self) -> None:
        self.loads: Counter[str] = Counter()

    def load(self, key: str) -> Image.Image:
        self.loads[key] += 1
        pixels = np.random.default_rng(int(key)).integers(0, 256, (14, 10, 3), dtype=np.uint8)
        return Image.fromarray(pixels)

    def stamp(self, key: str) -> str:
        return key


def augmented(images: Noise, keep: int = 0) -> PixelBatches:
    return PixelBatches(KEYS, images, TrainTransform(TOWER), PATHS, seed=7, keep=keep)


def epochs(
    batch_size: int, num_workers: int, world: int = 1, keep: int = 0, numbers: tuple[int, ...] = (0, 1)
) -> list[dict[int, Tensor]]:
    """Pixels of every row that is seen, epoch by epoch, of all processes together."""
    loaders = [
        Loader(augmented(Noise(), keep), RowSampler(len(KEYS), batch_size, 7, rank, world), num_workers)
        for rank in range(world)
    ]
    found = []
    for number in numbers:
        pixels: dict[int, Tensor] = {}
        for loader in loaders:
            loader.sampler.set_epoch(number)
            for batch in loader:
                assert torch.equal(batch.paths, PATHS[batch.indices])
                pixels |= dict(zip(batch.indices.tolist(), batch.inputs, strict=True))
        found.append(pixels)
    return found


@pytest.mark.parametrize(
    ("batch_size", "num_workers", "world", "keep"),
    [(4, 2, 1, 0), (4, 2, 1, 2000), (3, 0, 1, 0), (11, 0, 1, 2000), (2, 0, 3, 0), (3, 1, 2, 10**6)],
)
def test_seed_epoch_and_row_alone_decide_the_pixels(batch_size: int, num_workers: int, world: int, keep: int) -> None:
    expected = epochs(4, 0)
    found = epochs(batch_size, num_workers, world, keep)
    for reference, pixels in zip(expected, found, strict=True):
        assert len(pixels) == len(KEYS)
        assert all(torch.equal(value, reference[row]) for row, value in pixels.items())


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_epoch_may_be_told_after_the_iterator_is_taken(num_workers: int) -> None:
    """Lightning does so on resuming."""
    loader = Loader(augmented(Noise()), RowSampler(len(KEYS), 11, 7), num_workers)
    taken = iter(loader)
    loader.sampler.set_epoch(1)
    (batch,) = taken
    expected = epochs(11, 0)[1]
    assert batch.indices.tolist() == list(expected)
    assert torch.equal(batch.inputs, torch.stack(list(expected.values())))


def test_pixels_are_the_transform_under_the_rows_own_chance() -> None:
    images = Noise()
    pixels = epochs(4, 0)[1]
    for row, value in pixels.items():
        assert torch.equal(value, TrainTransform(TOWER)(images.load(KEYS[row]), chance(7, 1, row)))


def test_pictures_are_decoded_once_as_far_as_memory_goes() -> None:
    images = Noise()
    loader = Loader(augmented(images, keep=4 * 10 * 14 * 5), RowSampler(len(KEYS), 4, 7))
    for number in range(3):
        loader.sampler.set_epoch(number)
        list(loader)
    assert sorted(images.loads.values()) == [1] * 5 + [3] * 6


def test_evaluation_pixels_are_the_transforms_own_and_kept() -> None:
    images = Noise()
    expected = torch.stack([TOWER(images.load(key)) for key in KEYS])
    images.loads.clear()
    loader = Loader(PixelBatches(KEYS, images, TOWER, PATHS, keep=expected[:4].nbytes), RowSampler(len(KEYS), 4))
    for _ in range(3):
        assert torch.equal(torch.cat([batch.inputs for batch in loader]), expected)
    assert [images.loads[key] for key in KEYS] == [1] * 4 + [3] * 7


def test_batches_travel_to_workers_that_are_not_forked() -> None:
    step = Step(torch.tensor([3, 1]), 2)
    for batches in (augmented(Noise(), 1000), PixelBatches(KEYS, Noise(), TOWER, PATHS, keep=1000)):
        assert torch.equal(pickle.loads(pickle.dumps(batches))[step].inputs, batches[step].inputs)
