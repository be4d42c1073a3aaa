"""Images labelled only to a coarse level: every method trains on them, and a label says no more than it says."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.backbone import Backbone, encode_texts, node_texts
from hierfit.data.batch import Batch, Task
from hierfit.losses.objective import LOSSES, Objective
from hierfit.methods import CLIPAdapter, CoOp, HierLoRA, LatHAdapter, LinearProbe, TaskRes, TipAdapter, TipAdapterF
from hierfit.methods.base import Method
from hierfit.taxonomy import Taxonomy

TREE = Taxonomy.from_paths([(f"top{i // 4}", f"mid{i // 2}", f"leaf{i}") for i in range(7)] + [("short",)])
D = 16
SMALL = {"hidden": 8, "dimension": 6, "num_attributes": 6, "neighbours": 4, "max_anchors": 16}
TRAINED: list[tuple[type[Method], dict[str, Any]]] = [
    (LinearProbe, {}),
    (LinearProbe, {"objective": {"leaf_ce": 1}}),
    (CLIPAdapter, {}),
    (TaskRes, {}),
    (TipAdapterF, {}),
    (TipAdapterF, {"inner_nodes": "sum"}),
    (LatHAdapter, SMALL),
    (LatHAdapter, {**SMALL, "hierarchy": "tiered", "known_tree": True}),
    (LatHAdapter, {**SMALL, "residual": "tree", "objective": {"hisce": 1, "tp_kl": 1}}),
]


def cut(paths: Tensor) -> Tensor:
    """Every third label one level coarser, every ninth two."""
    paths = paths.clone()
    paths[::3, 2] = -1
    paths[::9, 1:] = -1
    return paths


def made_task(backbone: Backbone | None = None) -> Task:
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(TREE.num_nodes, D, generator=generator)
    nodes = TREE.leaves.repeat_interleave(6)
    features = F.normalize(means[nodes] + 0.7 * torch.randn(len(nodes), D, generator=generator), dim=-1)
    text = F.normalize(means + torch.randn(means.shape, generator=generator), dim=-1)
    prompts = None
    if backbone is not None:
        texts = node_texts(TREE, {})
        text, prompts = encode_texts(backbone, texts), tuple(map(tuple, texts))
        features = F.normalize(torch.randn(len(nodes), text.shape[1], generator=generator), dim=-1)
    seen = torch.ones(TREE.num_nodes, dtype=torch.bool)
    return Task(TREE, text, "prompts", prompts, seen, 30.0, backbone, features, cut(TREE.paths(nodes)))


def one_step(kind: type[Method], keys: dict[str, Any], task: Task, batch: Batch) -> Any:
    torch.manual_seed(0)
    method: Any = kind(**keys)
    method.build(task)
    method._trainer = SimpleNamespace(estimated_stepping_batches=4)
    optimizer = method.configure_optimizers()["optimizer"]
    method._trainer = None
    before = {name: p.detach().clone() for name, p in method.named_parameters() if p.requires_grad}
    for _ in range(2):  # where one factor starts at zero, the other moves from the second step on
        optimizer.zero_grad()
        loss = method.loss(batch)["loss"]
        assert loss.isfinite()
        loss.backward()
        optimizer.step()
    after = {name: p for name, p in method.named_parameters() if p.requires_grad}
    assert all(p.isfinite().all() for p in after.values())
    assert any(not torch.equal(p, before[name]) for name, p in after.items())
    assert method(batch.inputs).isfinite().all()
    return method


@pytest.mark.parametrize(("kind", "keys"), TRAINED, ids=lambda value: getattr(value, "__name__", str(value)[:40]))
def test_a_third_of_the_labels_cut(kind: type[Method], keys: dict[str, Any]) -> None:
    task = made_task()
    assert task.train_features is not None
    one_step(kind, keys, task, Batch(task.train_features, task.train_paths, torch.arange(len(task.train_paths))))


@pytest.mark.parametrize("method", [CoOp, HierLoRA])
def test_methods_with_a_text_tower(method: type[Method], backbone: Backbone) -> None:
    task = made_task(backbone)
    rows = torch.arange(12)
    if method is CoOp:
        assert task.train_features is not None
        inputs, keys = task.train_features[rows], {"context_length": 2, "name": "{name}"}
    else:
        inputs, keys = torch.randn(12, 3, 32, 32, generator=torch.Generator().manual_seed(1)), {"rank": 2}
        task = dataclasses.replace(task, train_features=None)
    one_step(method, keys, task, Batch(inputs, task.train_paths[rows], rows))


def test_a_cache_of_coarse_images_speaks_for_the_nodes_above_alone() -> None:
    task = made_task()
    coarse = task.train_paths.clone()
    coarse[:, 1:] = -1
    method: Any = TipAdapter(alpha=2.0)
    method.build(dataclasses.replace(task, train_paths=coarse))
    assert task.train_features is not None
    evidence = method(task.train_features) - 30 * task.train_features @ task.text.T
    below = TREE.level > 0
    assert not evidence[:, below].any()
    assert (evidence[:, ~below] > 0).all()


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_sample_costs_the_same_whatever_stands_beside_it(name: str) -> None:
    """A batch of fully and partly labelled samples is the mean of its samples one by one."""
    task = made_task()
    objective = Objective({name: 1.0}, TREE, task.seen)
    logits = 5 * torch.randn(len(task.train_paths), TREE.num_nodes, generator=torch.Generator().manual_seed(2)).double()
    together = objective(logits, task.train_paths)["loss"]
    alone = torch.stack(
        [objective(z[None], y[None])["loss"] for z, y in zip(logits, task.train_paths, strict=True)]
    ).mean()
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("name", ["level_ce", "hisce", "leaf_ce", "hxe", "tp_kl", "soft_labels"])
def test_a_coarse_label_does_not_choose_among_what_is_below_it(name: str) -> None:
    """Exchanging the logits of two leaves, under a node that is all that is known, changes nothing."""
    assert name in LOSSES
    task = made_task()
    objective = Objective({name: 1.0}, TREE, task.seen)
    mid = TREE.find("mid0")
    path = TREE.paths(torch.tensor([mid]))
    logits = torch.randn(1, TREE.num_nodes, generator=torch.Generator().manual_seed(3)).double()
    a, b = TREE.children(mid).tolist()
    exchanged = logits.clone()
    exchanged[:, [a, b]] = logits[:, [b, a]]
    torch.testing.assert_close(objective(logits, path)["loss"], objective(exchanged, path)["loss"])
