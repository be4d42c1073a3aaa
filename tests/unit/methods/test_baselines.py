"""The feature baselines: where they start, what they train, and how they treat nodes without training images."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.backbone import Backbone, node_texts
from hierfit.data.batch import Batch, Task
from hierfit.errors import UserError
from hierfit.losses.levels import deepest_label
from hierfit.methods import CLIPAdapter, CoOp, LinearProbe, TaskRes, TipAdapter, TipAdapterF
from hierfit.methods.adapters import Blend
from hierfit.methods.base import Method
from hierfit.methods.tasks import trained_nodes
from hierfit.methods.tip_adapter import FACTORS
from hierfit.taxonomy import Taxonomy

D = 16
TREE = Taxonomy.from_paths([(f"top{i // 4}", f"mid{i // 2}", f"leaf{i}") for i in range(8)])
UNEVEN = Taxonomy.from_paths([("a", "a0"), ("b", "b0"), ("b", "b1"), ("b", "b2"), ("c",)])
TRAINED: list[tuple[type[Method], dict[str, Any]]] = [
    (LinearProbe, {}),
    (LinearProbe, {"bias": True}),
    (LinearProbe, {"init": "zero"}),
    (CLIPAdapter, {}),
    (CLIPAdapter, {"text_ratio": 0.3}),
    (TaskRes, {}),
    (TipAdapterF, {}),
]


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
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)
    return losses


def zero_shot(task: Task, features: Tensor) -> Tensor:
    return task.logit_scale * features @ task.text.T


@pytest.mark.parametrize(
    ("kind", "keys"), [(LinearProbe, {}), (LinearProbe, {"bias": True}), (TaskRes, {}), (TaskRes, {"alpha": 1.0})]
)
def test_at_the_start_it_is_zero_shot(kind: type[Method], keys: dict[str, Any]) -> None:
    task = made_task()
    inputs = batch_of(task).inputs
    torch.testing.assert_close(built(kind, task, **keys)(inputs), zero_shot(task, inputs))


def test_a_probe_from_zero_starts_undecided() -> None:
    task = made_task()
    assert not built(LinearProbe, task, init="zero")(batch_of(task).inputs).any()


def test_the_scale_of_a_probe_is_a_key() -> None:
    task = made_task()
    inputs = batch_of(task).inputs
    torch.testing.assert_close(built(LinearProbe, task, scale=3.0)(inputs), inputs @ task.text.T * 3)


@pytest.mark.parametrize(("kind", "keys"), TRAINED, ids=lambda value: getattr(value, "__name__", str(value)))
def test_training_lowers_the_loss_and_changes_the_parameters_alone(kind: type[Method], keys: dict[str, Any]) -> None:
    task = made_task()
    method, batch = built(kind, task, **keys), batch_of(task)
    before = {name: value.clone() for name, value in method.state_dict(keep_vars=False).items()}
    buffers = {name: value.clone() for name, value in method.named_buffers()}
    losses = train(method, batch)
    assert losses[-1] < losses[0]
    parameters = {name for name, p in method.named_parameters() if p.requires_grad}
    assert {n for n, value in method.state_dict().items() if not torch.equal(value, before[n])} == parameters
    assert all(torch.equal(value, buffers[name]) for name, value in method.named_buffers())
    assert method.objective.weights == {"level_ce": 1.0}


def test_any_objective_is_taken() -> None:
    task = made_task()
    method = built(TaskRes, task, objective={"leaf_ce": 2.0, "js": 1.0})
    terms = method.loss(batch_of(task))
    torch.testing.assert_close(terms["loss"], 2 * terms["leaf_ce"] + terms["js"])
    method.loss(batch_of(task))["loss"].backward()


def test_leaf_cross_entropy_leaves_inner_nodes_as_they_were() -> None:
    task = made_task()
    method = built(TaskRes, task, objective={"leaf_ce": 1.0}, weight_decay=0.0)
    train(method, batch_of(task))
    inner = TREE.leaf_index < 0
    torch.testing.assert_close(method.classifier.nodes()[inner], task.text[inner])


# --- nodes without training images -----------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "keys"), TRAINED, ids=lambda value: getattr(value, "__name__", str(value)))
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
    trained = [p for p in method.parameters() if p.requires_grad]
    if kind in (LinearProbe, TaskRes):
        assert {len(p) for p in trained} == {int(task.seen.sum())}


def test_nodes_without_images_get_no_weights_though_they_are_candidates() -> None:
    task = dataclasses.replace(made_task(unseen=("leaf7",)), seen=torch.ones(TREE.num_nodes, dtype=torch.bool))
    names = [TREE.names[i] for i in trained_nodes(task)]
    assert "leaf7" not in names
    assert len(names) == TREE.num_nodes - 1
    method = built(TaskRes, task)
    train(method, batch_of(task))
    torch.testing.assert_close(method.classifier.nodes()[TREE.find("leaf7")], task.text[TREE.find("leaf7")])


# --- CLIP-Adapter ------------------------------------------------------------------------------------------------


def test_blend_by_hand() -> None:
    blend = Blend(2, 1, 0.25)
    with torch.no_grad():
        blend.down.weight.copy_(torch.tensor([[2.0, 1.0]]))
        blend.up.weight.copy_(torch.tensor([[3.0], [-1.0]]))
    # relu(2·0.6 + 0.8) = 2; relu(6, −2) = (6, 0); 0.25·(6, 0) + 0.75·(0.6, 0.8) = (1.95, 0.6).
    expected = torch.tensor([1.95, 0.6]) / math.hypot(1.95, 0.6)
    torch.testing.assert_close(blend(torch.tensor([[0.6, 0.8]]))[0], expected)


def test_blend_does_not_see_the_length_of_a_feature() -> None:
    torch.manual_seed(0)
    blend, features = Blend(D, 4, 0.2), torch.randn(5, D)
    torch.testing.assert_close(blend(7.3 * features), blend(features))


def test_an_adapter_with_no_share_is_not_there() -> None:
    method = built(CLIPAdapter, made_task(), image_ratio=0.0, text_ratio=0.5)
    assert sum(p.numel() for p in method.parameters()) == 2 * D * (D // 4)


# --- Tip-Adapter -------------------------------------------------------------------------------------------------


def by_hand(task: Task, features: Tensor, alpha: float, beta: float, mean: bool) -> Tensor:
    """Tip-Adapter by loops over images, cache and nodes."""
    assert task.train_features is not None
    logits = zero_shot(task, features).double()
    classes = set(deepest_label(task.train_paths.masked_fill(~task.seen[task.train_paths], -1)).tolist()) - {-1}
    for node in range(task.taxonomy.num_nodes):
        if not task.seen[node]:
            continue
        below = sum(node in task.taxonomy.paths(torch.tensor(c)).tolist() for c in classes)
        for i, x in enumerate(features):
            total = 0.0
            for key, path in zip(task.train_features, task.train_paths.tolist(), strict=True):
                if node in path:
                    total += math.exp(-beta * (1 - float(key.double() @ x.double())))
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


def test_images_of_unseen_classes_are_not_cached() -> None:
    task = made_task(UNEVEN, shots=2)
    seen = torch.ones(UNEVEN.num_nodes, dtype=torch.bool)
    seen[[UNEVEN.find("c"), UNEVEN.find("b2")]] = False
    method = built(TipAdapter, dataclasses.replace(task, seen=seen))
    assert len(method.classifier.cache.keys) == 8  # those of c are gone; those of b2 still speak for b


def test_tip_adapter_trains_nothing_and_its_f_variant_the_keys() -> None:
    task = made_task()
    free, trained = built(TipAdapter, task), built(TipAdapterF, task)
    inputs = batch_of(task).inputs
    torch.testing.assert_close(free(inputs), trained(inputs))
    assert not [name for name, p in free.named_parameters() if p.requires_grad]
    assert not TipAdapter.trains
    assert free.configure_optimizers() is None
    with pytest.raises(RuntimeError, match="nothing to train"):
        free.loss(batch_of(task))
    assert [name for name, p in trained.named_parameters() if p.requires_grad] == ["classifier.cache.keys"]
    assert task.train_features is not trained.classifier.cache.keys
    kept = task.train_features.clone()
    train(trained, batch_of(task))
    assert torch.equal(task.train_features, kept), "the task's features are not the keys"


def test_tip_adapter_without_training_features() -> None:
    with pytest.raises(UserError, match="this task has none"):
        built(TipAdapter, dataclasses.replace(made_task(), train_features=None))


def test_half_precision_keeps_the_exponent_exact() -> None:
    task = made_task()
    method, inputs = built(TipAdapter, task), batch_of(task).inputs
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(method(inputs), method(inputs.float()))
        half = method(inputs)
    torch.testing.assert_close(half, method(inputs))


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
        told = method.choose(features, deepest_label(paths))
        assert (method.classifier.cache.alpha, method.classifier.cache.beta) == pytest.approx(pair)
    assert f"leaf accuracy {100 * best / (39 - 5 * len(unseen)):.2f} %" in told
    assert FACTORS[0] == 1
    assert (min(FACTORS), max(FACTORS)) == (1 / 8, 16)


# --- CoOp --------------------------------------------------------------------------------------------------------

WORDS = Taxonomy.from_paths([("cat", "photo of a"), ("cat", "photo of b"), ("dog", "photo of a")])


def words_task(backbone: Backbone, unseen: tuple[tuple[str, ...], ...] = ()) -> Task:
    generator = torch.Generator().manual_seed(2)
    seen = torch.ones(WORDS.num_nodes, dtype=torch.bool)
    seen[[WORDS.find(path) for path in unseen]] = False
    nodes = WORDS.leaves[seen[WORDS.leaves]].repeat(3)
    features = F.normalize(torch.randn(len(nodes), backbone.embed_dim, generator=generator), dim=-1)
    text = F.normalize(torch.randn(WORDS.num_nodes, backbone.embed_dim, generator=generator), dim=-1)
    prompts = tuple(map(tuple, node_texts(WORDS, {})))
    return Task(WORDS, text, "prompts", prompts, seen, 20.0, backbone, features, WORDS.paths(nodes))


def test_coop_reads_context_and_name(clip: Backbone) -> None:
    task = words_task(clip)
    method = built(CoOp, task, context_init="a photo of")
    names = ["cat.", "dog.", "photo of a, a kind of cat.", "photo of b.", "photo of a, a kind of dog."]
    with torch.no_grad():
        expected = clip.encode_text([f"a photo of {name}" for name in names])
        torch.testing.assert_close(method.classifier.nodes(), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(method(task.train_features), 20 * task.train_features @ expected.T)
    longer = built(CoOp, task, context_init="a photo of", name="{path}!")
    with torch.no_grad():
        path = clip.encode_text(["a photo of cat, photo of b!"])[0]
        torch.testing.assert_close(longer.classifier.nodes()[3], path, atol=1e-5, rtol=0)


@pytest.mark.parametrize("keys", [{}, {"class_specific": True}, {"context_length": 4}, {"text_chunk": 2}], ids=str)
def test_coop_trains_the_context_alone(clip: Backbone, keys: dict[str, Any]) -> None:
    task = words_task(clip)
    method = built(CoOp, task, **{"context_length": 5, "lr": 0.02, **keys})
    assert [name for name, p in method.named_parameters() if p.requires_grad] == ["classifier.nodes.context"]
    shape = (WORDS.num_nodes if "class_specific" in keys else 1, keys.get("context_length", 5), clip.text_width)
    assert method.classifier.nodes.context.shape == shape
    fingerprint = clip.fingerprint
    losses = train(method, batch_of(task), steps=8)
    assert losses[-1] < losses[0]
    assert clip.fingerprint == fingerprint


@pytest.mark.parametrize("class_specific", [False, True])
def test_chunks_change_memory_only(clip: Backbone, class_specific: bool) -> None:
    task = words_task(clip)
    found = []
    for chunk in (1, 2, 100):
        method = built(CoOp, task, context_length=3, class_specific=class_specific, text_chunk=chunk)
        with torch.no_grad():  # contexts that differ
            method.classifier.nodes.context += torch.randn(method.classifier.nodes.context.shape)
        method.loss(batch_of(task))["loss"].backward()
        found.append((method.classifier.nodes().detach(), method.classifier.nodes.context.grad))
    for nodes, gradient in found[:2]:
        torch.testing.assert_close(nodes, found[2][0], atol=1e-5, rtol=0)
        torch.testing.assert_close(gradient, found[2][1], atol=1e-4, rtol=1e-3)


def test_without_a_context_of_their_own_nodes_keep_their_text(clip: Backbone) -> None:
    task = words_task(clip, unseen=(("dog",), ("dog", "photo of a")))
    unseen = ~task.seen
    own = built(CoOp, task, context_length=2, class_specific=True)
    train(own, batch_of(task), steps=2)
    assert torch.equal(own.classifier.nodes()[unseen], task.text[unseen])
    assert len(own.classifier.nodes.context) == 3
    shared = built(CoOp, task, context_init="a photo")
    with torch.no_grad():
        torch.testing.assert_close(shared.classifier.nodes()[1], clip.encode_text(["a photo dog."])[0])


def test_coop_encodes_text_once_until_the_context_changes(clip: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    task = words_task(clip)
    method = built(CoOp, task, context_length=2)
    calls = []
    encode = clip.encode_tokens
    monkeypatch.setattr(clip, "encode_tokens", lambda tokens: calls.append(1) or encode(tokens))
    with torch.inference_mode():
        first = method(task.train_features)
        assert torch.equal(method(task.train_features), first)
    assert len(calls) == 1
    train(method, batch_of(task), steps=2)
    with torch.no_grad():
        assert not torch.equal(method(task.train_features), first)
    assert len(calls) == 4


def test_coop_says_what_it_needs(clip: Backbone) -> None:
    with pytest.raises(UserError, match="needs a text tower"):
        built(CoOp, made_task())
    with pytest.raises(UserError, match="47 context vectors do not fit"):
        built(CoOp, words_task(clip), context_length=47)


# --- values ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "keys", "faults"),
    [
        (LinearProbe, {"lr": 0.0, "scale": -1.0, "weight_decay": -0.1}, ["lr is 0", "scale is -1", "weight_decay is"]),
        (
            CLIPAdapter,
            {"image_ratio": 1.5, "text_ratio": -1.0, "reduction": 0, "lr": float("nan")},
            [
                "image_ratio is 1.5; it must be in [0, 1]",
                "text_ratio is -1",
                "reduction is 0; it must be 1",
                "lr is nan",
            ],
        ),
        (CLIPAdapter, {"image_ratio": 0.0, "lr": 0.0}, ["nothing would be trained", "lr is 0"]),
        (TipAdapter, {"alpha": 0.0, "beta": -5.5}, ["alpha is 0", "beta is -5.5; it must be positive"]),
        (TipAdapterF, {"alpha": 0.0, "lr": 0.0, "weight_decay": -1.0}, ["alpha is 0", "lr is 0", "weight_decay is -1"]),
        (TaskRes, {"alpha": 0.0, "lr": -1.0}, ["alpha is 0", "lr is -1"]),
        (
            CoOp,
            {"context_length": 0, "momentum": 1.0, "text_chunk": 0, "context_init": " "},
            [
                "context_length is 0",
                "momentum is 1.0; it must be in [0, 1)",
                "text_chunk is 0",
                "context_init is empty",
            ],
        ),
    ],
)
def test_values_out_of_range_are_named_all_at_once(kind: type[Method], keys: dict[str, Any], faults: list[str]) -> None:
    with pytest.raises(UserError, match=f"{kind.__name__} cannot be set up") as caught:
        kind(**keys)
    assert len(caught.value.problems) == len(faults)
    for fault in faults:
        assert any(fault in problem for problem in caught.value.problems)
