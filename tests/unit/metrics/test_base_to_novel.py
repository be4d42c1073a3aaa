"""Base-to-novel figures by hand, and the seen-unseen curve against trying every bias."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hierfit.data.choice import novel_leaves, seen_nodes
from hierfit.errors import UserError
from hierfit.metrics.base_to_novel import base_to_novel, harmonic, seen_unseen_curve
from hierfit.taxonomy import Taxonomy

# 0 a, 1 b | 2 a0, 3 a1 (novel), 4 b0, 5 b1 (novel)
TREE = Taxonomy.from_paths([("a", "a0"), ("a", "a1"), ("b", "b0"), ("b", "b1")])


def test_siblings_hold_half_of_each_family_back() -> None:
    assert novel_leaves(TREE, "siblings").tolist() == [False, True, False, True]
    assert seen_nodes(TREE, novel_leaves(TREE, "siblings")).tolist() == [True, True, True, False, True, False]


def test_halves_go_by_name_and_base_gets_the_larger_part() -> None:
    tree = Taxonomy.from_paths([("x", "d"), ("x", "b"), ("y", "a"), ("y", "c"), ("y", "e")])
    novel = novel_leaves(tree, "halves")
    assert {tree.names[v] for v in tree.leaves[novel].tolist()} == {"d", "e"}


def test_subtrees_hold_back_families_with_all_their_leaves() -> None:
    tree = Taxonomy.from_paths([(f"o{i // 4}", f"f{i // 2}", f"s{i}") for i in range(8)])
    assert novel_leaves(tree, "subtrees").tolist() == [False, False, True, True] * 2
    assert novel_leaves(TREE, "subtrees").tolist() == [False, False, True, True]  # roots, where these are the parents


@pytest.mark.parametrize("kind", ["siblings", "subtrees"])
def test_nothing_to_hold_back_is_said(kind: str) -> None:
    lonely = Taxonomy.from_paths([("a", "b")])
    with pytest.raises(UserError, match="nothing back"):
        novel_leaves(lonely, kind)  # type: ignore[arg-type]


def test_figures_by_hand() -> None:
    seen = seen_nodes(TREE, novel_leaves(TREE, "siblings"))
    leaves = torch.tensor([2, 4, 3, 5])
    logits = torch.tensor(
        [
            # a    b    a0   a1   b0   b1
            [1.0, 0.0, 3.0, 5.0, 1.0, 0.0],  # a0: right among base, wrong among all
            [1.0, 0.0, 1.0, 0.0, 4.0, 0.0],  # b0: right both ways; its own root scores less
            [1.0, 0.0, 9.0, 3.0, 0.0, 1.0],  # a1: right among novel, wrong among all
            [0.0, 1.0, 0.0, 4.0, 0.0, 3.0],  # b1: wrong
        ]
    )
    figures = base_to_novel(logits, TREE.paths(leaves), TREE, seen)
    assert figures["base"] == 1.0
    assert figures["novel"] == 0.5
    assert figures["h"] == pytest.approx(2 / 3)
    assert figures["h/level0"] == pytest.approx(2 / 3)  # by the best leaf: what the roots say plays no part
    assert figures["h/level1"] == pytest.approx(2 / 3)
    assert figures["generalised_base"] == 0.5
    assert figures["generalised_novel"] == 0.0
    assert figures["generalised_h"] == 0.0


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31 - 1))
def test_levels_are_those_of_the_best_leaf_of_its_kind(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = [(f"r{i % 2}", f"m{i % 5}", f"l{i}") for i in range(10)] + [
        ("r0", "shallow"),
        ("r1", "low"),
        ("lone",),
        ("own",),
    ]
    tree = Taxonomy.from_paths(rows)
    novel = torch.arange(tree.num_leaves) % 2 == 1
    labels = torch.randint(tree.num_leaves, (30,), generator=generator)
    labels[: tree.num_leaves] = torch.arange(tree.num_leaves)
    logits = torch.randn(30, tree.num_nodes, generator=generator)
    paths = tree.leaf_paths[labels]
    found = base_to_novel(logits, tree.padded(paths) if seed % 2 else paths, tree, seen_nodes(tree, novel))
    right: dict[str, dict[bool, list[bool]]] = {level: {True: [], False: []} for level in ("leaf", *tree.levels)}
    for scores, label in zip(logits.tolist(), labels.tolist(), strict=True):
        kind = bool(novel[label])
        rivals = [leaf for leaf in range(tree.num_leaves) if bool(novel[leaf]) == kind]
        best = max(rivals, key=lambda leaf: scores[int(tree.leaves[leaf])])
        right["leaf"][kind].append(best == label)
        for level, ours, theirs in zip(
            tree.levels, tree.leaf_paths[best].tolist(), tree.leaf_paths[label].tolist(), strict=True
        ):
            if theirs >= 0:
                right[level][kind].append(ours == theirs)
    means = {level: [sum(hits) / len(hits) for hits in kinds.values()] for level, kinds in right.items()}
    assert [found["novel"], found["base"]] == pytest.approx(means["leaf"])
    for level in tree.levels:
        assert found[f"h/{level}"] == pytest.approx(harmonic(*means[level]))


def test_both_kinds_are_needed() -> None:
    seen = seen_nodes(TREE, novel_leaves(TREE, "siblings"))
    with pytest.raises(ValueError, match="of novel"):
        base_to_novel(torch.zeros(1, 6), TREE.paths(torch.tensor([2])), TREE, seen)


def test_a_perfect_method_has_area_one_and_a_hopeless_one_none() -> None:
    base = torch.tensor([True, True, False, False])
    labels = torch.arange(4)
    for logits, area in ((torch.eye(4), 1.0), (torch.eye(4)[[1, 0, 3, 2]], 0.0)):
        curve = seen_unseen_curve(logits, labels, base)
        assert torch.trapezoid(curve[:, 1], curve[:, 0]).item() == pytest.approx(area)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 12), st.integers(0, 2**31 - 1), st.booleans())
def test_the_curve_is_what_trying_every_bias_gives(samples: int, seed: int, ties: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(samples, 5, generator=generator, dtype=torch.float64)
    grain = 2 if ties else 1024  # few bits, so that differences are exact
    logits = logits.mul(grain).round().div(grain)
    base = torch.tensor([True, True, True, False, False])
    labels = torch.randint(5, (samples,), generator=generator)
    labels[:2] = torch.tensor([0, 4])
    is_base = base[labels]

    def point(bias: float) -> tuple[float, float]:
        # Base goes first where both are best: a bias just below the one at which a sample turns.
        shifted = logits - bias * base
        right = torch.where(
            shifted[:, base].amax(1) >= shifted[:, ~base].amax(1),
            logits.masked_fill(~base, -torch.inf).argmax(1) == labels,
            logits.masked_fill(base, -torch.inf).argmax(1) == labels,
        ).double()
        return right[is_base].mean().item(), right[~is_base].mean().item()

    lead = (logits[:, base].amax(1) - logits[:, ~base].amax(1)).unique(sorted=True).flip(0)
    expected = [point(1e9), *(point(bias) for bias in lead.tolist())]
    torch.testing.assert_close(seen_unseen_curve(logits, labels, base), torch.tensor(expected, dtype=torch.float64))
