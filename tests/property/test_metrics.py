"""Metrics and decoders against slow, obvious ones, and what must hold on every tree."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_precision

from hierfit import metrics
from hierfit.decoding import DECODERS, leaf_rollup, path_log_probabilities, per_level_argmax, top_down
from hierfit.metrics import functional, hierarchy_metrics
from hierfit.metrics.consistency import consistent_right, random_cuts
from hierfit.taxonomy import Taxonomy
from tests.oracles import chain, children, cut, forests, goes_on, is_leaf, log_share, padded, quick, seeds

Row: TypeAlias = Sequence[int]
Scored: TypeAlias = tuple[Taxonomy, Tensor, Tensor]


@st.composite
def scored(draw: st.DrawFn) -> Scored:
    """A tree, logits in eighths so that ties occur, and labels of which some stop early."""
    tree, rng = draw(forests()), draw(seeds)
    samples = draw(st.integers(0, 8))
    logits = torch.from_numpy(rng.integers(-24, 25, (samples, tree.num_nodes)) / 8.0)
    return tree, logits, tree.paths(torch.from_numpy(rng.integers(-1, tree.num_nodes, samples)))


@st.composite
def judged(draw: st.DrawFn) -> tuple[Taxonomy, Tensor, Tensor]:
    """A tree, any predicted tuples (broken ones and gaps too), and true paths with some levels unknown."""
    tree, rng = draw(forests()), draw(seeds)
    samples = draw(st.integers(0, 12))
    anywhere = np.stack([rng.choice(cut(tree, level), samples) for level in range(tree.num_levels)], axis=1)
    true = tree.leaf_paths[torch.from_numpy(rng.integers(0, tree.num_leaves, samples))].numpy()
    walked = tree.paths(torch.from_numpy(rng.integers(0, tree.num_nodes, samples))).numpy()
    kind = rng.integers(0, 4, (samples, 1))
    gappy = np.where(rng.random(anywhere.shape) < 0.3, -1, anywhere)
    predicted = np.select([kind == 0, kind == 1, kind == 2], [anywhere, gappy, walked], true)
    target = np.where(rng.random(true.shape) < draw(st.sampled_from([0.0, 0.3])), -1, true)
    return tree, torch.from_numpy(predicted), torch.from_numpy(target)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def slow_is_path(tree: Taxonomy, path: Row) -> bool:
    nodes = [node for node in path if node >= 0]
    return not nodes or goes_on(tree, path) == goes_on(tree, padded(tree, chain(tree, nodes[-1])))


def slow_metrics(tree: Taxonomy, predicted: Tensor, target: Tensor) -> dict[str, float]:
    """Every metric by loops over samples, node sets and names of nodes."""
    rows = zip(predicted.tolist(), target.tolist(), strict=True)
    pairs = [(goes_on(tree, p), goes_on(tree, t)) for p, t in rows if max(t) >= 0]
    values = {
        "fpa": mean([all(b in (-1, a) for a, b in zip(p, t, strict=True)) for p, t in pairs]),
        "tice": mean([not slow_is_path(tree, p) for p, _ in pairs]),
    }
    accuracy, precision, sizes = [], [], []
    for level, name in enumerate(tree.levels):
        here = [(p[level], t[level]) for p, t in pairs if t[level] >= 0]
        values[f"accuracy/{name}"] = mean([a == b for a, b in here if len(chain(tree, b)) == level + 1])
        if here:
            accuracy.append(mean([a == b for a, b in here]))
            seen = {node for pair in here for node in pair} - {-1}
            precision.append(mean([mean([float(t == v) for p, t in here if p == v] or [0.0]) for v in seen]))
            sizes.append(len(cut(tree, level)))
    for name, scores in (("wap_accuracy", accuracy), ("wap_precision", precision)):
        weighted = [score * size for score, size in zip(scores, sizes, strict=True)]
        values[name] = sum(weighted) / sum(sizes) if sizes else math.nan

    recalls: dict[int, list[float]] = {}
    distances, heights, overlaps = [], [], [(0, 0, 0)]
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
    common, of_predicted, of_target = (sum(column) for column in zip(*overlaps, strict=True))
    return values | {
        "leaf_accuracy": mean([hit for hits in recalls.values() for hit in hits]),
        "leaf_accuracy_macro": mean([mean(hits) for hits in recalls.values()]),
        "tree_distance": mean(distances),
        "mistake_severity": mean(heights),
        "hierarchical_precision": common / of_predicted if of_predicted else math.nan,
        "hierarchical_recall": common / of_target if of_target else math.nan,
        "hierarchical_f1": 2 * common / (of_predicted + of_target) if of_target else math.nan,
    }


@quick
@given(judged())
def test_metrics_against_loops(case: tuple[Taxonomy, Tensor, Tensor]) -> None:
    tree, predicted, target = case
    found = hierarchy_metrics(tree)
    found.update(predicted, target)
    values, expected = found.compute(), slow_metrics(tree, predicted, target)
    assert {name: value.item() for name, value in values.items()} == pytest.approx(expected, rel=1e-5, nan_ok=True)
    # A leaf left out below itself and a leaf repeated there say the same.
    found.reset()
    found.update(tree.padded(predicted), tree.padded(target))
    for name, value in found.compute().items():
        torch.testing.assert_close(value, values[name], rtol=0, atol=0, equal_nan=True, msg=name)


@quick
@given(judged())
def test_overlap_agrees_with_the_taxonomy(case: tuple[Taxonomy, Tensor, Tensor]) -> None:
    tree, predicted, target = case
    _, deepest, true = functional.judged_nodes(predicted, target, tree)
    overlap = functional.overlap_tally(predicted, target, tree)
    edges = tree.distance(deepest, true)[true >= 0].sum()
    assert overlap.predicted + overlap.target - 2 * overlap.common == edges


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
        for p, t, nodes in zip(predicted.T, target.T, cuts, strict=True):
            p, t = torch.searchsorted(nodes, p.contiguous()), torch.searchsorted(nodes, t.contiguous())
            # torchmetrics refuses a single class, of which every answer is right.
            score = flat(p, t, num_classes=len(nodes), average=average) if len(nodes) > 1 else 1
            expected += len(nodes) / sum(map(len, cuts)) * score
        metric = metrics.WeightedAveragePrecision(tree, convention=convention)  # type: ignore[arg-type]
        torch.testing.assert_close(metric(predicted, target), expected)


def slow_per_level(tree: Taxonomy, z: Sequence[float]) -> list[int]:
    return [max(cut(tree, level), key=lambda v: z[v]) for level in range(tree.num_levels)]


def slow_rollup(tree: Taxonomy, z: Sequence[float]) -> list[int]:
    return padded(tree, chain(tree, max(cut(tree, tree.num_levels - 1), key=lambda v: z[v])))


def slow_top_down(tree: Taxonomy, z: Sequence[float]) -> list[int]:
    path: list[int] = []
    while family := children(tree, path[-1] if path else -1):
        path.append(max(family, key=lambda v: z[v]))
    return padded(tree, path)


@quick
@given(scored())
def test_decoders_against_loops(case: Scored) -> None:
    tree, logits, _ = case
    slow: dict[Callable[[Tensor, Taxonomy], Tensor], Callable[[Taxonomy, Sequence[float]], list[int]]] = {
        per_level_argmax: slow_per_level,
        leaf_rollup: slow_rollup,
        top_down: slow_top_down,
    }
    for decode, oracle in slow.items():
        assert decode(logits, tree).tolist() == [oracle(tree, row) for row in logits.tolist()]
    cuts = [cut(tree, level) for level in range(tree.num_levels)]
    assert [tree.cut(level).tolist() for level in range(tree.num_levels)] == cuts
    for z, found in zip(logits.tolist(), path_log_probabilities(logits, tree).tolist(), strict=True):
        paths = [goes_on(tree, padded(tree, chain(tree, leaf))) for leaf in tree.leaves.tolist()]
        sums = [sum(log_share(z, [v], nodes) for v, nodes in zip(path, cuts, strict=True)) for path in paths]
        assert found == pytest.approx(sums, abs=1e-9)
    leaves = tree.leaves[path_log_probabilities(logits, tree).argmax(dim=1)]
    assert torch.equal(DECODERS["best_path"](logits, tree), tree.paths(leaves))


@quick
@given(scored(), seeds)
def test_what_holds_for_every_decoder(case: Scored, rng: np.random.Generator) -> None:
    tree, logits, _ = case
    target = tree.leaf_paths[torch.from_numpy(rng.integers(0, tree.num_leaves, len(logits)))]
    best = (logits[:, tree.leaves].argmax(dim=1) == tree.leaf_index[target.amax(dim=1)]).float().mean()
    reaches = (target >= 0).all(dim=1)  # on ragged trees only some branches reach every level
    for name, decode in DECODERS.items():
        predicted = decode(logits, tree)
        if name != "per_level":
            assert functional.is_tree_path(predicted, tree).all()
            assert (tree.num_children[predicted.amax(dim=1)] == 0).all()
        leaf = metrics.LeafAccuracy(tree)(predicted, target)
        if name in ("per_level", "rollup"):
            torch.testing.assert_close(leaf, best, equal_nan=True)
        # On full labels the whole path is at most as good as any part.
        fpa = metrics.FullPathAccuracy(tree)(predicted, target)
        assert not fpa > leaf
        assert not fpa > metrics.WeightedAveragePrecision(tree)(predicted, target) + 1e-6
        fpa = metrics.FullPathAccuracy(tree)(predicted[reaches], target[reaches])
        assert not (fpa > metrics.LevelAccuracy(tree)(predicted[reaches], target[reaches])).any()


@quick
@given(scored(), st.integers(0, 100))
def test_consistency_against_loops(case: Scored, seed: int) -> None:
    tree, logits, target = case
    cuts = [[v for v, inside in enumerate(row) if inside] for row in random_cuts(tree, 7, seed).tolist()]
    for row in cuts:  # every leaf lies at or below one node of a cut
        assert [len(set(row) & set(chain(tree, leaf))) for leaf in tree.leaves.tolist()] == [1] * tree.num_leaves
    right: list[bool] = []
    of_cuts: list[list[bool]] = [[] for _ in cuts]
    for z, path in zip(logits.tolist(), target.tolist(), strict=True):
        up = chain(tree, max(path))
        if up and is_leaf(tree, up[-1]):
            choices = [(tree.leaves.tolist(), up[-1]), *((children(tree, int(tree.parent[v])), v) for v in up)]
            right.append(all(max(rivals, key=lambda v: z[v]) == truth for rivals, truth in choices))
        for row, hits in zip(cuts, of_cuts, strict=True):
            if truth := set(row) & set(up):
                hits.append({max(row, key=lambda v: z[v])} == truth)
    hca = metrics.HierarchicalConsistentAccuracy(tree)(logits, target)
    mta = metrics.MeanTreecutAccuracy(tree, 7, seed)(logits, target)
    assert hca.item() == pytest.approx(mean(right), nan_ok=True)
    assert mta.item() == pytest.approx(mean([mean(hits) for hits in of_cuts if hits]), nan_ok=True)
    # The descent takes the best child at every ancestor.
    leaf = target.amax(dim=1)
    both = (leaf_rollup(logits, tree).amax(dim=1) == leaf) & (top_down(logits, tree).amax(dim=1) == leaf)
    assert torch.equal(consistent_right(logits, target, tree), both)


def test_nodes_are_opened_as_often_as_said() -> None:
    tree = Taxonomy.from_paths([(root, kind) for root in "abcdefgh" for kind in "xy"])
    closed = random_cuts(tree, 5000)[:, :8].double()
    # Each of five probabilities in turn: 8 × 1000 draws of each.
    found = closed.reshape(1000, 5, 8).mean(dim=(0, 2))
    torch.testing.assert_close(found, torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9]).double(), atol=0.025, rtol=0)
    assert torch.equal(random_cuts(tree, 25), random_cuts(tree, 25))
    assert not torch.equal(random_cuts(tree, 25), random_cuts(tree, 25, seed=1))


def test_what_are_no_logits_is_refused() -> None:
    tree = Taxonomy.from_paths([("a", "b"), ("c",)])
    metric = metrics.HierarchicalConsistentAccuracy(tree)
    for logits, target, message in (
        (torch.zeros(2, 2), tree.leaf_paths, r"logits are \[2, 2\]; expected \[2, 3\]"),
        (torch.full((2, 3), torch.nan), tree.leaf_paths, "NaN"),
        (torch.zeros(2, 3), tree.leaf_paths[:, :1], "target is"),
    ):
        with pytest.raises(ValueError, match=message):
            metric.update(logits, target)
