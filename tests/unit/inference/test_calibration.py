"""Beliefs against sums over leaves written out; temperatures that are known; errors by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hierfit.decoding import DECODERS
from hierfit.inference.belief import BELIEFS
from hierfit.inference.calibration import (
    Calibration,
    calibration_errors,
    expected_calibration_error,
    fit_temperature,
)
from hierfit.taxonomy import Taxonomy


def tree_of(parents: list[int]) -> Taxonomy:
    links = [-1, -1, *(parent % (place + 2) for place, parent in enumerate(parents))]
    return Taxonomy.from_parents([f"n{i}" for i in range(len(links))], links)


trees = st.lists(st.integers(0, 30), min_size=1, max_size=12).map(tree_of)


def normalised(tree: Taxonomy, mass: torch.Tensor) -> torch.Tensor:
    return torch.cat([mass[:, nodes] / mass[:, nodes].sum(1, keepdim=True) for nodes in tree.level_slices], 1)


def slow(decoder: str, logits: torch.Tensor, tree: Taxonomy) -> torch.Tensor:
    """Probability of each node within its level, node by node."""
    level = torch.cat([logits[:, nodes].softmax(1) for nodes in tree.level_slices], 1)
    if decoder == "per_level":
        return level
    mass = torch.zeros_like(logits)
    if decoder == "top_down":
        for node in range(tree.num_nodes):
            above = int(tree.parent[node])
            peers = tree.children(above)
            chance = logits[:, peers].softmax(1)[:, peers.tolist().index(node)]
            mass[:, node] = chance * (mass[:, above] if above >= 0 else 1)
        return normalised(tree, mass)
    for leaf in tree.leaves.tolist():
        path = [v for v in tree.paths(torch.tensor(leaf)).tolist() if v >= 0]
        score = logits[:, leaf].exp()
        if decoder == "best_path":
            score = (tree.num_levels * level[:, path].log().mean(1)).exp()
        mass[:, path] += score[:, None]
    return normalised(tree, mass)


@given(trees, st.integers(0, 99), st.sampled_from(sorted(BELIEFS)))
@settings(max_examples=60, deadline=None)
def test_a_belief_is_the_sum_written_out(tree: Taxonomy, seed: int, decoder: str) -> None:
    logits = 2 * torch.randn(3, tree.num_nodes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = Calibration().probabilities(logits, tree, decoder)
    torch.testing.assert_close(found, slow(decoder, logits, tree))


@given(trees, st.integers(0, 99), st.sampled_from(sorted(BELIEFS)))
@settings(max_examples=40, deadline=None)
def test_a_masked_node_has_no_probability_and_no_nan_comes_of_it(tree: Taxonomy, seed: int, decoder: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, tree.num_nodes, generator=generator)
    masked = torch.rand(tree.num_nodes, generator=generator) < 0.4
    found = Calibration().probabilities(logits.masked_fill(masked, -torch.inf), tree, decoder)
    assert not found.isnan().any()
    assert (found[:, masked & (tree.num_children == 0)] == 0).all()


@pytest.mark.parametrize("wanted", [0.25, 1.0, 4.0])
def test_the_temperature_that_made_the_labels_is_found(wanted: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * wanted * torch.randn(20_000, 6, generator=generator)
    labels = torch.multinomial((logits / wanted).softmax(1), 1, generator=generator)[:, 0]
    assert fit_temperature(logits, labels) == pytest.approx(wanted, rel=0.04)


def test_a_model_without_mistakes_is_left_some_doubt() -> None:
    labels = torch.arange(4).repeat(5)
    unsure, sure = torch.eye(4)[labels], 10 * torch.eye(4)[labels]
    chances = [(logits[:1] / fit_temperature(logits, labels)).softmax(1).max().item() for logits in (unsure, sure)]
    assert 0.9 < chances[0] < 0.99  # from 0.48: 20 right answers make it surer, and do not make it certain
    assert fit_temperature(sure, labels) == pytest.approx(1, abs=0.05)
    assert math.isfinite(fit_temperature(torch.full((3, 2), -torch.inf), torch.zeros(3, dtype=torch.int64)))


def test_errors_by_hand() -> None:
    confidence, right = torch.tensor([0.95, 0.95, 0.55, 0.55]), torch.tensor([True, True, True, False])
    assert expected_calibration_error(confidence, right, bins=10) == pytest.approx(0.05)
    assert math.isnan(expected_calibration_error(confidence[:0], right[:0]))
    chance = torch.tensor([[0.9, 0.1, 0.8], [0.3, 0.7, 0.4]])
    errors = calibration_errors(chance, torch.tensor([[0, 2], [1, -1]]), torch.tensor([[0, 2], [-1, 2]]))
    assert errors == pytest.approx([0.1, 0.2])


def test_calibration_lowers_the_error_of_every_decoder_and_changes_no_answer() -> None:
    tree = Taxonomy.from_paths([(f"top{i // 4}", f"mid{i // 2}", f"leaf{i}") for i in range(8)], ("top", "mid", "leaf"))
    generator = torch.Generator().manual_seed(0)
    leaves = torch.randint(8, (2000,), generator=generator)
    paths = tree.paths(tree.leaves[leaves])
    clean = torch.zeros(2000, tree.num_nodes).scatter_(1, paths, 2.0)
    logits = 5 * (clean + torch.randn(clean.shape, generator=generator))  # far too sure
    found = Calibration.fit(logits[:1000], paths[:1000], tree)
    assert found.images == 1000
    for decoder, decode in DECODERS.items():
        predicted = decode(logits[1000:], tree)
        before, after = (
            calibration_errors(c.probabilities(logits[1000:], tree, decoder), predicted, paths[1000:])
            for c in (Calibration(), found)
        )
        assert all(b < a for a, b in zip(before, after, strict=True)), decoder
    assert Calibration(**found.plain()) == found


def test_levels_without_labels_are_left_alone() -> None:
    tree = Taxonomy.from_paths([("a", "b"), ("a", "c"), ("d", "e")], ("top", "leaf"))
    paths = tree.paths(torch.tensor([0, 1, 0]))
    found = Calibration.fit(torch.randn(3, 5), paths, tree)
    assert set(found.temperature["best_path"]) == {"top"}
