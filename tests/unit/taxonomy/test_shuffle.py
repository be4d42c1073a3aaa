"""Controls: a tree of the same shape and names, and nodes at other places of the same tree."""

from __future__ import annotations

from collections import Counter

from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.shuffle import shuffled_places

TREE = Taxonomy.from_paths(
    [(f"f{i // 16}", f"g{i // 4}", f"s{i}") for i in range(64)] + [(f"f{i}", f"early{i}") for i in range(4)]
)


def test_the_seed_decides() -> None:
    assert TREE.shuffled(0) == TREE.shuffled(0)
    assert len({TREE.shuffled(seed) for seed in range(5)}) == 5


def test_leaves_reach_every_branch() -> None:
    """A leaf of four branches stays in its own about one time in four."""
    leaf = "s0"
    home = [control.full_name(control.find(leaf)).split("/")[0] for control in map(TREE.shuffled, range(200))]
    counts = Counter(home)
    assert set(counts) == {"f0", "f1", "f2", "f3"}
    assert all(25 <= count <= 75 for count in counts.values())


def test_siblings_keep_distinct_names() -> None:
    """Every group has an "other", so nearly every plain permutation would give some group two of them."""
    rows = [(f"g{i // 4}", "other" if i % 4 == 0 else f"s{i}") for i in range(200)]
    tree = Taxonomy.from_paths(rows)
    for seed in range(5):
        control = tree.shuffled(seed)
        pairs = list(zip(control.parent.tolist(), control.names, strict=True))
        assert len(set(pairs)) == len(pairs)
        assert Counter(control.names) == Counter(tree.names)
        moved = sum(a != b for a, b in zip(control.names, tree.names, strict=True))
        assert moved > 100


def test_a_leaf_never_takes_the_name_of_an_internal_sibling() -> None:
    tree = Taxonomy.from_paths([("a", "x", "deep"), ("a", "y"), ("b", "x"), ("b", "z")])
    for seed in range(20):
        control = tree.shuffled(seed)
        names = [control.names[child] for child in control.children(control.find(["a"])).tolist()]
        assert sorted(names) in (["x", "y"], ["x", "z"])


def test_places_are_of_the_same_level_and_kind() -> None:
    place = shuffled_places(TREE, 0)
    assert place.sort().values.tolist() == list(range(TREE.num_nodes))
    assert TREE.level[place].equal(TREE.level)
    assert (TREE.num_children[place] > 0).equal(TREE.num_children > 0)
    leaves = TREE.leaves
    strangers = TREE.parent[place[leaves]] != TREE.parent[leaves]
    assert strangers.float().mean() > 0.7
    assert place.equal(shuffled_places(TREE, 0))
    assert not place.equal(shuffled_places(TREE, 1))
