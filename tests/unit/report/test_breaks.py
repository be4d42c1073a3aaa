"""Where paths break, which siblings and classes are confused: by hand, and against slow loops over random trees."""

from __future__ import annotations

from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st

from hierfit.decoding import DECODERS, best_path
from hierfit.report.decisions import Breaks, sibling_pairs
from hierfit.report.sections.confusion import confusion, frontier, tree_order
from hierfit.taxonomy import Taxonomy
from tests.oracles import chain, cut, forests, quick

from .conftest import samples

#            0: bird  1: fish  |  2: hawk 3: owl (bird)  4: eel (fish)
TREE = Taxonomy.from_paths([("bird", "hawk"), ("bird", "owl"), ("fish", "eel")], levels=("class", "kind"))


def test_breaks_by_hand() -> None:
    target = torch.tensor([[0, 2], [0, 2], [0, 2], [0, 3], [1, 4], [0, -1], [-1, -1]])
    predicted = torch.tensor([[0, 2], [0, 3], [1, 4], [0, 2], [0, 3], [1, 4], [0, 2]])
    breaks = Breaks.of(predicted, target, TREE)
    assert breaks.wrong.tolist() == [False, True, True, True, True, True, False]
    assert breaks.true_child.tolist() == [-1, 2, 0, 3, 1, 0, -1]
    assert breaks.predicted_child.tolist() == [-1, 3, 1, 2, 0, 1, -1]
    assert breaks.parted.tolist() == [2, 0, 0, 0, 0, 3]
    assert breaks.reached.tolist() == [3, 0, 0, 0, 0, 6]
    assert breaks.samples.tolist() == [5, 1, 3, 1, 1]
    assert breaks.depths.tolist() == [3, 2]
    assert breaks.by_depth.tolist() == [[2, 2], [1, 0], [1, 1], [0, 1], [1, 0]]
    roots, hawks = sibling_pairs(breaks)
    assert (roots.a, roots.b, roots.a_as_b, roots.b_as_a, roots.arrived) == (0, 1, 2, 1, 6)
    assert (hawks.a, hawks.b, hawks.a_as_b, hawks.b_as_a, hawks.arrived) == (2, 3, 1, 1, 3)


@quick
@given(forests(14), st.integers(0, 2**16), st.sampled_from(sorted(DECODERS.keys() - {"per_level"})))
def test_breaks_as_a_slow_loop_counts(tree: Taxonomy, seed: int, decoder: str) -> None:
    target, logits = samples(tree, seed)
    predicted = DECODERS[decoder](logits, tree)
    breaks = Breaks.of(predicted, target, tree)
    parted: Counter[int] = Counter()
    reached: Counter[int] = Counter()
    arrived: Counter[int] = Counter()
    lost: Counter[tuple[int, int]] = Counter()
    by_depth: Counter[tuple[int, int]] = Counter()
    for row in range(len(target)):
        truth = chain(tree, max(target[row].tolist()))
        own = chain(tree, _comparable(tree, predicted[row].tolist(), truth))
        common = sum(a == b for a, b in zip(truth, own, strict=False))
        for depth in range(min(common + 1, len(truth))):
            arrived[truth[depth]] += 1
            reached[truth[depth - 1] if depth else tree.num_nodes] += 1
        if common < len(truth):
            parted[truth[common - 1] if common else tree.num_nodes] += 1
            if common < len(own):
                lost[truth[common], own[common]] += 1
            for node in truth:
                by_depth[node, common] += 1
    nodes = range(tree.num_nodes + 1)
    assert breaks.parted.tolist() == [parted[v] for v in nodes]
    assert breaks.reached.tolist() == [reached[v] for v in nodes]
    assert breaks.arrived.tolist() == [arrived[v] for v in nodes[:-1]]
    levels = range(tree.num_levels)
    assert breaks.by_depth.tolist() == [[by_depth[v, d] for d in levels] for v in nodes[:-1]]
    pairs = sibling_pairs(breaks)
    assert {(p.a, p.b): p.a_as_b for p in pairs} | {(p.b, p.a): p.b_as_a for p in pairs if p.b_as_a} == lost
    assert all(tree.parent[p.a] == tree.parent[p.b] for p in pairs)
    assert all(p.a_as_b >= p.b_as_a and p.arrived == arrived[p.a] + arrived[p.b] for p in pairs)
    assert [p.confused for p in pairs] == sorted((p.confused for p in pairs), reverse=True)


def _comparable(tree: Taxonomy, predicted: list[int], truth: list[int]) -> int:
    """Deepest predicted node, no deeper than a label that stops above a leaf."""
    if truth and int(tree.num_children[truth[-1]]):
        predicted = predicted[: len(truth)]
    return max(predicted) if truth else -1


#    0: a  1: b  2: c (leaf)  |  3: a1 4: a2 5: b1  |  6: a1x 7: a1y 8: b1x
DEEP = Taxonomy.from_paths([("a", "a1", "x"), ("a", "a1", "y"), ("a", "a2"), ("b", "b1", "x"), ("c",)])


def _walk(tree: Taxonomy, node: int = -1) -> list[int]:
    """Nodes depth first."""
    below = [v for child in tree.children(node).tolist() for v in _walk(tree, child)]
    return below if node < 0 else [node, *below]


def test_confusion_by_hand() -> None:
    leaves = frontier(DEEP, 2)
    assert [DEEP.full_name(v) for v in leaves.tolist()] == ["a/a1/x", "a/a1/y", "a/a2", "b/b1/x", "c"]
    target = DEEP.paths(torch.tensor([6, 6, 7, 2, 8, 0]))
    predicted = DEEP.paths(torch.tensor([6, 7, 8, 2, 4, 6]))
    found = confusion(predicted, target, DEEP)
    # The sample known to be an a is out.
    assert set(found.cells) == {(0, 0, 1), (0, 1, 1), (1, 3, 1), (3, 2, 1), (4, 4, 1)}
    assert found.totals == [2, 1, 0, 1, 1]
    assert found.blocks(0) == [(0, 3, 0), (3, 4, 1), (4, 5, 2)]
    assert found.blocks(1) == [(0, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 2)]
    coarse = confusion(predicted, target, DEEP, limit=4)
    assert coarse.depth == 1
    assert [DEEP.names[v] for v in coarse.nodes.tolist()] == ["a1", "a2", "b1", "c"]
    assert sum(count for *_, count in coarse.cells) == 5


def test_of_too_many_roots_those_with_most_mistakes_are_shown() -> None:
    tree = Taxonomy.from_paths([(f"r{i}",) for i in range(6)])
    predicted = torch.tensor([0, 1, 4, 4, 5, 2])[:, None]
    target = torch.tensor([0, 4, 1, 4, 4, 5])[:, None]
    found = confusion(predicted, target, tree, limit=3)
    assert found.nodes.tolist() == [1, 4, 5]
    assert found.left_out == 3
    assert set(found.cells) == {(0, 1, 1), (1, 0, 1), (1, 1, 1), (1, 2, 1)}


@quick
@given(forests(14), st.integers(0, 2**16), st.integers(1, 14))
def test_confusion_as_a_slow_walk_counts(tree: Taxonomy, seed: int, limit: int) -> None:
    target, logits = samples(tree, seed)
    predicted = best_path(logits, tree)
    found = confusion(predicted, target, tree, limit)
    order = _walk(tree)
    before = tree_order(tree).tolist()
    assert [before[v] for v in order] == sorted(before)
    depth = found.depth
    nodes = [v for v in order if v in cut(tree, depth)]
    assert found.left_out == max(0, len(nodes) - limit)
    if not found.left_out:
        assert found.nodes.tolist() == nodes
        assert depth == tree.num_levels - 1 or len(cut(tree, depth + 1)) > limit
    shown = set(found.nodes.tolist())
    counts: Counter[tuple[int, int]] = Counter()
    for true, own in zip(target.tolist(), predicted.tolist(), strict=True):
        pair = max(true[: depth + 1]), max(own[: depth + 1])
        if set(pair) <= shown:
            counts[pair] += 1
    names = found.nodes.tolist()
    assert {(names[r], names[c]): n for r, c, n in found.cells} == counts
    for above in range(depth):
        for start, stop, node in found.blocks(above):
            assert all(node in tree.paths(found.nodes[i]).tolist() for i in range(start, stop))


def test_ten_thousand_leaves_take_no_matrix() -> None:
    leaves = 10_000
    tree = Taxonomy.from_paths([(f"o{i // 1000}", f"f{i // 100}", f"s{i}") for i in range(leaves)])
    nodes = torch.randint(0, leaves, (20_000,), generator=torch.Generator().manual_seed(0))
    target, predicted = tree.leaf_paths[nodes], tree.leaf_paths[nodes.flip(0)]
    found = confusion(predicted, target, tree)
    assert (found.depth, len(found.nodes), sum(count for *_, count in found.cells)) == (1, 100, 20_000)
