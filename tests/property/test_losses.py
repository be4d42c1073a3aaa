"""The losses against slow, obvious versions on any forest, ragged or even, with any labels missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hierfit.losses.cuts import (
    level_consistency,
    level_cross_entropy,
    sibling_smoothed_cross_entropy,
    tree_path_kl,
)
from hierfit.losses.leaves import (
    hierarchical_cross_entropy,
    hierarchy_aware_cross_entropy,
    leaf_cross_entropy,
    soft_label_cross_entropy,
)
from hierfit.losses.levels import read_levels
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.cuts import sibling_families
from hierfit.taxonomy.upward import leaf_marginals, node_heights

Case: TypeAlias = tuple[Taxonomy, Tensor, Tensor]
Cost: TypeAlias = Callable[[Taxonomy, Sequence[float], Sequence[int]], float]
quick = settings(max_examples=60, deadline=None)


@st.composite
def batches(draw: st.DrawFn, max_nodes: int = 24) -> Case:
    """A forest, logits, and paths down to any node with some levels unknown."""
    parents = [draw(st.integers(-1, i - 1)) for i in range(draw(st.integers(1, max_nodes)))]
    tree = Taxonomy.from_parents([f"n{i}" for i in range(len(parents))], parents)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    samples = draw(st.integers(0, 6))
    paths = tree.paths(torch.from_numpy(rng.integers(0, tree.num_nodes, samples))).numpy()
    paths = np.where(rng.random(paths.shape) < draw(st.sampled_from([0.0, 0.3])), -1, paths)
    logits = draw(st.sampled_from([1.0, 20.0])) * rng.standard_normal((samples, tree.num_nodes))
    return tree, torch.from_numpy(logits), torch.from_numpy(paths)


def mean_cost(cost: Cost, case: Case) -> float:
    """The mean of a sample's cost over samples with a label."""
    tree, logits, paths = case
    labelled = [(z, y) for z, y in zip(logits.tolist(), paths.tolist(), strict=True) if max(y) >= 0]
    return sum(cost(tree, z, y) for z, y in labelled) / len(labelled) if labelled else 0.0


def agree(value: Tensor, expected: float) -> None:
    torch.testing.assert_close(value.item(), expected, rtol=1e-9, atol=1e-9)


def log_share(z: Sequence[float], part: Sequence[int], whole: Sequence[int]) -> float:
    """log of the softmax mass over ``whole`` that lies on ``part``."""
    top, peak = max(z[v] for v in whole), max(z[v] for v in part)
    total = top + math.log(sum(math.exp(z[v] - top) for v in whole))
    return peak + math.log(sum(math.exp(z[v] - peak) for v in part)) - total


def is_leaf(tree: Taxonomy, node: int) -> bool:
    return not len(tree.children(node))


def cut(tree: Taxonomy, level: int) -> list[int]:
    """The nodes at a depth, and the leaves that ended above it."""
    depths = enumerate(tree.level.tolist())
    return [v for v, depth in depths if depth == level or (depth < level and is_leaf(tree, v))]


def up(tree: Taxonomy, node: int) -> list[int]:
    """The node and its ancestors, root last."""
    return [node, *up(tree, int(tree.parent[node]))] if node >= 0 else []


def leaves_below(tree: Taxonomy, node: int) -> list[int]:
    """−1 is the virtual root."""
    return [leaf for leaf in tree.leaves.tolist() if node < 0 or node in up(tree, leaf)]


def height(tree: Taxonomy, node: int) -> int:
    return max(up(tree, leaf).index(node) for leaf in leaves_below(tree, node))


def labels(tree: Taxonomy, y: Sequence[int]) -> list[tuple[int, int]]:
    """Level and node of each label; a leaf is its own label on every deeper level."""
    given = [(level, v) for level, v in enumerate(y) if v >= 0]
    level, deepest = given[-1]
    deeper = range(level + 1, tree.num_levels) if is_leaf(tree, deepest) else []
    return [*given, *((level, deepest) for level in deeper)]


def slow_level_ce(tree: Taxonomy, z: Sequence[float], y: Sequence[int]) -> float:
    return sum(-log_share(z, [v], cut(tree, level)) for level, v in labels(tree, y)) / len(labels(tree, y))


def slow_tp_kl(weights: Sequence[float]) -> Cost:
    def cost(tree: Taxonomy, z: Sequence[float], y: Sequence[int]) -> float:
        given = labels(tree, y)
        support = [v for level, _ in given for v in cut(tree, level)]
        shares = [(weights[level], v) for level, v in given if weights[level]]
        total = sum(weight for weight, _ in shares)
        return sum(w / total * (math.log(w / total) - log_share(z, [v], support)) for w, v in shares)

    return cost


def slow_hisce(inner: Sequence[float], leaf: Sequence[float], roots: str) -> Cost:
    def cost(tree: Taxonomy, z: Sequence[float], y: Sequence[int]) -> float:
        total = 0.0
        for level, v in labels(tree, y):
            # Below its own level a leaf goes on as its own only child.
            siblings = tree.siblings(v).tolist() if int(tree.level[v]) == level else []
            if tree.parent[v] < 0 and roots == "unsmoothed":
                siblings = []
            rate = (leaf if is_leaf(tree, v) else inner)[level] if siblings else 0.0
            target = {v: 1 - rate} | {s: rate / len(siblings) for s in siblings}
            total -= sum(mass * log_share(z, [u], cut(tree, level)) for u, mass in target.items())
        return total

    return cost


def slow_leaf_ce(tree: Taxonomy, z: Sequence[float], y: Sequence[int]) -> float:
    return -log_share(z, leaves_below(tree, max(y)), leaves_below(tree, -1))


def slow_hxe(alpha: float) -> Cost:
    def cost(tree: Taxonomy, z: Sequence[float], y: Sequence[int]) -> float:
        path = up(tree, max(y))[::-1]
        edges = list(zip([-1, *path], path, strict=False))  # from the virtual root, which a single root is itself
        edges = edges[1:] if tree.level_sizes[0] == 1 else edges
        return -sum(
            math.exp(-alpha * depth) * log_share(z, leaves_below(tree, child), leaves_below(tree, parent))
            for depth, (parent, child) in enumerate(edges)
        )

    return cost


def slow_hace(dilution: float) -> Cost:
    def cost(tree: Taxonomy, z: Sequence[float], y: Sequence[int]) -> float:
        path = up(tree, max(y))
        weights = [dilution**steps for steps in range(len(path))]
        costs = [-log_share(z, leaves_below(tree, v), leaves_below(tree, -1)) for v in path]
        return sum(w * c for w, c in zip(weights, costs, strict=True)) / sum(weights)

    return cost


def slow_soft_labels(beta: float) -> Cost:
    def cost(tree: Taxonomy, z: Sequence[float], y: Sequence[int]) -> float:
        everything = leaves_below(tree, -1)
        top = tree.num_levels if tree.level_sizes[0] > 1 else max(1, tree.num_levels - 1)
        far = {}
        for leaf in everything:
            shared = [v for v in up(tree, leaf) if v in up(tree, max(y))]
            far[leaf] = height(tree, shared[0]) if shared else top
        weights = {leaf: math.exp(-beta * (d - min(far.values())) / top) for leaf, d in far.items()}
        total = sum(weights.values())
        return -sum(w / total * log_share(z, [leaf], everything) for leaf, w in weights.items())

    return cost


@quick
@given(batches())
def test_level_cross_entropy(case: Case) -> None:
    agree(level_cross_entropy(case[1], case[2], case[0]), mean_cost(slow_level_ce, case))


@quick
@given(batches())
def test_leaf_cross_entropy(case: Case) -> None:
    agree(leaf_cross_entropy(case[1], case[2], case[0]), mean_cost(slow_leaf_ce, case))


@quick
@given(batches(), st.data())
def test_tp_kl(case: Case, data: st.DataObject) -> None:
    tree, logits, paths = case
    value = tree_path_kl(logits, paths, tree)
    agree(value, mean_cost(slow_tp_kl([1.0] * tree.num_levels), case))
    # The identity: what it adds to level cross-entropy is KL(uniform‖mass of the labelled levels) ≥ 0.
    assert value >= level_cross_entropy(logits, paths, tree) - 1e-9
    weight = st.sampled_from([0.0, 0.5, 1.0, 3.0])
    weights = [*data.draw(st.lists(weight, min_size=tree.num_levels - 1, max_size=tree.num_levels - 1)), 2.0]
    agree(tree_path_kl(logits, paths, tree, level_weights=weights), mean_cost(slow_tp_kl(weights), case))


@quick
@given(batches(), st.data())
def test_hisce(case: Case, data: st.DataObject) -> None:
    tree, logits, paths = case
    rate = st.sampled_from([0.0, 0.1, 0.3, 0.9])
    rates = data.draw(st.lists(rate, min_size=tree.num_levels, max_size=tree.num_levels))
    roots = data.draw(st.sampled_from(["siblings", "unsmoothed"]))
    value = sibling_smoothed_cross_entropy(
        logits,
        paths,
        tree,
        epsilon=rates,
        roots=roots,  # type: ignore[arg-type]
        over_levels="sum",
    )
    agree(value, mean_cost(slow_hisce(rates, rates, roots), case))
    rates_by_name = {**dict(zip(tree.levels, rates, strict=True)), "leaf": 0.2}
    value = sibling_smoothed_cross_entropy(
        logits,
        paths,
        tree,
        epsilon=rates_by_name,
        roots=roots,  # type: ignore[arg-type]
        over_levels="sum",
    )
    agree(value, mean_cost(slow_hisce(rates, [0.2] * tree.num_levels, roots), case))


@quick
@given(batches(), st.sampled_from([0.0, 0.1, 1.0]))
def test_hxe(case: Case, alpha: float) -> None:
    value = hierarchical_cross_entropy(case[1], case[2], case[0], alpha=alpha)
    agree(value, mean_cost(slow_hxe(alpha), case))


@quick
@given(batches(), st.sampled_from([0.0, 0.2, 0.7]))
def test_hace(case: Case, dilution: float) -> None:
    value = hierarchy_aware_cross_entropy(case[1], case[2], case[0], dilution=dilution)
    agree(value, mean_cost(slow_hace(dilution), case))


@quick
@given(batches(), st.sampled_from([0.0, 4.0, 30.0, 1e4]))
def test_soft_labels(case: Case, beta: float) -> None:
    value = soft_label_cross_entropy(case[1], case[2], case[0], beta=beta)
    agree(value, mean_cost(slow_soft_labels(beta), case))


@quick
@given(batches())
def test_consistency(case: Case) -> None:
    tree, logits, paths = case
    value = level_consistency(logits, paths, tree)
    total = 0.0
    for z in logits.tolist():
        for upper in range(tree.num_levels - 1):
            lower = cut(tree, upper + 1)
            for v in cut(tree, upper):
                p = math.exp(log_share(z, [v], cut(tree, upper)))
                q = math.exp(log_share(z, tree.children(v).tolist() or [v], lower))
                total += sum(x * math.log(2 * x / (p + q)) / 2 for x in (p, q) if x > 0)
    pairs = len(logits) * (tree.num_levels - 1)
    agree(value, total / pairs if pairs else 0.0)
    assert -1e-9 <= value <= math.log(2) + 1e-9


@quick
@given(batches())
def test_marginals_and_heights(case: Case) -> None:
    tree, logits, _ = case
    everything = leaves_below(tree, -1)
    log_p = leaf_marginals(logits, tree) - logits[:, tree.leaves].logsumexp(dim=1, keepdim=True)
    for z, row in zip(logits.tolist(), log_p.tolist(), strict=True):
        expected = [log_share(z, leaves_below(tree, v), everything) for v in range(tree.num_nodes)]
        np.testing.assert_allclose(row, expected, rtol=1e-9, atol=1e-9)
    assert node_heights(tree).tolist() == [height(tree, v) for v in range(tree.num_nodes)]
    with_siblings = [v for v in range(tree.num_nodes) if len(tree.siblings(v))]
    families = sibling_families(tree)
    assert (families.size[tree.group] > 1).nonzero()[:, 0].tolist() == with_siblings
    widest = [max(1 + len(tree.siblings(v)) for v in range(s.start, s.stop)) for s in tree.level_slices]
    assert list(families.widest) == widest


@quick
@given(batches())
def test_gradients_are_those_of_autograd_on_the_cuts_written_out(case: Case) -> None:
    """The backward pass of what the level losses read, against autograd on one softmax a cut."""
    tree, logits, paths = case
    weights = torch.linspace(0.5, 1.5, tree.num_levels, dtype=torch.float64)

    def obvious(z: Tensor) -> Tensor:
        lse = torch.stack([z[:, tree.cut(level)].logsumexp(dim=1) for level in range(tree.num_levels)], dim=1)
        return (lse * weights).sum() + lse.logsumexp(dim=1).square().sum()

    def ours(z: Tensor) -> Tensor:
        lse = read_levels(z, paths, tree).lse
        return (lse * weights).sum() + lse.logsumexp(dim=1).square().sum()

    gradients = []
    for loss in (obvious, ours):
        z = logits.clone().requires_grad_()
        loss(z).backward()
        gradients.append(z.grad)
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


@quick
@given(st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(0, 2**16), st.sampled_from([1.0, 20.0]))
def test_on_an_even_tree_a_reading_is_that_of_its_levels_to_the_bit(shape: list[int], seed: int, scale: float) -> None:
    rows: list[tuple[str, ...]] = [()]
    for width in shape:
        rows = [(*row, f"n{i}") for row in rows for i in range(width)]
    tree = Taxonomy.from_paths(rows)
    generator = torch.Generator().manual_seed(seed)
    z = (scale * torch.randn(5, tree.num_nodes, generator=generator)).requires_grad_()
    paths = tree.leaf_paths[torch.randint(tree.num_leaves, (5,), generator=generator)]
    padded, lse, label = read_levels(z, paths, tree)
    weights = torch.rand(lse.shape, generator=generator)
    levels = z.detach().split(tree.level_sizes, dim=1)
    expected = torch.stack([level.logsumexp(dim=1) for level in levels], dim=1)
    assert torch.equal(lse, expected)
    assert torch.equal(label, z.gather(1, paths))
    assert torch.equal(padded, paths)
    ((lse - label) * weights).sum().backward()
    masses = [(level - lse[:, i, None]).exp() * weights[:, i, None] for i, level in enumerate(levels)]
    assert z.grad is not None
    assert torch.equal(z.grad, torch.cat(masses, dim=1).scatter_add(1, paths, -weights))
