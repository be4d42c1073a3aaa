"""Made tasks, and methods trained on them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.backbone import Backbone, encode_texts, node_texts
from hierfit.data.batch import Batch, Task
from hierfit.methods.base import Method
from hierfit.taxonomy import Taxonomy

D = 16
TREE = Taxonomy.from_paths([(f"top{i // 4}", f"mid{i // 2}", f"leaf{i}") for i in range(8)])


def made_task(tree: Taxonomy = TREE, shots: int = 4, unseen: tuple[str, ...] = ()) -> Task:
    """Images around one direction a leaf, text a worse guess of it; without images of the ``unseen`` leaves."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(tree.num_nodes, D, generator=generator)
    held_back = [tree.find(name) for name in unseen]
    leaves = torch.tensor([leaf for leaf in tree.leaves.tolist() if leaf not in held_back])
    nodes = leaves.repeat_interleave(shots)
    features = means[nodes] + 0.7 * torch.randn(len(nodes), D, generator=generator)
    text = F.normalize(means + torch.randn(means.shape, generator=generator), dim=-1)
    seen = torch.zeros(tree.num_nodes, dtype=torch.bool)
    above = tree.paths(leaves)
    seen[above[above >= 0]] = True
    return Task(tree, text, "bundle", None, seen, 30.0, None, F.normalize(features, dim=-1), tree.paths(nodes))


def towers_task(
    backbone: Backbone,
    tree: Taxonomy = TREE,
    templates: dict[str, list[str]] | None = None,
    features: Tensor | None = None,
    paths: Tensor | None = None,
) -> Task:
    """A task of towers, whose text is that of the nodes' prompts."""
    prompts = tuple(map(tuple, node_texts(tree, templates or {})))
    text, seen = encode_texts(backbone, prompts), torch.ones(tree.num_nodes, dtype=torch.bool)
    paths = tree.leaf_paths if paths is None else paths
    return Task(tree, text, "prompts", prompts, seen, 20.0, backbone, features, paths)


def built(kind: type[Method], task: Task, **keys: Any) -> Any:
    torch.manual_seed(0)
    method = kind(**keys)
    method.build(task)
    return method


def batch_of(task: Task) -> Batch:
    assert task.train_features is not None
    return Batch(task.train_features, task.train_paths, torch.arange(len(task.train_paths)))


def train(method: Any, batch: Batch, steps: int = 20) -> list[float]:
    method._trainer = SimpleNamespace(estimated_stepping_batches=steps)
    configured = method.configure_optimizers()
    method._trainer = None
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = method.loss(batch)["loss"]
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=2e-6)
    return losses


def zero_shot(task: Task, features: Tensor) -> Tensor:
    return task.logit_scale * features @ task.text.T
