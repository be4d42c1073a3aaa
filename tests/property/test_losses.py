"""The losses against slow, obvious versions on any forest, ragged or even, with any labels missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hierfit.losses.levels import read_levels
from hierfit.losses.objective import LOSSES
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.cuts import sibling_families
from hierfit.taxonomy.upward import leaf_marginals, node_heights
from tests.oracles import chain, children, cut, forests, goes_on, is_leaf, leaves_below, log_share, quick, seeds

Case: TypeAlias = tuple[Taxonomy, Tensor, Tensor]
Row: TypeAlias = Sequence[float]
Cost: TypeAlias = Callable[[Taxonomy, Row, Sequence[int]], float]


@st.composite
def batches(draw: st.DrawFn) -> Case:
    """A forest, logits, and paths down to any node with some levels unknown."""
    tree, rng = draw(forests()), draw(seeds)
    samples = draw(st.integers(0, 6))
    paths = tree.paths(torch.from_numpy(rng.integers(0, tree.num_nodes, samples))).numpy()
    paths = np.where(rng.random(paths.shape) < draw(st.sampled_from([0.0, 0.3])), -1, paths)
    logits = draw(st.sampled_from([1.0, 20.0])) * rng.standard_normal((samples, tree.num_nodes))
    return tree, torch.from_numpy(logits), torch.from_numpy(paths)


def holds(case: Case, name: str, cost: Cost, **options: Any) -> float:
    """A loss is the mean of a sample's cost over samples with a label."""
    tree, logits, paths = case
    value = LOSSES.find(name)(logits, paths, tree, **options).item()
    rows = zip(logits.tolist(), paths.tolist(), strict=True)
    costs = [cost(tree, z, goes_on(tree, y)) for z, y in rows if max(y) >= 0]
    assert value == pytest.approx(sum(costs) / len(costs) if costs else 0.0, rel=1e-9, abs=1e-9)
    return value


def height(tree: Taxonomy, node: int) -> int:
    return max(len(chain(tree, leaf)) for leaf in leaves_below(tree, node)) - len(chain(tree, node))


def labels(y: Sequence[int]) -> list[tuple[int, int]]:
    return [(level, v) for level, v in enumerate(y) if v >= 0]


def level_ce(tree: Taxonomy, z: Row, y: Sequence[int]) -> float:
    return sum(-log_share(z, [v], cut(tree, level)) for level, v in labels(y)) / len(labels(y))


def tp_kl(weights: Row) -> Cost:
    def cost(tree: Taxonomy, z: Row, y: Sequence[int]) -> float:
        support = [v for level, _ in labels(y) for v in cut(tree, level)]
        shares = [(weights[level], v) for level, v in labels(y) if weights[level]]
        total = sum(weight for weight, _ in shares)
        return sum(w / total * (math.log(w / total) - log_share(z, [v], support)) for w, v in shares)

    return cost


def hisce(inner: Row, leaf: Row, roots: str) -> Cost:
    def cost(tree: Taxonomy, z: Row, y: Sequence[int]) -> float:
        total = 0.0
        for level, v in labels(y):
            siblings = [s for s in children(tree, int(tree.parent[v])) if s != v]
            # Below its own level a leaf goes on as its own only child.
            if len(chain(tree, v)) <= level or (tree.parent[v] < 0 and roots == "unsmoothed"):
                siblings = []
            rate = (leaf if is_leaf(tree, v) else inner)[level] if siblings else 0.0
            target = {v: 1 - rate} | {s: rate / len(siblings) for s in siblings}
            total -= sum(mass * log_share(z, [u], cut(tree, level)) for u, mass in target.items())
        return total

    return cost


def leaf_ce(tree: Taxonomy, z: Row, y: Sequence[int]) -> float:
    return -log_share(z, leaves_below(tree, max(y)), leaves_below(tree, -1))


def hxe(alpha: float) -> Cost:
    def cost(tree: Taxonomy, z: Row, y: Sequence[int]) -> float:
        path = chain(tree, max(y))
        edges = list(zip([-1, *path], path, strict=False))  # from the virtual root, which a single root is itself
        edges = edges[1:] if len(children(tree, -1)) == 1 else edges
        return -sum(
            math.exp(-alpha * depth) * log_share(z, leaves_below(tree, child), leaves_below(tree, parent))
            for depth, (parent, child) in enumerate(edges)
        )

    return cost


def hace(dilution: float) -> Cost:
    def cost(tree: Taxonomy, z: Row, y: Sequence[int]) -> float:
        path = chain(tree, max(y))[::-1]
        weights = [dilution**steps for steps in range(len(path))]
        costs = [-log_share(z, leaves_below(tree, v), leaves_below(tree, -1)) for v in path]
        return sum(w * c for w, c in zip(weights, costs, strict=True)) / sum(weights)

    return cost


def soft_labels(beta: float) -> Cost:
    def cost(tree: Taxonomy, z: Row, y: Sequence[int]) -> float:
        everything = leaves_below(tree, -1)
        top = tree.num_levels if len(children(tree, -1)) > 1 else max(1, tree.num_levels - 1)
        far = {}
        for leaf in everything:
            shared = set(chain(tree, leaf)) & set(chain(tree, max(y)))
            far[leaf] = min((height(tree, v) for v in shared), default=top)
        weights = {leaf: math.exp(-beta * (d - min(far.values())) / top) for leaf, d in far.items()}
        total = sum(weights.values())
        return -sum(w / total * log_share(z, [leaf], everything) for leaf, w in weights.items())

    return cost


@pytest.mark.parametrize(
    ("name", "cost", "options"),
    [
        ("level_ce", level_ce, {}),
        ("leaf_ce", leaf_ce, {}),
        *(("hxe", hxe(alpha), {"alpha": alpha}) for alpha in (0.0, 0.1, 1.0)),
        *(("hace", hace(dilution), {"dilution": dilution}) for dilution in (0.0, 0.2, 0.7)),
        *(("soft_labels", soft_labels(beta), {"beta": beta}) for beta in (0.0, 4.0, 30.0, 1e4)),
    ],
)
@quick
@given(case=batches())
def test_a_loss_is_what_it_says(name: str, cost: Cost, options: dict[str, float], case: Case) -> None:
    holds(case, name, cost, **options)


@quick
@given(batches(), st.data())
def test_tp_kl(case: Case, data: st.DataObject) -> None:
    levels = case[0].num_levels
    # The identity: what it adds to level cross-entropy is KL(uniform‖mass of the labelled levels) ≥ 0.
    assert holds(case, "tp_kl", tp_kl([1.0] * levels)) >= holds(case, "level_ce", level_ce) - 1e-9
    weights = [*data.draw(st.lists(st.sampled_from([0.0, 0.5, 3.0]), min_size=levels - 1, max_size=levels - 1)), 2.0]
    holds(case, "tp_kl", tp_kl(weights), level_weights=weights)


@quick
@given(batches(), st.data())
def test_hisce(case: Case, data: st.DataObject) -> None:
    levels = case[0].levels
    rates = data.draw(st.lists(st.sampled_from([0.0, 0.1, 0.9]), min_size=len(levels), max_size=len(levels)))
    options = {"roots": data.draw(st.sampled_from(["siblings", "unsmoothed"])), "over_levels": "sum"}
    holds(case, "hisce", hisce(rates, rates, options["roots"]), epsilon=rates, **options)
    by_name = {**dict(zip(levels, rates, strict=True)), "leaf": 0.2}
    holds(case, "hisce", hisce(rates, [0.2] * len(levels), options["roots"]), epsilon=by_name, **options)


@quick
@given(batches())
def test_consistency(case: Case) -> None:
    tree, logits, paths = case
    value, total = LOSSES.find("js")(logits, paths, tree).item(), 0.0
    for z in logits.tolist():
        for upper in range(tree.num_levels - 1):
            for v in cut(tree, upper):
                p = math.exp(log_share(z, [v], cut(tree, upper)))
                q = math.exp(log_share(z, children(tree, v) or [v], cut(tree, upper + 1)))
                total += sum(x * math.log(2 * x / (p + q)) / 2 for x in (p, q) if x > 0)
    pairs = len(logits) * (tree.num_levels - 1)
    assert value == pytest.approx(total / pairs if pairs else 0.0, rel=1e-9, abs=1e-9)
    assert -1e-9 <= value <= math.log(2) + 1e-9


@quick
@given(batches())
def test_marginals_heights_and_families(case: Case) -> None:
    tree, logits, _ = case
    everything = leaves_below(tree, -1)
    log_p = leaf_marginals(logits, tree) - logits[:, tree.leaves].logsumexp(dim=1, keepdim=True)
    for z, row in zip(logits.tolist(), log_p.tolist(), strict=True):
        expected = [log_share(z, leaves_below(tree, v), everything) for v in range(tree.num_nodes)]
        np.testing.assert_allclose(row, expected, rtol=1e-9, atol=1e-9)
    assert node_heights(tree).tolist() == [height(tree, v) for v in range(tree.num_nodes)]
    sizes = [len(children(tree, above)) for above in tree.parent.tolist()]
    families = sibling_families(tree)
    assert families.size[tree.group].tolist() == sizes
    assert list(families.widest) == [max(sizes[level]) for level in tree.level_slices]


@quick
@given(batches())
def test_gradients_are_those_of_autograd_on_the_cuts_written_out(case: Case) -> None:
    """The backward pass of what the level losses read, against autograd on one softmax a cut."""
    tree, logits, paths = case
    weights = torch.linspace(0.5, 1.5, tree.num_levels, dtype=torch.float64)
    gradients = []
    for obvious in (True, False):
        z = logits.clone().requires_grad_()
        cuts = [z[:, tree.cut(level)].logsumexp(dim=1) for level in range(tree.num_levels)]
        lse = torch.stack(cuts, dim=1) if obvious else read_levels(z, paths, tree).lse
        ((lse * weights).sum() + lse.logsumexp(dim=1).square().sum()).backward()
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
    assert torch.equal(lse, torch.stack([level.logsumexp(dim=1) for level in levels], dim=1))
    assert torch.equal(label, z.gather(1, paths))
    assert torch.equal(padded, paths)
    ((lse - label) * weights).sum().backward()
    masses = [(level - lse[:, i, None]).exp() * weights[:, i, None] for i, level in enumerate(levels)]
    assert torch.equal(z.grad, torch.cat(masses, dim=1).scatter_add(1, paths, -weights))
