from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from hierfit.data.card import load_card
from hierfit.data.choice import Choice
from hierfit.data.prepare import Prepared, Towers, prepare
from hierfit.data.samples import Table
from hierfit.data.stand_ins import class_means, from_leaves
from hierfit.data.table import read_table
from hierfit.data.trees import StandIn, Tree, stand_in
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

OTHERS = [kind for kind in get_args(Tree) if kind != "true"]
quick = settings(deadline=None, max_examples=40)


def other(kind: str, true: Taxonomy, seed: int = 0, text: torch.Tensor | None = None) -> StandIn:
    if text is None:
        text = normalize(torch.randn(true.num_nodes, 8, generator=torch.Generator().manual_seed(seed)), dim=-1)
    return stand_in(kind, true, text)  # type: ignore[arg-type]


def paths(tree: Taxonomy) -> list[str]:
    return [tree.full_name(leaf) for leaf in tree.leaves.tolist()]


@st.composite
def forests(draw: st.DrawFn) -> Taxonomy:
    """Ragged trees of at least three levels; names repeat over branches."""
    size = draw(st.integers(3, 24))
    above = [-1, 0, 1] + [draw(st.integers(-1, node - 1)) for node in range(3, size)]
    children: dict[int, int] = {}
    names = []
    for parent in above:
        children[parent] = children.get(parent, -1) + 1
        names.append(f"n{children[parent]}")
    return Taxonomy.from_parents(names, above)


def even(rows: list[str]) -> Taxonomy:
    return Taxonomy.from_paths([row.split("/") for row in rows], levels=("order", "family", "kind"))


# Two orders of two families of two; "male" and "female" recur as in a tree of sexes.
BIRDS = even(["owls/barn/a", "owls/barn/b", "owls/true/c", "owls/true/d", "crows/jay/e", "crows/jay/f", "crows/pie/g"])
RAGGED = Taxonomy.from_paths([("a", "b", "x"), ("a", "b", "y"), ("a", "c", "x"), ("a", "z"), ("w",)])


@quick
@given(forests(), st.sampled_from(["flat", "truncated", "induced"]), st.integers(0, 5))
def test_leaves_are_the_same_ones_in_another_tree(true: Taxonomy, kind: str, seed: int) -> None:
    found = other(kind, true, seed)
    tree = found.taxonomy
    assert sorted(found.true_leaf.tolist()) == list(range(true.num_leaves))
    assert (true.leaf_index[found.origin[tree.leaves]] >= 0).all()
    # There and back again; inner nodes and unknown labels are nowhere.
    here = found.nodes(true.leaves)
    assert torch.equal(found.origin[here], true.leaves)
    assert found.nodes(torch.tensor([-1])).tolist() == [-1]
    inner = (true.leaf_index < 0).nonzero()[:, 0]
    assert (found.nodes(inner) == -1).all()
    # Each bears its name (or, where that is taken, its path), and the tree can be written and read again.
    for leaf in tree.leaves.tolist():
        origin = int(found.origin[leaf])
        assert tree.names[leaf].split("/")[-1].split(" #")[0] == true.names[origin]
    with tempfile.TemporaryDirectory() as folder:
        tree.to_csv(Path(folder) / "tree.csv")
        assert Taxonomy.from_csv(Path(folder) / "tree.csv") == tree


@quick
@given(forests(), st.integers(0, 5))
def test_levels_keep_their_size_and_leaves_their_depth(true: Taxonomy, seed: int) -> None:
    found = other("induced", true, seed)
    tree = found.taxonomy
    assert tree.level_sizes == true.level_sizes
    assert tree.levels == true.levels
    assert torch.equal(tree.level[tree.leaves], true.level[found.origin[tree.leaves]])


@quick
@given(forests())
def test_texts_of_equal_leaves_can_be_grouped(true: Taxonomy) -> None:
    text = torch.ones(true.num_nodes, 4) / 2
    assert other("induced", true, text=text).taxonomy.level_sizes == true.level_sizes


@pytest.mark.parametrize("kind", ["true", "shuffled"])
def test_the_true_tree_is_left_alone(kind: str) -> None:
    """Under ``shuffled`` too: labels, candidates and scoring are the true tree's."""
    found = other(kind, RAGGED)
    nodes = torch.tensor([0, 3, -1])
    assert found.taxonomy is RAGGED
    assert torch.equal(found.nodes(nodes), nodes)
    assert found.true_leaf.tolist() == list(range(5))


def test_flat_is_the_leaves_in_their_order() -> None:
    found = other("flat", BIRDS)
    assert paths(found.taxonomy) == list("abcdefg")
    assert found.taxonomy.levels == ("kind",)
    assert found.true_leaf.tolist() == list(range(7))
    # Numbered by level: w, a/z, then the finest; of the two x, each takes its path for a name.
    assert other("flat", RAGGED).taxonomy.names == ("w", "z", "a/b/x", "y", "a/c/x")


def test_truncated_hangs_the_leaves_below_the_coarsest() -> None:
    assert paths(other("truncated", BIRDS).taxonomy) == [
        f"{order}/{leaf}" for order, leaves in (("owls", "abcd"), ("crows", "efg")) for leaf in leaves
    ]
    assert other("truncated", BIRDS).taxonomy.levels == ("order", "kind")
    assert set(paths(other("truncated", RAGGED).taxonomy)) == {"w", "a/z", "a/a/b/x", "a/y", "a/a/c/x"}


def test_induced_brings_together_what_reads_alike() -> None:
    """Four directions in two planes, two texts near each: pairs first, then planes; not the true order."""
    true = even([f"{i // 4}/{i // 2}/{leaf}" for i, leaf in enumerate("abcdefgh")])
    angle = torch.tensor([0.0, 1.5, 0.1, 1.6, 0.0, 1.5, 0.1, 1.6])
    text = torch.zeros(true.num_nodes, 5)
    text[true.leaves, 0], text[true.leaves, 1] = angle.cos(), angle.sin()
    text[true.leaves] += torch.tensor([0.0, 0.0, 3.0, 0.0, 0.0])  # shared by all, so it must not count
    text[true.leaves[4:], 3] = 4.0
    tree = other("induced", true, text=normalize(text, dim=-1)).taxonomy
    groups = [
        {tree.names[v] for v in tree.leaves.tolist() if tree.parent[v] == p}
        for p in range(*tree.level_slices[1].indices(99))
    ]
    assert sorted(map(sorted, groups)) == [["a", "c"], ["b", "d"], ["e", "g"], ["f", "h"]]
    tops = [
        {tree.names[v] for v in tree.leaves.tolist() if tree.leaf_paths[tree.leaf_index[v], 0] == p} for p in (0, 1)
    ]
    assert sorted(map(sorted, tops)) == [list("abcd"), list("efgh")]
    found = other("induced", true, text=normalize(text, dim=-1))
    here = found.text(normalize(text, dim=-1))
    first = found.taxonomy.children(0)
    torch.testing.assert_close(here[0], normalize(here[first].sum(0), dim=-1))


@pytest.mark.parametrize("kind", OTHERS)
def test_a_flat_tree_has_no_other(kind: str) -> None:
    with pytest.raises(UserError, match=f"data.tree: {kind}: the data set's tree has one level only"):
        other(kind, Taxonomy.from_paths([("a",), ("b",)]))


def test_two_levels_cannot_be_truncated() -> None:
    with pytest.raises(UserError, match="no level between") as caught:
        other("truncated", Taxonomy.from_paths([("a", "x"), ("b", "y")]))
    assert "flat" in caught.value.hint


def test_no_text_no_induced_tree() -> None:
    with pytest.raises(UserError, match="induced: the data set has no text features"):
        stand_in("induced", BIRDS, None)


# Below: what becomes of a data set.

WriteCard = Callable[..., str]


def ready(card: str, root: Path, needs: str = "features", **choice: Any) -> Prepared:
    found = load_card(card)
    return prepare(found, read_table(found, root), Choice(**choice), Towers("fake", needs))  # type: ignore[arg-type]


@pytest.mark.parametrize("novel", [None, "siblings", "halves"])
@pytest.mark.parametrize("kind", ["shuffled", "flat", "induced"])
def test_only_the_tree_differs(
    kind: str, novel: str | None, root: Path, write_card: WriteCard, fake_backbone: Any
) -> None:
    card = write_card(templates={"species": ["a {name}, a {parent}"], "family": ["{name}"]})
    true = ready(card, root, shots=2, seed=1, novel=novel)
    found = ready(card, root, shots=2, seed=1, novel=novel, tree=kind)
    for name, split in true.splits.items():
        assert found.splits[name].keys == split.keys
        assert torch.equal(found.splits[name].nodes, found.tree.nodes(split.nodes))
        assert torch.equal(found.splits[name].features, split.features)  # type: ignore[arg-type]
    one, two = true.task, found.task
    # Texts and novelty go with the leaf, whatever its number is now.
    back = found.tree.origin[two.taxonomy.leaves]
    assert torch.equal(two.text[two.taxonomy.leaves], one.text[back])
    assert torch.equal(two.seen[two.taxonomy.leaves], one.seen[back])
    assert (novel is None) == bool(two.seen.all())
    assert two.train_paths.amax(1).tolist() == found.splits["train"].nodes.tolist()
    assert torch.equal(two.train_paths, two.taxonomy.paths(found.splits["train"].nodes))
    if kind == "induced":
        assert two.prompts is None
    else:
        assert one.prompts is not None
        assert two.prompts == tuple(one.prompts[v] for v in found.tree.origin.tolist())
    assert one.shuffle is None
    assert two.shuffle == (1 if kind == "shuffled" else None)
    facts = [true.summary(), found.summary()]
    assert facts[0]["draw"] == facts[1]["draw"]
    assert facts[0]["taxonomy_fingerprint"] == facts[1]["true_taxonomy_fingerprint"]
    assert [f["tree"] for f in facts] == ["true", kind]


def test_towers_that_train_need_names_to_read(root: Path, write_card: WriteCard, fake_backbone: Any) -> None:
    with pytest.raises(UserError, match="induced: its inner nodes have no names"):
        ready(write_card(), root, needs="pixels", shots=2, tree="induced")
    assert ready(write_card(), root, needs="pixels", shots=2, tree="shuffled").task.prompts is not None


def test_labels_at_inner_nodes_are_refused(
    root: Path, write_card: WriteCard, fake_backbone: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = read_table

    def coarse(card: Any, where: Any) -> Table:
        table = read(card, where)
        test = table.splits["test"]
        nodes = test.nodes.clone()
        nodes[:3] = 0
        return replace(table, splits={**table.splits, "test": replace(test, nodes=nodes)})

    monkeypatch.setitem(globals(), "read_table", coarse)
    assert ready(write_card(), root, shots=2).splits["test"].nodes[:3].tolist() == [0, 0, 0]
    with pytest.raises(UserError, match="labelled at inner nodes") as caught:
        ready(write_card(), root, shots=2, tree="flat")
    assert list(caught.value.problems) == ["test: 3 of 16 samples"]


# Below: text features of nodes without prompts.

UNEVEN = Taxonomy.from_paths([("a", "b", "c"), ("a", "b", "d"), ("a", "e"), ("f",)])


def test_inner_nodes_take_the_mean_of_their_children() -> None:
    text = torch.full((UNEVEN.num_nodes, 2), 9.0)  # what stands in inner rows is ignored
    text[UNEVEN.find("c")] = torch.tensor([1.0, 0.0])
    text[UNEVEN.find("d")] = torch.tensor([0.0, 1.0])
    text[UNEVEN.find("e")] = torch.tensor([0.0, 1.0])
    text[UNEVEN.find("f")] = torch.tensor([-1.0, 0.0])
    filled = from_leaves(text, UNEVEN)
    diagonal = torch.tensor([0.5**0.5, 0.5**0.5])
    torch.testing.assert_close(filled[UNEVEN.find("b")], diagonal)
    torch.testing.assert_close(filled[UNEVEN.find("a")], normalize(diagonal + torch.tensor([0.0, 1.0]), dim=0))
    assert torch.equal(filled[UNEVEN.leaves], text[UNEVEN.leaves])


@quick
@given(st.integers(0, 10_000))
def test_class_means_equal_the_slow_way(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = normalize(torch.randn(12, 3, generator=generator, dtype=torch.float64), dim=-1)
    nodes = torch.randint(0, UNEVEN.num_nodes, (12,), generator=generator)
    paths = UNEVEN.paths(nodes)
    means = class_means(features, paths, UNEVEN)
    for node in range(UNEVEN.num_nodes):
        nearest, below = node, []
        while nearest >= 0 and not (below := [i for i in range(12) if nearest in paths[i].tolist()]):
            nearest = int(UNEVEN.parent[nearest])
        expected = features[below].mean(0) if below else features.mean(0)
        torch.testing.assert_close(means[node], normalize(expected, dim=0))
