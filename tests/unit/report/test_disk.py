"""Points on a plane, ranks, and agreement of learned with known attributes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from hierfit.geometry import Space
from hierfit.geometry.embeddings import Embeddings
from hierfit.report.sections.attributes import (
    Measured,
    attribute_agreement,
    best_precision,
    mutual_information,
    to_landmarks,
)
from hierfit.report.sections.latent import on_disk, to_plane

SPACES = [Space(name, 0.5) for name in ("poincare", "lorentz", "euclidean")]  # type: ignore[arg-type]


@pytest.mark.parametrize("space", SPACES, ids=lambda s: s.geometry)
def test_radii_are_kept_and_a_flat_cloud_loses_nothing(space: Space) -> None:
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(6, 2, generator=generator))
    flat = torch.randn(30, 2, generator=generator) @ basis.T
    plane = to_plane({"a": flat[:20], "b": flat[20:]}, space)
    assert plane.share == pytest.approx(1)
    assert plane.agreement == pytest.approx(1, abs=1e-3)
    assert torch.cat([plane.places["a"], plane.places["b"]]).norm(dim=1) == pytest.approx(flat.norm(dim=1), abs=1e-5)
    cloud = torch.randn(50, 6, generator=generator)
    plane = to_plane({"a": cloud}, space)
    assert plane.places["a"].norm(dim=1) == pytest.approx(cloud.norm(dim=1), abs=1e-5)
    assert 2 / 6 < plane.share < 0.8
    assert 0 < plane.agreement < 0.95


def test_the_disk_is_the_exponential_map() -> None:
    ball, hyperboloid, flat = SPACES
    places = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, -3.0]])
    expected = ball.from_normal(places) * math.sqrt(ball.curvature)  # geoopt's ball of curvature c has radius 1/√c
    assert on_disk(places, ball) == pytest.approx(expected, abs=1e-6)
    assert on_disk(places, hyperboloid) == pytest.approx(expected, abs=1e-6)
    assert on_disk(places, flat).equal(places)


@pytest.mark.parametrize("space", SPACES, ids=lambda s: s.geometry)
def test_normal_coordinates_are_direction_and_distance(space: Space) -> None:
    vectors = torch.randn(40, 5, generator=torch.Generator().manual_seed(1))
    points = space.from_normal(vectors)
    assert space.radius(points) == pytest.approx(vectors.norm(dim=1), rel=1e-4)
    assert space.normal_coordinates(points) == pytest.approx(vectors, abs=1e-4)


def test_mutual_information_by_hand() -> None:
    a = torch.tensor([0, 0, 1, 1])
    assert mutual_information(a, torch.tensor([1, 1, 0, 0])) == pytest.approx(1)
    assert mutual_information(a, torch.tensor([0, 1, 0, 1])) == pytest.approx(0)
    assert mutual_information(a, torch.zeros(4, dtype=torch.long)) == 0
    # I = ln 2 − ¾·H(⅓), entropies ln 2 and that of (¼, ¾).
    b = torch.tensor([0, 1, 1, 1])
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    joint = -(0.25 * math.log(0.25) * 2 + 0.5 * math.log(0.5))
    assert mutual_information(a, b) == pytest.approx(2 * (math.log(2) + entropy - joint) / (math.log(2) + entropy))


def test_best_precision_by_hand() -> None:
    order = torch.tensor([[0, 3], [1, 2], [2, 1], [3, 0]])  # from nearest to farthest, two attributes
    labels = torch.tensor([0, 1, 0, 1])
    # Value 0 by attribute 0: (1/1 + 2/3)/2; by attribute 1: (1/2 + 2/4)/2. Value 1 the other way round.
    assert best_precision(order, labels) == pytest.approx((1 + 2 / 3) / 2)


def test_attributes_that_are_the_known_ones_agree_and_random_ones_do_not() -> None:
    generator = torch.Generator().manual_seed(3)
    colour, shape, space = torch.arange(16) % 4, torch.arange(16) // 4, SPACES[0]
    directions, leaf = torch.eye(8), torch.arange(16).repeat_interleave(6)
    centres = directions[colour] + 0.3 * directions[4 + shape]
    images = centres[leaf] + 0.05 * torch.randn(len(leaf), 8, generator=generator)

    def measured(attributes: torch.Tensor, **known: torch.Tensor) -> dict[str, tuple[Measured, Measured]]:
        found = Embeddings(space, centres, images, torch.arange(len(leaf)), attributes)
        distances = space.pairwise_distance(space.from_normal(images), space.from_normal(attributes))
        return attribute_agreement(distances, leaf, known, to_landmarks(found))

    of_colour, of_shape = measured(directions[:4], colour=colour, shape=shape).values()
    for figure in of_colour:
        assert (figure.value, figure.p) == (pytest.approx(1), pytest.approx(0.01))
        assert figure.value > figure.shuffled + 0.3
    assert of_shape[0].value < 0.2
    assert of_shape[0].p > 0.05
    assert measured(0.01 * torch.randn(4, 8, generator=generator), shape=shape)["shape"][0].p > 0.05


def test_embeddings_are_kept(tmp_path: Path) -> None:
    assert Embeddings.read(tmp_path) is None
    before = Embeddings(SPACES[1], torch.randn(3, 4), torch.randn(5, 4), torch.arange(5), torch.randn(2, 4))
    before.write(tmp_path)
    after = Embeddings.read(tmp_path)
    assert after is not None
    assert after.space == SPACES[1]
    assert after.indices.equal(before.indices)
    assert after.nodes == pytest.approx(before.nodes, abs=5e-3)
    assert after.attributes is not None
    (tmp_path / "embeddings.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match="cannot be read"):
        Embeddings.read(tmp_path)
