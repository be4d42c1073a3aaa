"""Random ragged forests against slow, obvious dictionary code."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hierfit.taxonomy import Taxonomy

Path_ = tuple[str, ...]
NAME = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=6)
quick = settings(deadline=None, max_examples=40)


@st.composite
def forests(draw: st.DrawFn) -> tuple[list[str], list[int | None]]:
    """Names and parent positions in random order; names repeat over branches, never among siblings."""
    size = draw(st.integers(1, 24))
    above = [None] + [draw(st.none() | st.integers(0, node - 1)) for node in range(1, size)]
    children_so_far: dict[int | None, int] = {}
    names = []
    for parent in above:
        ordinal = children_so_far[parent] = children_so_far.get(parent, -1) + 1
        names.append(f"n{ordinal}")
    order = draw(st.permutations(range(size)))
    place = {node: i for i, node in enumerate(order)}
    return [names[node] for node in order], [
        None if (parent := above[node]) is None else place[parent] for node in order
    ]


class Oracle:
    """The tree as a set of paths of names."""

    def __init__(self, tree: Taxonomy) -> None:
        parent = tree.parent.tolist()
        self.path: dict[int, Path_] = {-1: ()}
        for node in range(tree.num_nodes):
            self.path[node] = (*self.path[parent[node]], tree.names[node])
        self.node = {path: node for node, path in self.path.items()}

    def ancestors(self, node: int) -> list[int]:
        """Root to node, itself included."""
        return [self.node[self.path[node][:depth]] for depth in range(1, len(self.path[node]) + 1)]

    def lca(self, a: int, b: int) -> int:
        return max((v for v in [-1, *self.ancestors(a)] if v in [-1, *self.ancestors(b)]), key=self.depth)

    def depth(self, node: int) -> int:
        return len(self.path[node])

    def distance(self, a: int, b: int) -> int:
        return self.depth(a) + self.depth(b) - 2 * self.depth(self.lca(a, b))

    def children(self, node: int) -> list[int]:
        return sorted(v for v, path in self.path.items() if path and path[:-1] == self.path[node])

    def leaves_below(self, node: int) -> int:
        below = self.children(node)
        return sum(map(self.leaves_below, below)) if below else 1


@quick
@given(forests())
def test_the_tree_is_the_one_that_was_given(forest: tuple[list[str], list[int | None]]) -> None:
    names, parents = forest

    def path(node: int | None) -> Path_:
        return () if node is None else (*path(parents[node]), names[node])

    tree = Taxonomy.from_parents(names, parents)
    assert sorted(tree.full_name(v) for v in range(tree.num_nodes)) == sorted(
        "/".join(path(v)) for v in range(len(names))
    )


@quick
@given(forests())
def test_index_matches_the_oracle(forest: tuple[list[str], list[int | None]]) -> None:
    tree = Taxonomy.from_parents(*forest)
    oracle = Oracle(tree)
    nodes = range(tree.num_nodes)
    leaves = [v for v in nodes if not oracle.children(v)]
    assert tree.leaves.tolist() == leaves
    assert tree.leaf_index.tolist() == [leaves.index(v) if v in leaves else -1 for v in nodes]
    assert tree.level.tolist() == [oracle.depth(v) - 1 for v in nodes]
    assert tree.num_leaves_below.tolist() == [oracle.leaves_below(v) for v in nodes]
    assert sum(tree.level_sizes) == tree.num_nodes
    for depth, (size, where) in enumerate(zip(tree.level_sizes, tree.level_slices, strict=True)):
        assert [v for v in nodes if oracle.depth(v) == depth + 1] == list(nodes[where])
        assert size == len(nodes[where])
    for v in nodes:
        below = oracle.children(v)
        first, count = int(tree.first_child[v]), int(tree.num_children[v])
        assert tree.children(v).tolist() == below == list(range(first, first + count))
        peers = oracle.children(int(tree.parent[v]))
        assert tree.siblings(v).tolist() == [u for u in peers if u != v]
        assert (tree.group == tree.group[v]).nonzero().flatten().tolist() == peers
        padded = oracle.ancestors(v) + [-1] * (tree.num_levels - oracle.depth(v))
        assert tree.paths(torch.tensor(v)).tolist() == padded
        assert tree.full_name(v, " ") == " ".join(oracle.path[v])
        assert tree.find(oracle.path[v]) == v
    assert tree.group.unique_consecutive().tolist() == list(range(int(tree.group[-1]) + 1))
    assert tree.leaf_paths.equal(tree.paths(tree.leaves))


@quick
@given(forests())
def test_lca_and_distance_match_the_oracle(forest: tuple[list[str], list[int | None]]) -> None:
    tree = Taxonomy.from_parents(*forest)
    oracle = Oracle(tree)
    ids = range(-1, tree.num_nodes)
    nodes = torch.tensor(ids)
    assert tree.lca(nodes[:, None], nodes).tolist() == [[oracle.lca(a, b) for b in ids] for a in ids]
    assert tree.distance(nodes[:, None], nodes).tolist() == [[oracle.distance(a, b) for b in ids] for a in ids]


@quick
@given(forests(), st.integers(0, 2**32 - 1))
def test_a_shuffled_tree_keeps_its_shape(forest: tuple[list[str], list[int | None]], seed: int) -> None:
    tree = Taxonomy.from_parents(*forest)
    control = tree.shuffled(seed)
    assert control.parent.equal(tree.parent)
    assert len(set(zip(control.parent.tolist(), control.names, strict=True))) == tree.num_nodes
    for level in tree.level_slices:
        assert sorted(control.names[level]) == sorted(tree.names[level])
    internal = set(range(tree.num_nodes)) - set(tree.leaves.tolist())
    assert all(control.names[v] == tree.names[v] for v in internal)


@quick
@given(forests(), st.data())
def test_every_form_round_trips(forest: tuple[list[str], list[int | None]], data: st.DataObject) -> None:
    shape = Taxonomy.from_parents(*forest)
    names = data.draw(st.lists(NAME, min_size=shape.num_nodes, max_size=shape.num_nodes, unique=True))
    levels = data.draw(
        st.lists(
            NAME.filter(lambda name: ";" not in name),
            min_size=shape.num_levels,
            max_size=shape.num_levels,
            unique=True,
        )
    )
    tree = Taxonomy.from_parents(names, shape.parent, levels)
    assert tree.parent.equal(shape.parent)
    assert Taxonomy.from_parents(names, [None if p < 0 else names[p] for p in tree.parent], levels) == tree
    assert pickle.loads(pickle.dumps(tree)) == tree
    assert tree.resolve(names).tolist() == list(range(tree.num_nodes))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "tree.csv")
        tree.to_csv(path)
        assert Taxonomy.from_csv(path) == tree
        rows = [[names[v] for v in row if v >= 0] for row in tree.leaf_paths.tolist()]
        same = Taxonomy.from_paths(data.draw(st.permutations(rows)), levels)
        assert sorted(map(same.full_name, range(tree.num_nodes))) == sorted(map(tree.full_name, range(tree.num_nodes)))


@quick
@given(forests(), st.data())
def test_the_part_above_some_nodes(forest: tuple[list[str], list[int | None]], data: st.DataObject) -> None:
    tree = Taxonomy.from_parents(*forest)
    oracle = Oracle(tree)
    nodes = data.draw(st.lists(st.integers(0, tree.num_nodes - 1), min_size=1))
    small, kept = tree.keeping(torch.tensor(nodes))
    rows = [oracle.path[node] for node in sorted(set(nodes))]
    assert set(Oracle(small).path.values()) == {row[:depth] for row in rows for depth in range(len(row) + 1)}
    assert [Oracle(small).path[i] for i in range(small.num_nodes)] == [oracle.path[v] for v in kept.tolist()]
    assert small.levels == tree.levels[: max(map(len, rows))]
