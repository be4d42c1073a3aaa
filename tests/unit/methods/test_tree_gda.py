"""TreeGDA and KernelRidge as methods: their rows, what val chooses, partial labels, heads and faults."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.closed import Statistics, TiedForm, fit_tree
from hierfit.data.batch import Task
from hierfit.errors import UserError
from hierfit.methods import KernelRidge, TreeGDA
from hierfit.taxonomy import Taxonomy
from tests.unit.closed.made import fit_treeless

from .made import built

D = 24
EVEN = Taxonomy.from_paths([(f"top{i // 8}", f"mid{i // 4}", f"leaf{i}") for i in range(16)])
UNEVEN = Taxonomy.from_paths(
    [("a", "a0"), ("b", "b0"), ("b", "b1"), ("b", "b2"), ("c",), ("d", "d0", "x"), ("d", "d0", "y")]
)
TREES = pytest.mark.parametrize("tree", [EVEN, UNEVEN], ids=["even", "uneven"])


def made(tree: Taxonomy, shots: int = 3, source: str = "bundle") -> tuple[Task, Tensor, Tensor]:
    """A task of images about means tied along the tree, with text near them; features and leaves of images to test."""
    generator = torch.Generator().manual_seed(0)
    steps = torch.randn(tree.num_nodes, D, generator=generator)
    paths = tree.paths(torch.arange(tree.num_nodes))
    means = torch.where(paths[..., None] >= 0, steps[paths], 0).sum(dim=1)

    def images(each: int) -> tuple[Tensor, Tensor]:
        nodes = tree.leaves.repeat_interleave(each)
        noise = torch.randn(len(nodes), D, generator=generator)
        return F.normalize(means[nodes] + noise, dim=1), nodes

    text = F.normalize(means + torch.randn(means.shape, generator=generator), dim=1)
    features, nodes = images(shots)
    test, leaves = images(20)
    seen = torch.ones(tree.num_nodes, dtype=torch.bool)
    task = Task(tree, text, source, None, seen, 20.0, None, features, tree.paths(nodes))
    return task, test, tree.leaf_index[leaves]


def right(method: Any, features: Tensor, leaves: Tensor, tree: Taxonomy) -> float:
    return float((method(features)[:, tree.leaves].argmax(dim=1) == leaves).float().mean())


@TREES
@pytest.mark.parametrize("shots", [1, 3])
def test_its_rows_are_the_closed_forms(tree: Taxonomy, shots: int) -> None:
    task, test, _ = made(tree, shots)
    assert task.train_features is not None
    statistics = Statistics.of(task.train_features, tree.leaf_index[task.train_paths.amax(dim=1)], tree.num_leaves)
    rows = {
        ("tree", "within"): fit_tree(statistics, tree),
        ("tree", "total"): fit_tree(statistics, tree, TiedForm(kind="total")),
        ("flat", "identity"): fit_treeless(statistics, tree, kind="identity"),
        ("flat", "within"): fit_treeless(statistics, tree),
        ("common", "within"): fit_treeless(statistics, tree, shrink=True),
    }
    for (prior, covariance), wanted in rows.items():
        found = built(TreeGDA, task, prior=prior, covariance=covariance, text="none")(test)
        scores = wanted.logits(test).float()
        # A temperature apart.
        torch.testing.assert_close(found / found.std(), scores / scores.std(), rtol=1e-4, atol=1e-5)


def test_a_shuffled_tree_is_the_runs_own_and_repeats() -> None:
    task, test, _ = made(EVEN)
    rows = [built(TreeGDA, task, prior="shuffled", shuffle_seed=seed)(test) for seed in (1, 1, 2, None, None)]
    assert torch.equal(rows[0], rows[1])
    assert torch.equal(rows[3], rows[4])
    assert not torch.equal(rows[0], rows[2])


def test_text_adds_and_is_added_to() -> None:
    tree = EVEN
    task, test, leaves = made(tree, shots=1)
    images = right(built(TreeGDA, task, text="none"), test, leaves, tree)
    both = right(built(TreeGDA, task), test, leaves, tree)
    text = float(((test @ task.text[tree.leaves].T).argmax(dim=1) == leaves).float().mean())
    assert both > max(images, text)
    # Class means that stand in for text are no text.
    stand_in = built(TreeGDA, dataclasses.replace(task, text_source="class means"))
    assert torch.equal(stand_in(test), built(TreeGDA, task, text="none")(test))


def test_val_chooses_what_is_right_more_often_and_says_so() -> None:
    task, test, leaves = made(EVEN, shots=1)
    method = built(TreeGDA, task)
    before = right(method, test, leaves, EVEN)
    assert "text" in (method.choose(test, EVEN.leaves[leaves]) or "")
    assert right(method, test, leaves, EVEN) >= before
    useless = dataclasses.replace(task, text=task.text.roll(3, 0))
    assert built(TreeGDA, useless).choose(test, EVEN.leaves[leaves]) == "images without text"
    assert "noise" in (built(TreeGDA, task, text="none").choose(test, EVEN.leaves[leaves]) or "")
    for keys, shots in (({"prior": "flat"}, 1), ({}, 3)):
        assert built(TreeGDA, made(EVEN, shots)[0], text="none", **keys).choose(test, EVEN.leaves[leaves]) is None
    assert (TreeGDA().chooses, TreeGDA(use_val=False).chooses) == (True, False)
    assert method.reads_leaves_only


@TREES
def test_images_labelled_by_an_inner_node_help(tree: Taxonomy) -> None:
    task, test, leaves = made(tree, shots=12)
    paths = task.train_paths.clone()
    coarse = torch.arange(len(paths)) % 12 >= 2
    deepest = paths.amax(dim=1)
    above = torch.where(tree.parent[deepest] >= 0, tree.parent[deepest], deepest)
    paths[coarse] = tree.paths(above[coarse])
    assert task.train_features is not None
    some = dataclasses.replace(task, train_features=task.train_features[~coarse], train_paths=paths[~coarse])
    every = dataclasses.replace(task, train_paths=paths)
    found, few = (right(built(TreeGDA, t, text="none"), test, leaves, tree) for t in (every, some))
    assert found > few


@pytest.mark.parametrize("kind", [TreeGDA, KernelRidge])
def test_labels_held_back_are_not_looked_at(kind: type[Any]) -> None:
    """Base-to-novel: of an image whose leaf is held back no more is known than the nodes above that are not."""
    task, test, _ = made(EVEN)
    seen = torch.ones(EVEN.num_nodes, dtype=torch.bool)
    seen[EVEN.level_slices[2]] = False
    held = dataclasses.replace(task, seen=seen)
    coarse = dataclasses.replace(task, train_paths=task.train_paths.masked_fill(task.train_paths >= 6, -1))
    assert EVEN.level_slices[2].start == 6
    assert torch.equal(built(kind, held)(test), built(kind, coarse)(test))


@TREES
@pytest.mark.parametrize("source", ["bundle", "class means"])
def test_kernel_ridge_starts_at_zero_shot_and_learns_the_images(tree: Taxonomy, source: str) -> None:
    task, test, leaves = made(tree, 3, source)
    assert task.train_features is not None
    nodes = task.train_paths.amax(dim=1)
    method = built(KernelRidge, task, ridge=1e-3)
    assert torch.equal(tree.leaves[method(task.train_features)[:, tree.leaves].argmax(dim=1)], nodes)
    if source == "bundle":
        dull = built(KernelRidge, task, ridge=1e6)(test)[:, tree.leaves]
        assert torch.equal(dull.argmax(dim=1), (test @ task.text[tree.leaves].T).argmax(dim=1))
    before = right(method, test, leaves, tree)
    assert "ridge" in method.choose(test, tree.leaves[leaves])
    assert right(method, test, leaves, tree) >= before


def test_faults_are_told_all_at_once() -> None:
    with pytest.raises(UserError) as error:
        TreeGDA(prior="trees", covariance="none", text="off", noise_share=1.5)  # type: ignore[arg-type]
    assert len(error.value.problems) == 4
    with pytest.raises(UserError, match="beta: 0"):
        KernelRidge(beta=0)
    task, _, _ = made(EVEN)
    unknown = dataclasses.replace(task, train_paths=torch.full_like(task.train_paths, -1))
    for bad in (dataclasses.replace(task, train_features=None), unknown):
        with pytest.raises(UserError, match="training images"):
            built(TreeGDA, bad)
    with pytest.raises(UserError, match="training images"):
        built(KernelRidge, dataclasses.replace(task, train_features=None))
