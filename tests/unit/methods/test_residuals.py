"""Residuals: a class's own, summed along the tree, or shared by text; against plain loops."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from hierfit.methods.lathadapter.model import Residual, Residuals
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.shuffle import shuffled_places

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


def test_shuffled_shares_go_along_the_places() -> None:
    """Node k takes its own vector, and those of whoever stands above its place; what a vector is held back by, too."""
    tree = Taxonomy.from_paths([(f"o{i // 6}", f"g{i // 2}", f"s{i}") for i in range(12)] + [("o0", "lonely")])
    text = F.normalize(torch.randn(tree.num_nodes, 5, generator=torch.Generator().manual_seed(0)), dim=-1)
    trained = torch.ones(tree.num_nodes, dtype=torch.bool)
    held_back = tree.find("s3")
    trained[held_back] = False
    residuals = Residuals("tree", text, trained, tree, 10.0, shuffle=4)
    torch.nn.init.normal_(residuals.vectors, generator=torch.Generator().manual_seed(1))
    place = shuffled_places(tree, 4).tolist()
    occupant = {there: node for node, there in enumerate(place)}
    found = residuals()
    for node in range(tree.num_nodes):
        expected = torch.zeros(5)
        at = place[node]
        while at >= 0:
            if occupant[at] != held_back:
                expected = expected + residuals.vectors[occupant[at]] / tree.num_leaves_below[at] ** 0.5
            at = int(tree.parent[at])
        torch.testing.assert_close(found[node], expected)
    plain = Residuals("class", text, trained, tree, 10.0, shuffle=4)
    assert plain.place is None


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
