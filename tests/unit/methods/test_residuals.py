"""Residuals: a class's own, summed along the tree, or shared by text; against plain loops."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from hierfit.methods.lathadapter.residuals import Residual, Residuals
from hierfit.taxonomy import Taxonomy

# Ragged: the last branch ends a level above the others.
TREE = Taxonomy.from_paths([("a", "b", "c"), ("a", "b", "d"), ("a", "e", "f"), ("g", "h")])
TEXT = F.normalize(torch.randn(TREE.num_nodes, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
UNSEEN = TREE.find("d")


def made(kind: Residual) -> Residuals:
    trained = torch.ones(TREE.num_nodes, dtype=torch.bool)
    trained[UNSEEN] = False
    residuals = Residuals(kind, TEXT, trained, TREE, 10.0)
    torch.nn.init.normal_(residuals.vectors, generator=torch.Generator().manual_seed(1))
    return residuals


@pytest.mark.parametrize("kind", ["class", "tree", "text"])
def test_nothing_is_added_at_the_start(kind: Residual) -> None:
    assert not Residuals(kind, TEXT, torch.ones(TREE.num_nodes, dtype=torch.bool), TREE, 10.0)().any()


def test_a_class_has_its_own_and_an_unseen_one_none() -> None:
    residuals = made("class")
    expected = residuals.vectors.detach().clone()
    expected[UNSEEN] = 0
    assert torch.equal(residuals(), expected)


def test_the_tree_sums_along_each_path() -> None:
    residuals = made("tree")
    for node in range(TREE.num_nodes):
        path = [v for v in TREE.paths(torch.tensor(node)).tolist() if v >= 0 and v != UNSEEN]
        expected = sum(residuals.vectors[v] / TREE.num_leaves_below[v] ** 0.5 for v in path)
        torch.testing.assert_close(residuals()[node], expected)


def test_an_unseen_class_inherits_and_gives_nothing() -> None:
    residuals = made("tree")
    parent = int(TREE.parent[UNSEEN])
    torch.testing.assert_close(residuals()[UNSEEN], residuals()[parent])
    residuals().sum().backward()
    assert residuals.vectors.grad is not None
    assert not residuals.vectors.grad[UNSEEN].any()


def test_text_shares_among_the_trained_nodes_of_a_level() -> None:
    residuals = made("text")
    for node in range(TREE.num_nodes):
        peers = [v for v in range(TREE.num_nodes) if TREE.level[v] == TREE.level[node] and v != UNSEEN]
        parts = torch.softmax(10 * TEXT[peers] @ TEXT[node], dim=0)
        torch.testing.assert_close(residuals()[node], parts @ residuals.vectors[peers])


def test_a_level_without_images_gets_none_by_text() -> None:
    residuals = Residuals("text", TEXT, TREE.level == 0, TREE, 10.0)
    torch.nn.init.normal_(residuals.vectors)
    added = residuals()
    assert added[TREE.level == 0].all()
    assert not added[TREE.level > 0].any()
