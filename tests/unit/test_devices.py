"""On a GPU: nothing is made on the wrong device, and a step of training never has the host wait.

Where there is a GPU it is used; else a pretended one (`accelerator`). What may wait, each once or every so often:

- the first step on a tree, where what is worked out once of it is kept (`taxonomy.cuts.once_a_tree`);
- what is logged, at the steps that the logger writes down;
- whether logits are finite, every 16th step, and whether levels share a scale, at steps 1, 2, 4, 8, …: so the third
  step is looked at;
- torch's optimisers, which keep their count of steps on the host.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from hierfit.backbone import Backbone
from hierfit.data.batch import Batch
from hierfit.decoding import DECODERS, Calibration, belief, calibrate, cut_to, deepest_sure
from hierfit.decoding.belief import BELIEF_DECODERS
from hierfit.decoding.calibration import reliability
from hierfit.losses.objective import LOSSES, Objective
from hierfit.methods import (
    CLIPAdapter,
    CoOp,
    HierLoRA,
    KernelRidge,
    LatHAdapter,
    LinearProbe,
    TaskRes,
    TipAdapter,
    TipAdapterF,
    TreeGDA,
    ZeroShot,
)
from hierfit.methods.base import Method
from hierfit.metrics import hierarchy_metrics
from hierfit.metrics.base_to_novel import base_to_novel
from hierfit.metrics.collection import score_metrics
from hierfit.metrics.selective import operating_curve
from hierfit.taxonomy import Taxonomy

from .accelerator import DEVICE, Pretended, is_autocast_enabled, moved
from .methods.made import TREE, batch_of, built, made_task, towers_task

GPU = torch.cuda.is_available()
AWAY = torch.device("cuda") if GPU else DEVICE
RAGGED = Taxonomy.from_paths([(f"top{i // 4}", f"mid{i // 2}", f"leaf{i}") for i in range(7)] + [("short",)])
LATENT = {"hidden": 8, "dimension": 6, "num_attributes": 6, "neighbours": 4, "max_anchors": 16}
TRAINED: list[tuple[type[Method], dict[str, Any]]] = [
    (LinearProbe, {"bias": True}),
    (LinearProbe, {"whiten": True}),
    (CLIPAdapter, {"text_ratio": 0.3}),
    (TaskRes, {}),
    (TipAdapterF, {}),
    *((TaskRes, {"objective": {name: 1.0}}) for name in LOSSES),
    (TaskRes, {"objective": {"hisce": {"epsilon": {"leaf": 0.3}, "families": 3}, "tp_kl": 1.0, "js": 0.0}}),
    *(
        (LatHAdapter, {**LATENT, "geometry": geometry, "hierarchy": hierarchy})
        for geometry in ("poincare", "lorentz", "euclidean")
        for hierarchy in ("joint", "tiered")
    ),
    (LatHAdapter, {**LATENT, "attributes": "none", "lca": "random"}),
    (LatHAdapter, {**LATENT, "known_tree": True, "residual": "tree"}),
    (LatHAdapter, {**LATENT, "residual": "text", "whiten": True}),
]
OF_TOWERS: list[tuple[type[Method], dict[str, Any]]] = [
    (CoOp, {"context_length": 2}),
    (CoOp, {"context_length": 2, "class_specific": True, "text_chunk": 3}),
    (LatHAdapter, {**LATENT, "attributes": "prompts", "context_length": 2}),
    (HierLoRA, {"rank": 2}),
    (HierLoRA, {"rank": 2, "learn_scale": True, "text_chunk": 3}),
]
FITTED: list[tuple[type[Method], dict[str, Any]]] = [(ZeroShot, {}), (TipAdapter, {}), (TreeGDA, {}), (KernelRidge, {})]


def named(value: object) -> str:
    return getattr(value, "__name__", str(value)[:60])


@contextmanager
def away(waits: bool = True) -> Iterator[list[str]]:
    """A GPU, or the pretended one; a list that what the host waits for is written to, where waiting is not allowed."""
    if GPU:
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("default" if waits else "warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                found: list[str] = []
                yield found
                found += [str(entry.message) for entry in caught if "synchronizing" in str(entry.message)]
        finally:
            torch.cuda.set_sync_debug_mode(before)
        return
    with pytest.MonkeyPatch.context() as patch, Pretended() as device:
        patch.setattr(torch, "is_autocast_enabled", is_autocast_enabled(torch.is_autocast_enabled))
        yield device.waits


def taught(method: Method, batch: Batch) -> list[str]:
    """What the host waits for in the third step of training."""
    with away():
        method.to(AWAY).train()
        assert {value.device.type for value in (*method.parameters(), *method.buffers())} == {AWAY.type}
        here = batch.to(AWAY)
    for step in range(3):
        with away(waits=step < 2) as waits:
            method.on_before_batch_transfer(batch, 0)
            terms = method.loss(here)
            terms["loss"].backward()
    with away():
        gradients = [p.grad for p in method.parameters() if p.requires_grad]
        assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)
    return waits


@pytest.mark.parametrize("tree", [TREE, RAGGED], ids=["even", "ragged"])
@pytest.mark.parametrize(("kind", "keys"), TRAINED, ids=named)
def test_a_step_waits_for_nothing(kind: type[Method], keys: dict[str, Any], tree: Taxonomy) -> None:
    task = made_task(tree)
    batch = batch_of(task)
    batch.paths[::3, -1] = -1  # some labels are coarse
    waits = taught(built(kind, task, **keys), batch)
    assert not waits


@pytest.mark.parametrize(("kind", "keys"), OF_TOWERS, ids=named)
def test_nor_does_one_through_the_towers(clip: Backbone, kind: type[Method], keys: dict[str, Any]) -> None:
    pixels = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = clip.encode_image(pixels)
    task = towers_task(clip, features=features, paths=TREE.leaf_paths[torch.arange(16) % TREE.num_leaves])
    method = built(kind, task, **keys)
    inputs = pixels if method.needs == "pixels" else task.train_features
    assert inputs is not None
    waits = taught(method, Batch(inputs, task.train_paths, torch.arange(len(inputs))))
    assert not waits


@pytest.mark.parametrize(("kind", "keys"), FITTED, ids=named)
def test_what_is_fitted_scores_where_its_images_are(kind: type[Method], keys: dict[str, Any]) -> None:
    task = made_task()
    method, batch = built(kind, task, **keys), batch_of(task)
    expected = method(batch.inputs)
    with away(), torch.no_grad():
        logits = method.to(AWAY)(batch.inputs.to(AWAY))
        assert logits.device.type == AWAY.type
        torch.testing.assert_close(logits.cpu(), expected, rtol=1e-4, atol=1e-4, equal_nan=True)
        if method.chooses:
            method.choose(batch.inputs, batch.paths.amax(dim=1))
            assert method(batch.inputs.to(AWAY)).device.type == AWAY.type


@pytest.mark.parametrize(("kind", "keys"), [*TRAINED[:5], *TRAINED[-3:], *FITTED], ids=named)
def test_built_as_lightning_does(kind: type[Method], keys: dict[str, Any]) -> None:
    """It makes new tensors on the accelerator while the task's are on the CPU."""
    task = made_task()
    with away(), torch.device(AWAY):
        method = built(kind, task, **keys)
    with away(), torch.no_grad():
        assert method.to(AWAY)(batch_of(task).inputs.to(AWAY)).device.type == AWAY.type


TESTED = {"even": TREE, "ragged": RAGGED}


def scored(tree: Taxonomy) -> tuple[Tensor, Tensor]:
    logits = torch.randn(24, tree.num_nodes, generator=torch.Generator().manual_seed(1))
    return logits, tree.leaf_paths[torch.arange(24) % tree.num_leaves]


def novel(logits: Tensor, paths: Tensor, tree: Taxonomy) -> Any:
    seen = torch.ones(tree.num_nodes, dtype=torch.bool)
    seen[tree.leaves[:2]] = False
    return base_to_novel(logits, paths, tree, seen)


def counted(logits: Tensor, paths: Tensor, tree: Taxonomy) -> Any:
    of_paths, of_scores = hierarchy_metrics(tree).to(logits.device), score_metrics(tree).to(logits.device)
    of_paths.update(paths.flip(0), paths)
    of_scores.update(logits, paths)
    return {**of_paths.compute(), **of_scores.compute()}


def believed(logits: Tensor, paths: Tensor, tree: Taxonomy) -> Any:
    calibration = calibrate(logits, paths, tree.to(logits.device))
    nodes = belief(logits, tree, calibration).nodes
    read = [decoder(nodes, tree) for decoder in BELIEF_DECODERS.values()]
    return [nodes, *read, cut_to(read[0], nodes, calibration.threshold(0.1)), deepest_sure(nodes, tree, 0.5)]


def selected(logits: Tensor, paths: Tensor, tree: Taxonomy) -> Any:
    nodes = belief(logits, tree, Calibration("rollup")).nodes
    answer = DECODERS["top_down"](nodes, tree)
    confidence = nodes.gather(1, answer.clamp_min(0))
    curve = operating_curve(answer, confidence, paths, tree)
    bins = reliability(confidence[:, 0], answer[:, 0] == paths[:, 0])
    return [*curve.sampled(2).figures().values(), curve.haurc, bins.ece, bins.count]


def summed(logits: Tensor, paths: Tensor, tree: Taxonomy) -> Any:
    seen = torch.ones(tree.num_nodes, dtype=torch.bool)
    seen[tree.leaves[-1]] = False
    return [Objective({name: 1.0}, tree, seen).to(logits.device)(logits, paths)["loss"] for name in LOSSES]


JUDGED: dict[str, Callable[[Tensor, Tensor, Taxonomy], Any]] = {
    "decoders": lambda logits, paths, tree: [decoder(logits, tree) for decoder in DECODERS.values()],
    "losses": summed,
    "metrics": counted,
    "belief": believed,
    "selective": selected,
    "base_to_novel": novel,
}


@pytest.mark.parametrize("tree", TESTED.values(), ids=TESTED)
@pytest.mark.parametrize("judge", JUDGED.values(), ids=JUDGED)
def test_judged_where_the_logits_are(judge: Callable[[Tensor, Tensor, Taxonomy], Any], tree: Taxonomy) -> None:
    logits, paths = scored(tree)
    expected = judge(logits, paths, tree)
    with away(), torch.no_grad():
        found = moved(judge(logits.to(AWAY), paths.to(AWAY), tree), torch.device("cpu"))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_the_pretended_device_sees_what_a_gpu_would() -> None:
    if GPU:
        pytest.skip("there is a GPU")
    with away() as waits:
        x, y = torch.arange(4.0, device=AWAY), torch.arange(4.0)
        with pytest.raises(RuntimeError, match="two devices"):
            _ = x + y
        with pytest.raises(RuntimeError, match="two devices"):
            _ = torch.cat([x, y])
        assert not waits
        _ = x * 2 + torch.tensor(1.0), x[:2], x[x.long()], x.to("cpu", non_blocking=True), x.masked_fill(x > 1, 0)
        assert not waits
        reads = [lambda: float(x[1]), lambda: x[x > 1], lambda: (x > 1).nonzero(), lambda: bool((x > 1).any())]
        reads += [lambda: x.cpu(), lambda: y.to(AWAY), lambda: torch.tensor([1.0], device=AWAY), lambda: x.unique()]
        reads += [
            lambda: x.new_tensor([1.0]),
            lambda: x.tolist(),
            lambda: x.long().bincount(),
            lambda: torch.equal(x, x),
        ]
        reads += [lambda: x[[1, 2]]]
        for number, read in enumerate(reads, 1):
            read()
            assert len(waits) == number, waits
