"""A head says what its method says, on disk and off it; and grows as the method transfers."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from hierfit.backbone import Backbone, node_texts
from hierfit.data.batch import Task
from hierfit.errors import UserError
from hierfit.methods import (
    CLIPAdapter,
    CoOp,
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
from hierfit.methods.nodes import Nodes
from hierfit.predict.growth import grown
from hierfit.taxonomy import Taxonomy

TREE = Taxonomy.from_paths([("gulls", "herring gull"), ("gulls", "ivory gull"), ("auks", "puffin")])
TEMPLATES = {"level0": ["a photo of {name}."], "level1": ["a photo of a {name}, a kind of {parent}.", "a {name}."]}
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
METHODS: list[tuple[type[Method], dict[str, Any]]] = [
    (ZeroShot, {}),
    (CLIPAdapter, {"text_ratio": 0.3}),
    (CoOp, {"context_length": 2}),
    (LatHAdapter, {"hierarchy_weight": 0, "residual": "class"}),
    (LatHAdapter, {"hierarchy_weight": 0, "residual": "tree"}),
    (LatHAdapter, {"hierarchy_weight": 0, "residual_ratio": 0}),
    (LinearProbe, {"bias": True}),
    (TaskRes, {}),
    (TipAdapter, {"alpha": 2.0}),
    (TipAdapterF, {}),
    (TreeGDA, {}),
    (TreeGDA, {"text": "none"}),
]
ABLE = (ZeroShot, CLIPAdapter, CoOp, LatHAdapter)


@pytest.fixture(scope="module")
def towers() -> Backbone:
    return Backbone.load("tiny")


def task_on(tree: Taxonomy, towers: Backbone) -> Task:
    prompts = tuple(map(tuple, node_texts(tree, TEMPLATES)))
    text = torch.stack([F.normalize(towers.encode_text(group).sum(0), dim=-1) for group in prompts]).detach()
    nodes = tree.leaves.repeat_interleave(4)
    noise = torch.randn(len(nodes), text.shape[1], generator=torch.Generator().manual_seed(1))
    features = F.normalize(text[nodes] + 0.1 * noise, dim=-1)
    seen = torch.ones(tree.num_nodes, dtype=torch.bool)
    return Task(tree, text, "prompts", prompts, seen, 20.0, towers, features, tree.paths(nodes))


def learnt(kind: type[Method], keys: dict[str, Any], task: Task) -> Any:
    """A method whose every trained number has moved."""
    torch.manual_seed(0)
    method = kind(**keys)
    method.build(task)
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    return method.eval()


@pytest.mark.parametrize(("kind", "keys"), METHODS)
@torch.no_grad()
def test_a_head_says_what_its_method_says(kind: type[Method], keys: dict[str, Any], towers: Backbone) -> None:
    task = task_on(TREE, towers)
    method = learnt(kind, keys, task)
    features = F.normalize(torch.randn(7, task.text.shape[1]), dim=-1)
    again = Head.load(*method.classifier.saved())
    assert torch.equal(again(features), method(features))
    assert not [p for p in again.parameters() if p.requires_grad]


@pytest.mark.parametrize(("kind", "keys"), [(kind, keys) for kind, keys in METHODS if kind in ABLE])
@torch.no_grad()
def test_a_new_class_scores_as_the_method_transfers(kind: type[Method], keys: dict[str, Any], towers: Backbone) -> None:
    method = learnt(kind, keys, task_on(TREE, towers))
    method.taxonomy = TREE
    expected = method.over(dataclasses.replace(task_on(LARGER, towers), train_features=None))
    head = Head.load(*method.classifier.saved())
    tree, head = grown(TREE, head, NEW, TEMPLATES, lambda: towers, "it")
    assert tree == LARGER
    features = F.normalize(torch.randn(5, towers.embed_dim), dim=-1)
    torch.testing.assert_close(head(features), expected(features), rtol=1e-4, atol=1e-4)


def test_what_has_a_weight_for_each_class_cannot_grow(towers: Backbone) -> None:
    for kind in (LinearProbe, TaskRes, TipAdapter, TreeGDA):
        head = learnt(kind, {}, task_on(TREE, towers)).classifier
        with pytest.raises(UserError, match="cannot score classes it was not trained on"):
            grown(TREE, head, NEW, TEMPLATES, lambda: towers, kind.__name__)


def test_every_class_without_a_place_is_named() -> None:
    head = Head(Nodes(torch.zeros(TREE.num_nodes, 3)), 1.0)
    wrong = ["gull", ":gulls", "x:gull", "x:puffin", "ivory gull:gulls", "new:gulls", "new:gulls"]
    with pytest.raises(UserError) as error:
        grown(TREE, head, wrong, TEMPLATES, lambda: pytest.fail("not needed"), "it")
    problems = "\n".join(error.value.problems)
    assert len(error.value.problems) == 6
    for part in (
        "'gull' is not NAME:PARENT",
        "did you mean",
        "nothing below it",
        "has a 'ivory gull' already",
        "twice",
    ):
        assert part in problems


def test_an_adapter_without_a_name_is_refused() -> None:
    with pytest.raises(TypeError, match="Blend, ResidualAdapter"):
        Head(Nodes(torch.zeros(2, 3)), 1.0, image=torch.nn.Linear(3, 3)).saved()
