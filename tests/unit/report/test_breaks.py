"""Where paths break and which siblings are confused: by hand, and against slow loops over random ragged trees."""

from __future__ import annotations

from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st

from hierfit.decoding import DECODERS
from hierfit.report.decisions import Breaks, sibling_pairs
from hierfit.taxonomy import Taxonomy
from tests.oracles import chain, forests, quick

from .conftest import samples

#            0: bird  1: fish  |  2: hawk 3: owl (bird)  4: eel (fish)
TREE = Taxonomy.from_paths([("bird", "hawk"), ("bird", "owl"), ("fish", "eel")], levels=("class", "kind"))


def test_by_hand() -> None:
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
def test_as_a_slow_loop_counts(tree: Taxonomy, seed: int, decoder: str) -> None:
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
