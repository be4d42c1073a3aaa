from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hierfit.backbone import ImageTransform
from hierfit.data.images import open_image
from hierfit.data.pixels import TrainTransform, chance, crop_box

MEAN, STD = (0.2, 0.4, 0.6), (0.5, 0.25, 0.2)
TOWER = ImageTransform(8, 8, MEAN, STD)
UNIT = st.floats(0, 1, exclude_max=True)
SIDE = st.integers(1, 3000)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("given", "box"),
    [
        ((100, 100, 1.0, 0.3, 0.9, 0.9), (0, 0, 100, 100)),
        ((100, 100, 0.25, 0.5, 0.0, 0.0), (0, 0, 50, 50)),
        ((100, 100, 0.25, 0.5, 0.5, 0.999), (25, 50, 75, 100)),
        ((160, 90, 0.48, 0.0, 0.0, 0.0), (0, 0, 77, 90)),  # r = 0.48 · 16/9 = 0.853: the full height
        ((500, 400, 1.0, 0.7, 0.5, 0.5), (0, 0, 500, 400)),
        ((1000, 30, 0.5, 0.5, 0.5, 0.5), (480, 0, 520, 30)),  # too long: 4 : 3 at full height
        ((30, 1000, 0.5, 0.5, 0.5, 0.5), (0, 480, 30, 520)),
        ((1, 1, 0.08, 0.5, 0.999, 0.999), (0, 0, 1, 1)),
        ((1, 500, 0.08, 0.5, 0.0, 0.999), (0, 499, 1, 500)),
    ],
)
def test_boxes_by_hand(given: tuple[int, int, float, float, float, float], box: tuple[int, ...]) -> None:
    assert crop_box(*given) == box


@given(SIDE, SIDE, st.floats(0.01, 1), UNIT, UNIT, UNIT)
def test_a_box_is_a_part_of_the_drawn_area_and_a_legal_aspect(
    width: int, height: int, area: float, aspect: float, left: float, top: float
) -> None:
    x0, y0, x1, y1 = crop_box(width, height, area, aspect, left, top)
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    w, h = x1 - x0, y1 - y0
    # Sides are rounded to whole pixels, and are one pixel at least.
    low, high = [0 if side == 1 else side - 0.5 for side in (w, h)], (w + 0.5, h + 0.5)
    assert low[0] / high[1] < 4 / 3 + 1e-9
    assert low[1] / high[0] < 4 / 3 + 1e-9
    if max(width, height) * area <= 4 / 3 * min(width, height):
        assert low[0] * low[1] < area * width * height + 1e-6
        assert area * width * height < high[0] * high[1] + 1e-6
    else:
        assert min(w, h) == min(width, height)


@given(st.integers(1, 2**31), st.integers(1, 2**31))
def test_the_last_place_is_inside(width: int, height: int) -> None:
    last = math.nextafter(1, 0)
    _, _, right, lower = crop_box(width, height, 0.3, 0.5, last, last)
    assert (right, lower) == (width, height)


def test_areas_are_uniform_and_places_reach_every_edge() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([crop_box(500, 400, 0.5 + 0.5 * a, *rest) for a, *rest in rng.random((4000, 4))])
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    areas, aspects = w * h / 200_000, np.log(w / h)
    assert areas.mean() == pytest.approx(0.75, abs=0.01)
    assert np.quantile(areas, [0.25, 0.5]) == pytest.approx([0.625, 0.75], abs=0.015)
    # Large parts of a lying picture lie.
    assert aspects[areas > 0.9].min() > 0 > aspects[areas < 0.6].min()
    assert boxes[:, :2].min(0).tolist() == [0, 0]
    assert boxes[:, 2:].max(0).tolist() == [500, 400]
    place = boxes[:, 0] / np.maximum(500 - w, 1)
    assert place[w < 480].mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("resample", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS])
@pytest.mark.parametrize("size", [(8, 8), (41, 33), (90, 20), (3, 2), (1, 1), (1, 60)])
def test_equals_pillow_then_the_towers_normalisation(resample: Image.Resampling, size: tuple[int, int]) -> None:
    tower = ImageTransform(8, 8, MEAN, STD, resample)
    for row in range(10):
        area, aspect, left, top, mirror = chance(5, 2, row).random(5)
        image = picture(*size, seed=row)
        part = image.crop(crop_box(*size, 0.3 + 0.7 * area, aspect, left, top)).resize((8, 8), resample)
        if mirror < 0.5:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = TrainTransform(tower, 0.3)(image, chance(5, 2, row))
        assert pixels.shape == (3, 8, 8)
        assert pixels.dtype == torch.float32
        levels = (pixels - tower(part)) * torch.tensor(STD).view(3, 1, 1) * 255
        assert levels.abs().max() < 3.01  # torch rounds weights a little differently


def test_with_the_whole_picture_and_no_mirror_it_is_the_evaluation_transform() -> None:
    image = picture(8, 8)
    assert torch.equal(TrainTransform(TOWER, 1.0, flip=False)(image, chance(0, 0, 0)), TOWER(image))


def test_mirroring_turns_every_other_picture_and_leaves_the_crop_alone() -> None:
    image = picture(20, 16)
    plain, mirrored = TrainTransform(TOWER, flip=False), TrainTransform(TOWER)
    turned = 0
    for row in range(400):
        a, b = plain(image, chance(0, 0, row)), mirrored(image, chance(0, 0, row))
        assert torch.equal(a, b) or torch.equal(a.flip(-1), b)
        turned += not torch.equal(a, b)
    assert 160 < turned < 240


def test_chance_follows_seed_epoch_and_row_alone() -> None:
    numbers = {
        chance(seed, epoch, row).random()
        for seed in (0, 1, 2**40)
        for epoch in (0, 1, 2)
        for row in (0, 1, 2, 10**6)
        for _ in range(2)
    }
    assert len(numbers) == 3 * 3 * 4


def test_it_pickles_without_the_towers() -> None:
    transform = TrainTransform(TOWER, 0.2, flip=False)
    assert pickle.loads(pickle.dumps(transform)) == transform
    assert len(pickle.dumps(transform)) < 1000


@given(st.integers(1, 400), st.floats(0.01, 1), st.integers(0, 2), UNIT, UNIT)
def test_crops_of_a_coarsened_picture_are_finer_than_the_output(
    size: int, area: float, shape: int, drawn: float, aspect: float
) -> None:
    transform = TrainTransform(ImageTransform(size, size, MEAN, STD), area)
    width, height = [(1, 1), (3, 2), (1, 5)][shape]
    least = transform.least
    x0, y0, x1, y1 = crop_box(width * least, height * least, area + drawn * (1 - area), aspect, 0, 0)
    assert min(x1 - x0, y1 - y0) >= 2 * size * math.sqrt(3 / 4) - 0.51  # 3 : 4, rounded


def test_a_coarsened_jpeg_trains_nearly_the_same(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    coarse = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(coarse).resize((1600, 1200), Image.Resampling.BICUBIC).save(path, quality=90, exif=exif)
    transform = TrainTransform(ImageTransform(64, 64, (0.0,) * 3, (1.0,) * 3))
    full, quick = open_image(path), open_image(path, transform.least)
    assert full.size == (1200, 1600)
    assert quick.size == (300, 400)  # 182 pixels are enough, an eighth would leave 150
    for row in range(5):
        apart = transform(full, chance(0, 0, row)) - transform(quick, chance(0, 0, row))
        assert apart.abs().mean() * 255 < 2.5  # of a picture at full contrast
