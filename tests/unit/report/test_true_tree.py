"""Leaf scores of a run on any tree, read on the data set's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from hierfit.data.stand_ins import flat, truncated
from hierfit.decoding import leaf_rollup
from hierfit.errors import UserError
from hierfit.metrics import hierarchy_metrics
from hierfit.metrics.base_to_novel import base_to_novel
from hierfit.results.logits import LeafLogits
from hierfit.taxonomy import Taxonomy

TREE = Taxonomy.from_paths([(f"{i // 4}", f"{i // 2}", f"leaf{i}") for i in range(8)] + [("9", "lone")])
EVERYTHING = torch.ones(TREE.num_nodes, dtype=torch.bool)


def kept(logits: Tensor, tree: Taxonomy, leaves: Tensor, true_leaf: Tensor, seen: Tensor) -> dict[str, Tensor]:
    return {"logits": logits, "paths": tree.paths(leaves), "true_leaf": true_leaf, "seen": seen}


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.booleans())
def test_figures_are_those_of_a_roll_up_on_the_true_tree(seed: int, holds_back: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.arange(9), torch.randint(9, (21,), generator=generator)])
    logits = torch.randn(30, TREE.num_nodes, generator=generator)
    logits[torch.arange(30), TREE.leaves[labels]] += 1.0
    seen = EVERYTHING.clone()
    if holds_back:
        seen[TREE.leaves[::2]] = False
    mine = LeafLogits.of(kept(logits, TREE, TREE.leaves[labels], torch.arange(9), seen), TREE, TREE).figures()
    oracle = hierarchy_metrics(TREE)
    oracle.update(leaf_rollup(logits, TREE), TREE.leaf_paths[labels])
    for name in ("leaf_accuracy", "fpa", "mistake_severity", "tree_distance", "hierarchical_f1"):
        assert mine[name] == pytest.approx(oracle.compute()[name].item(), abs=1e-6)
    if holds_back:
        found = base_to_novel(logits, TREE.leaf_paths[labels], TREE, seen)
        names = ("base", "novel", "h", "generalised_h", "ausuc")
        assert {name: mine[name] for name in names} == pytest.approx({name: found[name] for name in names})
    else:
        assert "h" not in mine

    # The same scores of the same leaves, on another tree: the same figures.
    for other in (flat(TREE), truncated(TREE)):
        moved = torch.zeros(30, other.taxonomy.num_nodes)
        moved[:, other.taxonomy.leaves] = logits[:, TREE.leaves][:, other.true_leaf]
        leaves = other.nodes(TREE.leaves[labels])
        seen_there = torch.ones(other.taxonomy.num_nodes, dtype=torch.bool)
        seen_there[other.taxonomy.leaves] = seen[TREE.leaves][other.true_leaf]
        files = kept(moved, other.taxonomy, leaves, other.true_leaf, seen_there)
        assert LeafLogits.of(files, other.taxonomy, TREE).figures() == mine


def test_samples_without_a_leaf_do_not_count() -> None:
    nodes = torch.tensor([0, -1, int(TREE.leaves[3])])
    logits = torch.zeros(3, TREE.num_nodes)
    logits[:, TREE.leaves[3]] = 1.0
    scores = LeafLogits.of(kept(logits, TREE, nodes, torch.arange(9), EVERYTHING), TREE, TREE)
    assert scores.labels.tolist() == [3]
    assert scores.figures() == {
        "leaf_accuracy": 1.0,
        "fpa": 1.0,
        "mistake_severity": None,
        "tree_distance": 0.0,
        "hierarchical_f1": 1.0,
    }
    none = LeafLogits.of(kept(logits[:2], TREE, nodes[:2], torch.arange(9), EVERYTHING), TREE, TREE)
    assert none.figures() == {}


def test_runs_without_the_mapping_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        LeafLogits.read(tmp_path)
    save_file({"logits": torch.zeros(1, 2)}, tmp_path / "test_logits.safetensors")
    with pytest.raises(UserError, match="run it again"):
        LeafLogits.read(tmp_path)
