"""Index tensors and queries, against a small forest worked out by hand."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch

from hierfit.taxonomy import Taxonomy

# 0 cat ─┬─ 3 big ─┬─ 7 lion
#        │         └─ 8 tiger
#        └─ 4 tabby
# 1 dog ─── 5 hound ── 9 beagle
# 2 emu
ROWS = [
    ("cat", "big", "lion"),
    ("dog", "hound", "beagle"),
    ("cat", "tabby", ""),
    ("cat", "big", "tiger"),
    ("emu",),
]
NAMES = ("cat", "dog", "emu", "big", "tabby", "hound", "lion", "tiger", "beagle")
PARENT = [-1, -1, -1, 0, 0, 1, 3, 3, 5]


@pytest.fixture
def pets() -> Taxonomy:
    return Taxonomy.from_paths(ROWS, levels=["kind", "group", "breed"])


def test_nodes_are_numbered_coarse_to_fine_with_siblings_together(pets: Taxonomy) -> None:
    """What follows from the numbering, and the queries, are checked on random trees in tests/property."""
    assert pets.names == NAMES
    assert pets.parent.tolist() == PARENT
    assert (repr(pets), pets.to("cpu") is pets) == ("Taxonomy(3/3/3 nodes, levels kind/group/breed)", True)
    assert Taxonomy.from_paths(ROWS).levels == ("level0", "level1", "level2")
    assert all(tensor.dtype == torch.int64 for tensor in vars(pets).values() if isinstance(tensor, torch.Tensor))
    assert pets.paths(torch.tensor([[7, 4], [2, -1]])).tolist() == [[[0, 3, 7], [0, 4, -1]], [[2, -1, -1], [-1] * 3]]
    # Through the virtual root: lion–beagle is 3 + 3 edges; unknown stands for that root.
    a, b = torch.tensor([[6], [2], [-1]]), torch.tensor([7, 4, 3, 8])
    assert pets.distance(a, b).tolist() == [[2, 3, 1, 6], [4, 3, 3, 4], [3, 2, 2, 3]]
    with pytest.raises(AttributeError):
        pets.names = ()  # type: ignore[misc]


ANY_ORDER = ["big", "dog", "tabby", "cat", "lion", "tiger", "hound", "beagle", "emu"]


@pytest.mark.parametrize(
    "parents",
    [
        [3, None, 3, None, 0, 0, 1, 6, None],
        [3, -1, 3, -1, 0, 0, 1, 6, -1],
        torch.tensor([3, -1, 3, -1, 0, 0, 1, 6, -1]),
        ["cat", None, "cat", "", "big", "big", "dog", "hound", None],
    ],
    ids=["positions", "minus one", "tensor", "names"],
)
def test_parent_links_in_any_order(parents: Any) -> None:
    tree = Taxonomy.from_parents(ANY_ORDER, parents)
    assert tree.names == ("dog", "cat", "emu", "hound", "big", "tabby", "beagle", "lion", "tiger")
    assert tree.parent.tolist() == [-1, -1, -1, 0, 1, 1, 3, 4, 4]


def test_equality_hash_and_fingerprint_go_by_content(pets: Taxonomy) -> None:
    same = Taxonomy.from_paths(iter(ROWS), levels=("kind", "group", "breed"))
    others = [
        Taxonomy.from_paths(ROWS),
        Taxonomy.from_paths(ROWS[::-1], pets.levels),
        Taxonomy.from_paths([*ROWS[:-1], ("ibis",)], pets.levels),
        Taxonomy.from_paths([*ROWS[:-1], ("dog", "emu")], pets.levels),
    ]
    assert same == pets
    assert hash(same) == hash(pets)
    assert same.fingerprint == pets.fingerprint
    assert len(pets.fingerprint) == 16
    assert pets not in others
    assert len({tree.fingerprint for tree in [pets, *others]}) == 5
    assert pets != "pets"


def test_fingerprint_is_stable_over_versions() -> None:
    """Caches and result cards hold it: a change makes them all look foreign."""
    assert Taxonomy.from_paths([("a", "é"), ("b",)], ["x", "y"]).fingerprint == "f16409617f7acee0"


def test_pickle_and_copy(pets: Taxonomy) -> None:
    pets.find("lion")  # the look-up tables are not part of a pickle
    back = pickle.loads(pickle.dumps(pets))
    assert back == pets
    assert back.leaf_paths.equal(pets.leaf_paths)
    assert len(pickle.dumps(pets)) < 2000
    assert copy.deepcopy({"tree": pets})["tree"] is pets


def test_the_constructor_refuses_links_out_of_order() -> None:
    for parent in ([], [0], [-1, 2, 0], [-1, 0, -1], [-1, 0, 0, 2, 1]):
        with pytest.raises(ValueError, match="breadth-first"):
            Taxonomy(("a",) * len(parent), ("l",), torch.tensor(parent, dtype=torch.int64))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_to_moves_every_tensor(pets: Taxonomy) -> None:
    moved = pets.to("cuda")
    assert moved == pets
    assert moved.lca(moved.leaves, moved.leaves[0]).tolist() == [2, -1, -1, -1, -1]
    tensors = [value for value in vars(moved).values() if isinstance(value, torch.Tensor)]
    assert {tensor.device.type for tensor in [*tensors, moved.leaf_paths, moved.siblings(6)]} == {"cuda"}


def test_index_made_in_inference_mode_can_be_saved_for_backward() -> None:
    with torch.inference_mode():
        tree = pickle.loads(pickle.dumps(Taxonomy.from_paths(ROWS)))
        assert tree.leaf_paths.shape == (5, 3)
        assert tree.lca(tree.leaves, tree.leaves).equal(tree.leaves)
    public = {name: value for name, value in vars(tree).items() if isinstance(value, torch.Tensor) and name[0] != "_"}
    assert {"parent", "leaves", "leaf_paths"} < set(public)
    assert not any(tensor.is_inference() for tensor in public.values())
    logits = torch.zeros(9, requires_grad=True)
    for index in (tree.leaf_paths[:, 0], tree.paths(tree.leaves)[:, 0], tree.lca(tree.leaves, tree.leaves)):
        (logits[index] ** 2).sum().backward()
