"""Sums over images: what they say, and that images and classes come and go exactly."""

from __future__ import annotations

import pytest
import torch

from hierfit.closed import Statistics

from .made import RAGGED, images

COUNTS = torch.tensor([3, 0, 1, 5, 2, 4, 0, 6])


def same(found: Statistics, wanted: Statistics) -> None:
    for name in ("counts", "sums", "second", "within"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), rtol=1e-9, atol=1e-9)
    assert found.dof == pytest.approx(wanted.dof)


def test_sums_say_what_loops_over_the_images_say() -> None:
    x, y = images(RAGGED, COUNTS)
    statistics = Statistics.of(x, y, len(COUNTS))
    means = torch.stack([x[y == k].mean(dim=0) if (y == k).any() else torch.zeros(5).double() for k in range(8)])
    torch.testing.assert_close(statistics.means, means)
    points = torch.randn(8, 5, dtype=torch.float64)
    for found, center in ((statistics.within, means), (statistics.about(points), points)):
        torch.testing.assert_close(found, sum((a - center[k]).outer(a - center[k]) for a, k in zip(x, y, strict=True)))
    torch.testing.assert_close(statistics.about(points[0]), (x - points[0]).T @ (x - points[0]))
    assert statistics.images == 21
    assert statistics.dof == 21 - 6
    assert statistics.seen.tolist() == (COUNTS > 0).tolist()


def test_images_are_added() -> None:
    x, y = images(RAGGED, COUNTS)
    first = torch.rand(len(x), generator=torch.Generator().manual_seed(0)) < 0.6
    a, b = (Statistics.of(x[rows], y[rows], 8) for rows in (first, ~first))
    both = Statistics.of(x, y, 8)
    same(a + b, both)


def test_classes_move_to_other_rows() -> None:
    x, y = images(RAGGED, COUNTS)
    places = torch.tensor([9, 0, 1, 2, 3, 4, 5, 7])
    same(Statistics.of(x, y, 8).at(places, 10), Statistics.of(x, places[y], 10))
