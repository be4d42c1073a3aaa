"""Metrics and decoders against slow, obvious ones, and what must hold on every tree."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_precision

from hierfit.decoding import DECODERS, leaf_rollup, per_level_argmax, top_down
from hierfit.metrics import (
    FullPathAccuracy,
    LeafAccuracy,
    LevelAccuracy,
    WeightedAveragePrecision,
    functional,
    hierarchy_metrics,
)
from hierfit.metrics.functional import is_tree_path
from hierfit.taxonomy import Taxonomy

Row = Sequence[int]
quick = settings(max_examples=60, deadline=None)


@st.composite
def trees(draw: st.DrawFn, max_nodes: int = 24) -> Taxonomy:
    """Any forest, ragged or even: each node picks its parent among the earlier ones, or none."""
    parents = [draw(st.integers(-1, i - 1)) for i in range(draw(st.integers(1, max_nodes)))]
    return Taxonomy.from_parents([f"n{i}" for i in range(len(parents))], parents)


@st.composite
def scored(draw: st.DrawFn) -> tuple[Taxonomy, Tensor]:
    """A tree, and logits in eighths so that ties occur."""
    tree = draw(trees())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return tree, torch.from_numpy(rng.integers(-24, 25, (draw(st.integers(0, 6)), tree.num_nodes)) / 8.0)


@st.composite
def judged(draw: st.DrawFn) -> tuple[Taxonomy, Tensor, Tensor]:
    """A tree, any predicted tuples (broken ones and gaps too), and true paths with some levels unknown."""
    tree = draw(trees())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    samples = draw(st.integers(0, 12))
    cuts = [tree.cut(level).numpy() for level in range(tree.num_levels)]
    anywhere = np.stack([rng.choice(cut, samples) for cut in cuts], axis=1)
    true = tree.leaf_paths[torch.from_numpy(rng.integers(0, tree.num_leaves, samples))].numpy()
    walked = tree.paths(torch.from_numpy(rng.integers(0, tree.num_nodes, samples))).numpy()
    kind = rng.integers(0, 4, (samples, 1))
    gappy = np.where(rng.random(anywhere.shape) < 0.3, -1, anywhere)
    predicted = np.select([kind == 0, kind == 1, kind == 2], [anywhere, gappy, walked], true)
    target = np.where(rng.random(true.shape) < draw(st.sampled_from([0.0, 0.3])), -1, true)
    return tree, torch.from_numpy(predicted), torch.from_numpy(target)


def chain(tree: Taxonomy, node: int) -> list[int]:
    """The node and its ancestors, root first."""
    nodes = []
    while node >= 0:
        nodes.insert(0, node)
        node = int(tree.parent[node])
    return nodes


def is_leaf(tree: Taxonomy, node: int) -> bool:
    return node not in tree.parent.tolist()


def share(right: int, total: int) -> float:
    return float(Fraction(right, total)) if total else math.nan


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def goes_on(tree: Taxonomy, path: Row) -> list[int]:
    """The path, with the leaf it ends at repeated below it."""
    path = list(path)
    last = max((i for i, node in enumerate(path) if node >= 0), default=-1)
    if last >= 0 and is_leaf(tree, path[last]):
        path[last:] = [path[last]] * (len(path) - last)
    return path


def slow_cut(tree: Taxonomy, level: int) -> list[int]:
    """The nodes of a level, and the leaves that ended above it."""
    depths = {node: len(chain(tree, node)) - 1 for node in range(tree.num_nodes)}
    return [v for v, depth in depths.items() if depth == level or (depth < level and is_leaf(tree, v))]


def slow_metrics(tree: Taxonomy, predicted: Tensor, target: Tensor) -> dict[str, float]:
    """Every metric by loops over samples, node sets and names of nodes."""
    pairs = [
        (goes_on(tree, p), goes_on(tree, t))
        for p, t in zip(predicted.tolist(), target.tolist(), strict=True)
        if max(t) >= 0
    ]
    values = {
        "fpa": share(sum(all(b in (-1, a) for a, b in zip(p, t, strict=True)) for p, t in pairs), len(pairs)),
        "tice": share(sum(not slow_is_path(tree, p) for p, _ in pairs), len(pairs)),
    }
    accuracy, precision, sizes = [], [], []
    for level, name in enumerate(tree.levels):
        here = [(p[level], t[level]) for p, t in pairs if t[level] >= 0]
        reach = [(a, b) for a, b in here if len(chain(tree, b)) == level + 1]
        values[f"accuracy/{name}"] = share(sum(a == b for a, b in reach), len(reach))
        if here:
            accuracy.append(share(sum(a == b for a, b in here), len(here)))
            seen = {node for pair in here for node in pair} - {-1}
            precision.append(mean([mean([float(t == v) for p, t in here if p == v] or [0.0]) for v in seen]))
            sizes.append(len(slow_cut(tree, level)))
    for name, scores in (("wap_accuracy", accuracy), ("wap_precision", precision)):
        weighted = [score * size for score, size in zip(scores, sizes, strict=True)]
        values[name] = sum(weighted) / sum(sizes) if sizes else math.nan

    recalls: dict[int, list[bool]] = {}
    distances, heights, overlaps = [], [], []
    for p, t in pairs:
        true = [v for v in t if v >= 0][-1]
        if is_leaf(tree, true):
            recalls.setdefault(true, []).append(p[-1] == true)
        named = [v for v in (p if is_leaf(tree, true) else p[: len(chain(tree, true))]) if v >= 0]
        ours, theirs = set(chain(tree, true)), set(chain(tree, named[-1]) if named else [])
        distances.append(len(ours ^ theirs))
        heights += [len(ours - theirs)] if ours != theirs else []
        everything = {ancestor for node in named for ancestor in chain(tree, node)}
        overlaps.append((len(ours & everything), len(everything), len(ours)))
    common, said_nodes, true_nodes = (sum(column) for column in zip((0, 0, 0), *overlaps, strict=True))
    return values | {
        "leaf_accuracy": mean([float(hit) for hits in recalls.values() for hit in hits]),
        "leaf_accuracy_macro": mean([mean([float(hit) for hit in hits]) for hits in recalls.values()]),
        "tree_distance": mean(distances),
        "mistake_severity": mean(heights),
        "hierarchical_precision": share(common, said_nodes),
        "hierarchical_recall": share(common, true_nodes),
        "hierarchical_f1": share(2 * common, said_nodes + true_nodes),
    }


def slow_is_path(tree: Taxonomy, path: Row) -> bool:
    nodes = [node for node in path if node >= 0]
    return not nodes or goes_on(tree, path) == goes_on(tree, padded(tree, chain(tree, nodes[-1])))


def slow_per_level(tree: Taxonomy, scores: Row) -> list[int]:
    return [max(slow_cut(tree, level), key=lambda v: scores[v]) for level in range(tree.num_levels)]


def slow_rollup(tree: Taxonomy, scores: Row) -> list[int]:
    return padded(tree, chain(tree, max(tree.leaves.tolist(), key=lambda v: scores[v])))


def slow_top_down(tree: Taxonomy, scores: Row) -> list[int]:
    path: list[int] = []
    while family := [v for v, p in enumerate(tree.parent.tolist()) if p == (path[-1] if path else -1)]:
        path.append(max(family, key=lambda v: scores[v]))
    return padded(tree, path)


def padded(tree: Taxonomy, path: list[int]) -> list[int]:
    return path + [-1] * (tree.num_levels - len(path))


@quick
@given(judged())
def test_metrics_against_loops(case: tuple[Taxonomy, Tensor, Tensor]) -> None:
    tree, predicted, target = case
    metrics = hierarchy_metrics(tree)
    metrics.update(predicted, target)
    values, expected = metrics.compute(), slow_metrics(tree, predicted, target)
    assert values.keys() == expected.keys()
    for name, value in values.items():
        torch.testing.assert_close(value.item(), expected[name], rtol=1e-5, atol=0, equal_nan=True, msg=name)
    # A leaf left out below itself and a leaf repeated there say the same.
    metrics.reset()
    metrics.update(tree.padded(predicted), tree.padded(target))
    for name, value in metrics.compute().items():
        torch.testing.assert_close(value, values[name], rtol=0, atol=0, equal_nan=True, msg=name)


@quick
@given(judged())
def test_overlap_agrees_with_the_taxonomy(case: tuple[Taxonomy, Tensor, Tensor]) -> None:
    tree, predicted, target = case
    leaf_labelled = tree.num_children[target.amax(dim=1)] == 0
    said, leaf = functional.compared_nodes(predicted, target, tree)
    overlap = functional.path_overlap(predicted, target, tree)
    edges = overlap.predicted + overlap.target - 2 * overlap.common
    known = leaf_labelled & (leaf >= 0)
    last = torch.tensor([([-1] + [v for v in row if v >= 0])[-1] for row in predicted.tolist()], dtype=torch.int64)
    assert torch.equal(edges[known], tree.distance(last, target.amax(dim=1))[known])
    assert torch.equal(said[known], last[known])


@quick
@given(judged())
def test_level_scores_against_torchmetrics(case: tuple[Taxonomy, Tensor, Tensor]) -> None:
    tree, predicted, _ = case
    # Where every level is labelled and answered, the level scores are those of a flat classifier a cut.
    target = predicted.roll(1, dims=0)
    full = (predicted >= 0).all(dim=1) & (target >= 0).all(dim=1)
    predicted, target = predicted[full], target[full]
    if not len(predicted):
        return
    cuts = [tree.cut(level) for level in range(tree.num_levels)]
    for convention, flat in (("accuracy", multiclass_accuracy), ("precision", multiclass_precision)):
        average = "micro" if convention == "accuracy" else "macro"
        expected = torch.tensor(0.0)
        for p, t, cut in zip(predicted.T, target.T, cuts, strict=True):
            p, t = torch.searchsorted(cut, p.contiguous()), torch.searchsorted(cut, t.contiguous())
            # torchmetrics refuses a single class, of which every answer is right.
            score = flat(p, t, num_classes=len(cut), average=average) if len(cut) > 1 else 1
            expected += len(cut) / sum(map(len, cuts)) * score
        value = WeightedAveragePrecision(tree, convention=convention)(predicted, target)  # type: ignore[arg-type]
        torch.testing.assert_close(value, expected)


@quick
@given(scored(), st.integers(0, 2**32 - 1))
def test_leaf_accuracy_level_by_level_is_that_of_the_best_leaf(case: tuple[Taxonomy, Tensor], seed: int) -> None:
    tree, logits = case
    leaf = torch.from_numpy(np.random.default_rng(seed).integers(0, tree.num_leaves, len(logits)))
    best = logits[:, tree.leaves].argmax(dim=1)
    for decode in (per_level_argmax, leaf_rollup):
        value = LeafAccuracy(tree)(decode(logits, tree), tree.leaf_paths[leaf])
        torch.testing.assert_close(value, (best == leaf).float().mean(), equal_nan=True)


@quick
@given(scored())
def test_decoders_against_loops(case: tuple[Taxonomy, Tensor]) -> None:
    tree, logits = case
    slow: dict[Callable[[Tensor, Taxonomy], Tensor], Callable[[Taxonomy, Row], list[int]]] = {
        per_level_argmax: slow_per_level,
        leaf_rollup: slow_rollup,
        top_down: slow_top_down,
    }
    for decode, oracle in slow.items():
        assert decode(logits, tree).tolist() == [oracle(tree, row) for row in logits.tolist()]


@quick
@given(scored())
def test_walking_the_tree_is_always_consistent(case: tuple[Taxonomy, Tensor]) -> None:
    tree, logits = case
    for name, decode in DECODERS.items():
        paths = decode(logits, tree)
        assert is_tree_path(paths, tree).all() or name == "per_level"
        deepest = paths.amax(dim=1)
        assert (tree.num_children[deepest] == 0).all() or name == "per_level"


@quick
@given(scored(), st.integers(0, 2**32 - 1))
def test_on_full_labels_the_whole_path_is_at_most_as_good_as_any_part(case: tuple[Taxonomy, Tensor], seed: int) -> None:
    tree, logits = case
    rng = np.random.default_rng(seed)
    target = tree.leaf_paths[torch.from_numpy(rng.integers(0, tree.num_leaves, len(logits)))]
    for decode in DECODERS.values():
        predicted = decode(logits, tree)
        fpa = FullPathAccuracy(tree)(predicted, target)
        assert not fpa > LeafAccuracy(tree)(predicted, target)
        assert not fpa > WeightedAveragePrecision(tree)(predicted, target) + 1e-6
    target = target[(target >= 0).all(dim=1)]  # on ragged trees only branches that reach every level
    for decode in DECODERS.values():
        predicted = decode(logits[: len(target)], tree)
        fpa = FullPathAccuracy(tree)(predicted, target)
        assert not fpa > LeafAccuracy(tree)(predicted, target)
        assert not (fpa > LevelAccuracy(tree)(predicted, target)).any()
