"""Residuals: a class's own, summed along the tree, or shared by text; against plain loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.methods.lathadapter.model import Residual, Residuals
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.shuffle import shuffled_places

# Ragged: a branch ends a level above the others.
TREE = Taxonomy.from_paths([(f"o{i // 6}", f"g{i // 2}", f"s{i}") for i in range(12)] + [("o0", "lonely")])
TEXT = F.normalize(torch.randn(TREE.num_nodes, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
UNSEEN = TREE.find("s3")


def made(kind: Residual, shuffle: int | None = None) -> Residuals:
    trained = torch.ones(TREE.num_nodes, dtype=torch.bool)
    trained[UNSEEN] = False
    residuals = Residuals(kind, TEXT, trained, TREE, 10.0, shuffle)
    torch.nn.init.normal_(residuals.vectors, generator=torch.Generator().manual_seed(1))
    return residuals


def expected_of(kind: Residual, node: int, vectors: Tensor, place: list[int]) -> Tensor:
    """By loops. Under a shuffle a node takes its own vector, and those of whoever stands above its place."""
    if kind == "class":
        return vectors[node] * (node != UNSEEN)
    if kind == "text":
        peers = [v for v in range(TREE.num_nodes) if TREE.level[v] == TREE.level[node] and v != UNSEEN]
        return torch.softmax(10 * TEXT[peers] @ TEXT[node], dim=0) @ vectors[peers]
    total, at = torch.zeros(5), place[node]
    while at >= 0:
        if (occupant := place.index(at)) != UNSEEN:
            total = total + vectors[occupant] / TREE.num_leaves_below[at] ** 0.5
        at = int(TREE.parent[at])
    return total


@pytest.mark.parametrize(
    ("kind", "shuffle"), [("class", None), ("text", None), ("tree", None), ("tree", 4), ("class", 4)]
)
def test_residuals_are_what_loops_say(kind: Residual, shuffle: int | None) -> None:
    residuals = made(kind, shuffle)
    shuffled = shuffle is not None and kind == "tree"
    assert (residuals.place is not None) == shuffled
    place = shuffled_places(TREE, 4).tolist() if shuffled else list(range(TREE.num_nodes))
    found = residuals()
    for node in range(TREE.num_nodes):
        torch.testing.assert_close(found[node], expected_of(kind, node, residuals.vectors, place))
    found.sum().backward()  # a class without images gives nothing
    assert residuals.vectors.grad is not None
    assert not residuals.vectors.grad[UNSEEN].any()


def test_a_level_without_images_gets_none_by_text() -> None:
    residuals = Residuals("text", TEXT, TREE.level == 0, TREE, 10.0)
    torch.nn.init.normal_(residuals.vectors)
    added = residuals()
    assert added[TREE.level == 0].all()
    assert not added[TREE.level > 0].any()


def test_a_shuffled_vector_is_trained_where_images_lie_below_its_place() -> None:
    """Of a and b only a has images; a shuffle that puts its leaf below b lets b learn as well."""
    tree = Taxonomy.from_paths([("a", "x"), ("b", "y")])
    trained = torch.tensor([True, False, True, False])  # a and x
    seen = set()
    for seed in range(8):
        place = shuffled_places(tree, seed).tolist()
        above_x = place.index(int(tree.parent[place[2]]))
        residuals = Residuals("tree", torch.eye(4), trained, tree, 1.0, shuffle=seed)
        assert set(residuals.trained[:, 0].nonzero()[:, 0].tolist()) == {0, 2, above_x}
        seen.add(above_x)
    assert seen == {0, 1}
