"""What training changes and what it leaves alone: every small method, on full, partial and held-back labels."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.backbone import Backbone
from hierfit.data.batch import Batch, Task
from hierfit.errors import UserError
from hierfit.losses.levels import deepest_label
from hierfit.methods import CLIPAdapter, CoOp, HierLoRA, LatHAdapter, LinearProbe, TaskRes, TipAdapter, TipAdapterF
from hierfit.methods.base import Method
from hierfit.methods.tasks import trained_nodes
from hierfit.methods.tip_adapter import FACTORS
from hierfit.taxonomy import Taxonomy

from .made import TREE, D, batch_of, built, made_task, towers_task, train, zero_shot

UNEVEN = Taxonomy.from_paths([("a", "a0"), ("b", "b0"), ("b", "b1"), ("b", "b2"), ("c",)])
RAGGED = Taxonomy.from_paths([(f"top{i // 4}", f"mid{i // 2}", f"leaf{i}") for i in range(7)] + [("short",)])
SMALL = {"hidden": 8, "dimension": 6, "num_attributes": 6, "neighbours": 4, "max_anchors": 16}
TRAINED: list[tuple[type[Method], dict[str, Any]]] = [
    (LinearProbe, {}),
    (LinearProbe, {"bias": True}),
    (LinearProbe, {"init": "zero"}),
    (CLIPAdapter, {}),
    (CLIPAdapter, {"text_ratio": 0.3}),
    (TaskRes, {}),
    (TipAdapterF, {}),
]
PARTLY: list[tuple[type[Method], dict[str, Any]]] = [
    *TRAINED,
    (LinearProbe, {"objective": {"leaf_ce": 1}}),
    (TipAdapterF, {"inner_nodes": "sum"}),
    (LatHAdapter, SMALL),
    (LatHAdapter, {**SMALL, "hierarchy": "tiered", "known_tree": True}),
    (LatHAdapter, {**SMALL, "residual": "tree", "objective": {"hisce": 1, "tp_kl": 1}}),
]


def named(value: object) -> str:
    return getattr(value, "__name__", str(value)[:40])


@pytest.mark.parametrize(("kind", "keys"), TRAINED, ids=named)
def test_training_lowers_the_loss_and_changes_the_parameters_alone(kind: type[Method], keys: dict[str, Any]) -> None:
    task = made_task()
    method, batch = built(kind, task, **keys), batch_of(task)
    if kind in (LinearProbe, TaskRes) and keys != {"init": "zero"}:  # before training
        torch.testing.assert_close(method(batch.inputs), zero_shot(task, batch.inputs))
    before = {name: value.clone() for name, value in method.named_parameters()}
    buffers = {name: value.clone() for name, value in method.named_buffers()}
    features = batch.inputs.clone()
    losses = train(method, batch)
    assert losses[-1] < losses[0]
    trained = {name for name, p in method.named_parameters() if p.requires_grad}
    assert {name for name, p in method.named_parameters() if not torch.equal(p, before[name])} == trained
    assert all(torch.equal(value, buffers[name]) for name, value in method.named_buffers())
    assert torch.equal(task.train_features, features), "the task's features are not a cache's keys"
    assert method.objective.weights == {"level_ce": 1.0}


def test_any_objective_is_taken_and_leaves_alone_what_it_does_not_read() -> None:
    task = made_task()
    terms = built(TaskRes, task, objective={"leaf_ce": 2.0, "js": 1.0}).loss(batch_of(task))
    torch.testing.assert_close(terms["loss"], 2 * terms["leaf_ce"] + terms["js"])
    method = built(TaskRes, task, objective={"leaf_ce": 1.0}, weight_decay=0.0)
    train(method, batch_of(task))
    inner = TREE.leaf_index < 0
    torch.testing.assert_close(method.classifier.nodes()[inner], task.text[inner])
    assert method.reads_leaves_only


@pytest.mark.parametrize(("kind", "keys"), TRAINED, ids=named)
def test_unseen_nodes_are_no_candidates_and_keep_their_text(kind: type[Method], keys: dict[str, Any]) -> None:
    task = made_task(unseen=("leaf6", "leaf7"))
    unseen = ~task.seen
    assert [TREE.names[i] for i in unseen.nonzero()[:, 0]] == ["mid3", "leaf6", "leaf7"]
    batch, method = batch_of(task), built(kind, task, **keys)
    logits = torch.randn(len(batch.inputs), TREE.num_nodes, requires_grad=True)
    method.objective(logits, batch.paths)["loss"].backward()
    assert logits.grad is not None
    assert not logits.grad[:, unseen].any()
    train(method, batch)
    if kind is not CLIPAdapter:  # whose adapters change every image and, if asked for, every node
        torch.testing.assert_close(method(batch.inputs)[:, unseen], zero_shot(task, batch.inputs)[:, unseen])
    if kind in (LinearProbe, TaskRes):
        assert {len(p) for p in method.parameters() if p.requires_grad} == {int(task.seen.sum())}
    # A candidate without images gets no weights either.
    everything = torch.ones(TREE.num_nodes, dtype=torch.bool)
    assert len(trained_nodes(dataclasses.replace(task, seen=everything))) == TREE.num_nodes - 3


@pytest.mark.parametrize(("kind", "keys"), PARTLY, ids=named)
def test_a_third_of_the_labels_cut(kind: type[Method], keys: dict[str, Any]) -> None:
    task = partly(made_task(RAGGED, shots=6))
    two_steps(kind, keys, task, batch_of(task))


@pytest.mark.parametrize("method", [CoOp, HierLoRA])
def test_methods_with_a_text_tower_on_cut_labels(method: type[Method], backbone: Backbone) -> None:
    paths = partly(made_task(RAGGED, shots=6)).train_paths
    features = F.normalize(torch.randn(len(paths), backbone.embed_dim), dim=-1)
    task = towers_task(backbone, RAGGED, None, features, paths)
    inputs, keys = features[:12], {"context_length": 2, "name": "{name}"}
    if method is HierLoRA:
        inputs, keys = torch.randn(12, 3, 32, 32), {"rank": 2}
        task = dataclasses.replace(task, train_features=None)
    two_steps(method, keys, task, Batch(inputs, task.train_paths[:12], torch.arange(12)))


def test_the_leaves_softmax_joins_the_default_objective_where_labels_are_partial() -> None:
    full, unseen = made_task(RAGGED), made_task(RAGGED, unseen=("leaf0", "leaf1"))
    unseen.seen[RAGGED.find("mid0")] = True
    for task, keys, weights in (
        (full, {}, {"level_ce": 1}),  # "short" ends above the deepest level, but it is a leaf
        (partly(full), {}, {"level_ce": 1, "leaf_ce": 1}),
        (partly(full), {"objective": {"level_ce": 1}}, {"level_ce": 1}),
        (first_at("mid0", unseen), {}, {"level_ce": 1}),  # all classes below are held back
        (first_at("mid1", unseen), {}, {"level_ce": 1, "leaf_ce": 1}),
    ):
        method = built(LinearProbe, task, **keys)
        assert method.objective.weights == weights
        assert method.describe() == ["objective: " + " + ".join(f"1 {name}" for name in weights)]
        assert method.adapted_objective == (weights if len(weights) > 1 else None)
    assert built(LatHAdapter, partly(full), **SMALL, residual="tree").objective.weights == {"leaf_ce": 1}


def first_at(node: str, task: Task) -> Task:
    """The first image is known to be of a node alone."""
    paths = task.train_paths.clone()
    paths[0] = RAGGED.paths(torch.tensor([RAGGED.find(node)]))
    return dataclasses.replace(task, train_paths=paths)


def partly(task: Task) -> Task:
    """Every third label one level coarser, every ninth two."""
    paths = task.train_paths.clone()
    paths[::3, 2] = -1
    paths[::9, 1:] = -1
    return dataclasses.replace(task, train_paths=paths)


def two_steps(kind: type[Method], keys: dict[str, Any], task: Task, batch: Batch) -> None:
    """Where one factor starts at zero, the other moves from the second step on."""
    method = built(kind, task, **keys)
    before = {name: p.detach().clone() for name, p in method.named_parameters() if p.requires_grad}
    assert all(math.isfinite(loss) for loss in train(method, batch, steps=2))
    after = {name: p for name, p in method.named_parameters() if p.requires_grad}
    assert all(p.isfinite().all() for p in after.values())
    assert any(not torch.equal(p, before[name]) for name, p in after.items())
    assert method(batch.inputs).isfinite().all()


# --- Tip-Adapter ---------------------------------------------------------------------------------------------------


def by_hand(task: Task, features: Tensor, alpha: float, beta: float, mean: bool) -> Tensor:
    """Tip-Adapter by loops over images, cache and nodes."""
    assert task.train_features is not None
    logits = zero_shot(task, features).double()
    classes = set(deepest_label(task.train_paths.masked_fill(~task.seen[task.train_paths], -1)).tolist()) - {-1}
    for node in task.seen.nonzero()[:, 0].tolist():
        below = sum(node in task.taxonomy.paths(torch.tensor(c)).tolist() for c in classes)
        for i, x in enumerate(features):
            total = sum(
                math.exp(-beta * (1 - float(key.double() @ x.double())))
                for key, path in zip(task.train_features, task.train_paths.tolist(), strict=True)
                if node in path
            )
            logits[i, node] += alpha * total / (max(below, 1) if mean else 1)
    return logits.float()


@pytest.mark.parametrize("inner_nodes", ["mean", "sum"])
@pytest.mark.parametrize("unseen", [(), ("b1", "c")])
def test_tip_adapter_is_what_loops_say(inner_nodes: Any, unseen: tuple[str, ...]) -> None:
    task = made_task(UNEVEN, shots=2, unseen=unseen)
    paths = task.train_paths.clone()
    paths[3, 1] = -1  # one image is labelled coarsely only
    task = dataclasses.replace(task, train_paths=paths)
    features = F.normalize(torch.randn(3, D, generator=torch.Generator().manual_seed(1)), dim=-1)
    method = built(TipAdapter, task, alpha=1.7, beta=2.5, inner_nodes=inner_nodes)
    torch.testing.assert_close(method(features), by_hand(task, features, 1.7, 2.5, inner_nodes == "mean"))


def test_a_cache_holds_what_is_known() -> None:
    task = made_task(UNEVEN, shots=2)
    seen = torch.ones(UNEVEN.num_nodes, dtype=torch.bool)
    seen[[UNEVEN.find("c"), UNEVEN.find("b2")]] = False
    method = built(TipAdapter, dataclasses.replace(task, seen=seen))
    assert len(method.classifier.cache.keys) == 8  # those of c are gone; those of b2 still speak for b
    inputs = batch_of(task).inputs
    exact = method(inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # the exponent stays exact
        torch.testing.assert_close(method(inputs), exact)
    with pytest.raises(UserError, match="this task has none"):
        built(TipAdapter, dataclasses.replace(task, train_features=None))
    assert method.configure_optimizers() is None
    with pytest.raises(RuntimeError, match="nothing to train"):
        method.loss(batch_of(task))


@pytest.mark.parametrize("unseen", [(), ("leaf7",)])
def test_the_search_finds_what_a_full_search_finds(unseen: tuple[str, ...]) -> None:
    task = made_task(unseen=unseen)
    generator = torch.Generator().manual_seed(5)
    features = F.normalize(torch.randn(40, D, generator=generator) + task.text[TREE.leaves].repeat(5, 1), dim=-1)
    paths = TREE.leaf_paths.repeat(5, 1)
    paths[0, 2] = -1  # no leaf known
    method = built(TipAdapter, task, alpha=0.5, beta=3.0)
    leaves = TREE.leaves[task.seen[TREE.leaves]]
    best, pair = -1, (0.0, 0.0)
    for a in FACTORS:
        for b in FACTORS:
            logits = built(TipAdapter, task, alpha=0.5 * a, beta=3.0 * b)(features)[:, leaves]
            hits = int((leaves[logits.argmax(1)] == paths[:, 2]).sum())
            if hits > best:
                best, pair = hits, (0.5 * a, 3.0 * b)
    for _ in range(2):  # a second search changes nothing
        chosen = method.choose(features, deepest_label(paths))
        assert (method.classifier.cache.alpha, method.classifier.cache.beta) == pytest.approx(pair)
    assert f"leaf accuracy {100 * best / (39 - 5 * len(unseen)):.2f} %" in chosen
    assert (FACTORS[0], min(FACTORS), max(FACTORS)) == (1, 1 / 8, 16)


# --- CoOp ----------------------------------------------------------------------------------------------------------

WORDS = Taxonomy.from_paths([("cat", "photo of a"), ("cat", "photo of b"), ("dog", "photo of a")])


def words_task(backbone: Backbone, unseen: tuple[tuple[str, ...], ...] = ()) -> Task:
    seen = torch.ones(WORDS.num_nodes, dtype=torch.bool)
    seen[[WORDS.find(path) for path in unseen]] = False
    nodes = WORDS.leaves[seen[WORDS.leaves]].repeat(3)
    generator = torch.Generator().manual_seed(2)
    features = F.normalize(torch.randn(len(nodes), backbone.embed_dim, generator=generator), dim=-1)
    return dataclasses.replace(towers_task(backbone, WORDS, None, features, WORDS.paths(nodes)), seen=seen)


@torch.no_grad()
def test_coop_reads_context_and_name(clip: Backbone) -> None:
    task = words_task(clip)
    method = built(CoOp, task, context_init="a photo of")
    names = ["cat.", "dog.", "photo of a, a kind of cat.", "photo of b.", "photo of a, a kind of dog."]
    expected = clip.encode_text([f"a photo of {name}" for name in names])
    torch.testing.assert_close(method.classifier.nodes(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(method(task.train_features), 20 * task.train_features @ expected.T)
    longer = built(CoOp, task, context_init="a photo of", name="{path}!")
    path = clip.encode_text(["a photo of cat, photo of b!"])[0]
    torch.testing.assert_close(longer.classifier.nodes()[3], path, atol=1e-5, rtol=0)


@pytest.mark.parametrize("keys", [{}, {"class_specific": True}, {"context_length": 4}, {"text_chunk": 2}], ids=str)
def test_coop_trains_the_context_alone(clip: Backbone, keys: dict[str, Any]) -> None:
    task, fingerprint = words_task(clip), clip.fingerprint
    method = built(CoOp, task, **{"context_length": 5, "lr": 0.02, **keys})
    assert [name for name, p in method.named_parameters() if p.requires_grad] == ["classifier.nodes.context"]
    shape = (WORDS.num_nodes if "class_specific" in keys else 1, keys.get("context_length", 5), clip.text_width)
    assert method.classifier.nodes.context.shape == shape
    losses = train(method, batch_of(task), steps=8)
    assert losses[-1] < losses[0]
    assert clip.fingerprint == fingerprint


def test_without_a_context_of_their_own_nodes_keep_their_text(clip: Backbone) -> None:
    task = words_task(clip, unseen=(("dog",), ("dog", "photo of a")))
    own = built(CoOp, task, context_length=2, class_specific=True)
    train(own, batch_of(task), steps=2)
    assert torch.equal(own.classifier.nodes()[~task.seen], task.text[~task.seen])
    assert len(own.classifier.nodes.context) == 3
    shared = built(CoOp, task, context_init="a photo")
    with torch.no_grad():
        torch.testing.assert_close(shared.classifier.nodes()[1], clip.encode_text(["a photo dog."])[0])


def test_coop_says_what_it_needs(clip: Backbone) -> None:
    with pytest.raises(UserError, match="needs a text tower"):
        built(CoOp, made_task())
    with pytest.raises(UserError, match="47 context vectors do not fit"):
        built(CoOp, words_task(clip), context_length=47)


@pytest.mark.parametrize(
    ("kind", "keys", "faults"),
    [
        (LinearProbe, {"lr": 0.0, "scale": -1.0, "weight_decay": -0.1}, ["lr: 0", "scale: -1", "weight_decay: -0.1"]),
        (LinearProbe, {"init": "texts"}, ["init: 'texts' is none of text, zero"]),
        (
            CLIPAdapter,
            {"image_ratio": 1.5, "reduction": 0},
            ["image_ratio: 1.5, must be in [0, 1]", "reduction: 0, must be 1 or more"],
        ),
        (
            CLIPAdapter,
            {"image_ratio": 0.0, "lr": float("nan")},
            ["nothing would be trained", "lr: nan, must be positive"],
        ),
        (TipAdapterF, {"alpha": 0.0, "beta": -5.5}, ["alpha: 0", "beta: -5.5, must be positive"]),
        (
            CoOp,
            {"context_length": 0, "momentum": 1.0},
            ["context_length: 0", "momentum: 1.0, must be in [0, 1)"],
        ),
        (CoOp, {"context_init": " ", "text_chunk": 0}, ["context_init is empty", "text_chunk: 0"]),
        (
            LatHAdapter,
            {"neighbours": 1, "hierarchy_weight": -1.0},
            ["neighbours: 1, must be 2 or more", "hierarchy_weight: -1"],
        ),
        (HierLoRA, {"rank": 0, "budget": 0.0, "alpha": 0.0}, ["rank: 0", "budget: 0.0, must be in (0, 1]", "alpha: 0"]),
        (
            HierLoRA,
            {"targets": ["q", "qq"], "layers": "last"},
            ["'qq' is none of q, k", "slice of block numbers"],
        ),
        (HierLoRA, {"targets": [], "warmup": 2}, ["at least one of q, k, v, o, fc", "warmup: 2"]),
        (HierLoRA, {"keep_frozen_mib": 1, "compile": True}, ["a compiled tower runs all of its blocks"]),
        (HierLoRA, {"keep_frozen_mib": 1, "shard": True}, ["shard: neither with compile nor with keep_frozen_mib"]),
    ],
)
def test_values_out_of_range_are_named_all_at_once(kind: type[Method], keys: dict[str, Any], faults: list[str]) -> None:
    with pytest.raises(UserError, match=f"{kind.__name__} cannot be set up") as caught:
        kind(**keys)
    assert len(caught.value.problems) == len(faults)
    for fault in faults:
        assert any(fault in problem for problem in caught.value.problems)
