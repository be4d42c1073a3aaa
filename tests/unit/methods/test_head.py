"""One head: what each method says is its formula, to the gradient; saved, loaded and grown it says the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.backbone import Backbone
from hierfit.data.batch import Task
from hierfit.decoding import Calibration
from hierfit.errors import UserError
from hierfit.methods import (
    CLIPAdapter,
    CoOp,
    HierLoRA,
    LatHAdapter,
    LinearProbe,
    TaskRes,
    TipAdapter,
    TipAdapterF,
    TreeGDA,
    ZeroShot,
)
from hierfit.methods.base import Method
from hierfit.methods.head import Head
from hierfit.methods.module import renamed_weights
from hierfit.methods.nodes import Nodes
from hierfit.methods.saved import SavedTowers
from hierfit.predict.predictor import Predictor
from hierfit.taxonomy import Taxonomy

from .made import towers_task

TREE = Taxonomy.from_paths([("gulls", "herring gull"), ("gulls", "ivory gull"), ("auks", "puffin")])
LARGER = Taxonomy.from_paths(
    [
        ("gulls", "herring gull"),
        ("gulls", "ivory gull"),
        ("gulls", "Ross's gull"),
        ("auks", "puffin"),
        ("auks", "razorbill"),
    ]
)
NEW = ["Ross's gull:gulls", "razorbill:auks"]
TEMPLATES = {"level0": ["a photo of {name}."], "level1": ["a photo of a {name}, a kind of {parent}.", "a {name}."]}
Weights = dict[str, Tensor]


def blended(x: Tensor, w: Weights, prefix: str, ratio: float) -> Tensor:
    bottleneck = F.relu(F.relu(x @ w[f"{prefix}.down.weight"].T) @ w[f"{prefix}.up.weight"].T)
    return F.normalize(ratio * bottleneck + (1 - ratio) * x, dim=-1)


def adapted(x: Tensor, w: Weights, prefix: str, ratio: float) -> Tensor:
    hidden = F.relu(F.linear(x, w[f"{prefix}.down.weight"], w[f"{prefix}.down.bias"]))
    return F.normalize(x + ratio * F.linear(hidden, w[f"{prefix}.up.weight"], w[f"{prefix}.up.bias"]), dim=-1)


def cached(x: Tensor, task: Task, keys: Tensor, alpha: float, beta: float) -> Tensor:
    """Tip-Adapter with one row of nodes an image, as published, rather than paths."""
    on_path = torch.zeros(len(keys), TREE.num_nodes).scatter_(1, task.train_paths, 1.0)
    classes = torch.tensor([2.0, 1, 1, 1, 1])  # below each node
    return alpha * torch.exp(beta * (x @ keys.T - 1)) @ on_path / classes


def tied(w: Weights, task: Task) -> Tensor:
    """Residuals along the tree."""
    vectors = w["nodes.residuals.vectors"] * (TREE.num_leaves_below[:, None] ** -0.5)
    return torch.stack([vectors[[v for v in TREE.paths(torch.tensor(n)).tolist() if v >= 0]].sum(0) for n in range(5)])


def lathadapter(x: Tensor, t: Tensor, w: Weights, added: Tensor | None) -> Tensor:
    nodes = adapted(t, w, "nodes.adapter", 0.5)
    nodes = nodes if added is None else F.normalize(nodes + 0.5 * added, dim=-1)
    return 20 * adapted(x, w, "image", 0.2) @ nodes.T


Formula = Callable[[Tensor, Task, Weights], Tensor]
CASES: list[tuple[type[Method], dict[str, Any], Formula]] = [
    (ZeroShot, {}, lambda x, task, w: 20 * x @ task.text.T),
    (LinearProbe, {}, lambda x, task, w: 20 * x @ w["nodes.own"].T),
    (
        LinearProbe,
        {"bias": True, "scale": 3.0, "init": "zero"},
        lambda x, task, w: 3 * x @ w["nodes.own"].T + 3 * w["bias.own"],
    ),
    (CLIPAdapter, {}, lambda x, task, w: 20 * blended(x, w, "image", 0.2) @ task.text.T),
    (
        CLIPAdapter,
        {"text_ratio": 0.3},
        lambda x, task, w: 20 * blended(x, w, "image", 0.2) @ blended(task.text, w, "nodes.adapter", 0.3).T,
    ),
    (TaskRes, {}, lambda x, task, w: 20 * x @ F.normalize(task.text + 0.5 * w["nodes.own"], dim=-1).T),
    (
        TipAdapter,
        {"alpha": 2.0},
        lambda x, task, w: 20 * x @ task.text.T + cached(x, task, w["cache.keys"], 2.0, 5.5),
    ),
    (TipAdapterF, {}, lambda x, task, w: 20 * x @ task.text.T + cached(x, task, w["cache.keys"], 1.0, 5.5)),
    (LatHAdapter, {"residual_ratio": 0}, lambda x, task, w: lathadapter(x, task.text, w, None)),
    (LatHAdapter, {}, lambda x, task, w: lathadapter(x, task.text, w, w["nodes.residuals.vectors"])),
    (LatHAdapter, {"residual": "tree"}, lambda x, task, w: lathadapter(x, task.text, w, tied(w, task))),
]
READ: list[tuple[type[Method], dict[str, Any]]] = [
    (CoOp, {"context_length": 2}),
    (TreeGDA, {}),
    (TreeGDA, {"text": "none", "prior": "common"}),
    (HierLoRA, {"rank": 2}),
]
GROWING = (ZeroShot, CLIPAdapter, CoOp, LatHAdapter)
EVERY = [*((kind, keys) for kind, keys, _ in CASES), *READ]


@pytest.fixture(scope="module")
def towers() -> Backbone:
    return Backbone.load("tiny")


def task_on(tree: Taxonomy, towers: Backbone) -> Task:
    nodes = tree.leaves.repeat_interleave(4)
    task = towers_task(towers, tree, TEMPLATES, paths=tree.paths(nodes))
    noise = torch.randn(len(nodes), task.text.shape[1], generator=torch.Generator().manual_seed(1))
    return dataclasses.replace(task, train_features=F.normalize(task.text[nodes] + 0.1 * noise, dim=-1))


def learnt(kind: type[Method], keys: dict[str, Any], task: Task) -> Any:
    """A method whose every trained number has moved."""
    torch.manual_seed(0)
    if kind is LatHAdapter:
        keys = {"hierarchy_weight": 0, **keys}
    method = kind(**keys)
    method.build(task)
    method.taxonomy = task.taxonomy
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    return method.eval()


@pytest.mark.parametrize(("kind", "keys", "formula"), CASES)
def test_a_method_is_its_formula_to_the_gradient(
    kind: type[Method], keys: dict[str, Any], formula: Formula, towers: Backbone
) -> None:
    task = task_on(TREE, towers)
    method = learnt(kind, keys, task)
    features = F.normalize(torch.randn(7, task.text.shape[1]), dim=-1)
    trained = {name: p for name, p in method.classifier.named_parameters() if p.requires_grad}
    weights = {
        name: p.detach().clone().requires_grad_(p.requires_grad) for name, p in method.classifier.named_parameters()
    }
    found, expected = method(features), formula(features, task, weights)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-5)
    assert method.trains == bool(trained)
    if trained:
        weight = torch.randn(7, TREE.num_nodes)
        mine = torch.autograd.grad((found * weight).sum(), list(trained.values()))
        theirs = torch.autograd.grad((expected * weight).sum(), [weights[name] for name in trained])
        for name, a, b in zip(trained, mine, theirs, strict=True):
            assert a.any(), name
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-4, msg=name)


@pytest.mark.parametrize(("kind", "keys"), EVERY)
@torch.no_grad()
def test_a_saved_head_says_the_same(kind: type[Method], keys: dict[str, Any]) -> None:
    towers = Backbone.load("tiny")
    task = task_on(TREE, towers)
    method = learnt(kind, keys, task)
    features = F.normalize(torch.randn(7, task.text.shape[1]), dim=-1)
    plain, tensors = method.classifier.saved()
    again = Head.load(plain, tensors)
    assert torch.equal(again(features), method.classifier(features))
    assert not [p for p in again.parameters() if p.requires_grad]
    twice = again.saved()
    assert twice[0] == plain
    assert all(torch.equal(twice[1][name], tensor) for name, tensor in tensors.items())


def predictor(head: Head, backbone: Backbone | None = None) -> Predictor:
    made = Predictor(TREE, head, Calibration(), SavedTowers("none", "0"), TEMPLATES, {})
    if backbone is not None:
        made.__dict__["backbone"] = backbone  # as if it were loaded
    return made


@pytest.mark.parametrize(("kind", "keys"), [(kind, keys) for kind, keys in EVERY if kind in GROWING])
@torch.no_grad()
def test_a_new_class_is_scored_alike_in_a_run_and_in_a_prediction(
    kind: type[Method], keys: dict[str, Any], towers: Backbone
) -> None:
    method = learnt(kind, keys, task_on(TREE, towers))
    expected = method.over(dataclasses.replace(task_on(LARGER, towers), train_features=None))
    grown = predictor(Head.load(*method.classifier.saved()), towers).with_classes(NEW)
    assert grown.taxonomy == LARGER
    features = F.normalize(torch.randn(5, towers.embed_dim), dim=-1)
    torch.testing.assert_close(grown.head(features), expected(features), rtol=1e-4, atol=1e-4)


def test_what_has_a_weight_for_each_class_cannot_grow(towers: Backbone) -> None:
    for kind in (LinearProbe, TaskRes, TipAdapter, TreeGDA):
        method = learnt(kind, {}, task_on(TREE, towers))
        with pytest.raises(UserError, match="cannot score classes it was not trained on"):
            method.over(task_on(LARGER, towers))
        with pytest.raises(UserError, match="cannot score classes it was not trained on"):
            predictor(Head.load(*method.classifier.saved()), towers).with_classes(NEW)


def test_every_class_without_a_place_is_named() -> None:
    head = Head(Nodes(torch.zeros(TREE.num_nodes, 3)), 1.0)
    wrong = ["gull", ":gulls", "x:gull", "x:puffin", "ivory gull:gulls", "new:gulls", "new:gulls"]
    with pytest.raises(UserError) as error:
        predictor(head).with_classes(wrong)
    problems = "\n".join(error.value.problems)
    assert len(error.value.problems) == 6
    parts = "'gull' is not NAME:PARENT", "did you mean", "nothing below it", "has a 'ivory gull' already", "twice"
    assert all(part in problems for part in parts)


def test_what_is_no_head_is_refused() -> None:
    with pytest.raises(TypeError, match="Blend, ResidualAdapter"):
        Head(Nodes(torch.zeros(2, 3)), 1.0, image=torch.nn.Linear(3, 3)).saved()
    plain, tensors = Head(Nodes(torch.zeros(2, 3)), 1.0).saved()
    with pytest.raises(KeyError):
        Head.load(plain, {**tensors, "more": torch.zeros(1)})


def test_names_in_checkpoints_are_those_of_version_0_1() -> None:
    names = {"classifier.image": "classifier.image_adapter", "classifier.bias.own": "classifier.bias"}
    weights = {"classifier.image.up.weight": 1, "classifier.bias.own": 2, "classifier.imagery": 3, "latent.x": 4}
    stored = renamed_weights(weights, names)
    assert stored == {
        "classifier.image_adapter.up.weight": 1,
        "classifier.bias": 2,
        "classifier.imagery": 3,
        "latent.x": 4,
    }
    assert renamed_weights(stored, {b: a for a, b in names.items()}) == weights
