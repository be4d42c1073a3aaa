"""LatHAdapter: starts as zero-shot, trains what it should, and each control is one key."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from lightning import LightningDataModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from hierfit.backbone import Backbone
from hierfit.data.batch import Batch, Task
from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.errors import UserError
from hierfit.geometry.manifold import audit_manifold_parameters, geoopt
from hierfit.losses.levels import deepest_label
from hierfit.methods import LatHAdapter
from hierfit.methods.lathadapter.model import SoftPrompts, spread_points
from hierfit.taxonomy.shuffle import shuffled_places

from .made import TREE, D, batch_of, made_task
from .made import built as method_on

SMALL = {"hidden": 8, "dimension": 6, "num_attributes": 12, "neighbours": 6, "max_anchors": 16}


def built(task: Task | None = None, **keys: Any) -> tuple[LatHAdapter, Task, Batch]:
    task = task or made_task(shots=6)
    return method_on(LatHAdapter, task, **{**SMALL, **keys}), task, batch_of(task)


def trained(method: LatHAdapter, batch: Batch, steps: int = 30) -> list[dict[str, float]]:
    optimizer = optimiser_of(method, steps)
    audit_manifold_parameters(method, optimizer)
    history = []
    for _ in range(steps):
        optimizer.zero_grad()
        terms = method.loss(batch)
        terms["loss"].backward()
        optimizer.step()
        history.append({name: value.item() for name, value in terms.items()})
    return history


def optimiser_of(method: LatHAdapter, steps: int = 10) -> torch.optim.Optimizer:
    method._trainer = cast(Any, SimpleNamespace(estimated_stepping_batches=steps))
    optimizer: torch.optim.Optimizer = method.configure_optimizers()["optimizer"]
    method._trainer = None
    return optimizer


def test_weight_zero_creates_and_computes_nothing_of_the_hierarchy() -> None:
    for weight in (0.0, 1.0):  # both start as zero-shot
        method, task, batch = built(hierarchy_weight=weight)
        torch.testing.assert_close(method(batch.inputs), 30 * batch.inputs @ task.text.T)
    method, _, batch = built(hierarchy_weight=0.0)
    assert not [name for name, _ in method.named_parameters() if "latent" in name]
    assert set(method.loss(batch)) == {"level_ce", "loss"}
    (group,) = optimiser_of(method).param_groups
    assert len(group["params"]) == sum(1 for _ in method.parameters())
    terms = built(hierarchy_weight=3.0, objective={"leaf_ce": 2.0})[0].loss(batch)
    torch.testing.assert_close(terms["loss"], 2 * terms["leaf_ce"] + 3 * terms["latent_hierarchy"])


@pytest.mark.parametrize("geometry", ["poincare", "lorentz"])
def test_the_gradient_into_features_is_riemannian_unless_switched_off(geometry: str) -> None:
    """Row for row the plain gradient times ((1 − c‖x‖²)/2)²."""
    gradients = []
    for keys in ({}, {"riemannian_features": False}):
        method, task, batch = built(geometry=geometry, **keys)
        assert method.latent is not None
        latent = method.latent.double()
        images, nodes = batch.inputs.double().requires_grad_(), task.text.double().requires_grad_()
        torch.manual_seed(1)
        loss = latent(images, nodes, deepest_label(batch.paths))
        gradients.append(torch.autograd.grad(loss, (images, nodes)))
    metric = latent.loss.space.model.inverse_metric
    for riemannian, plain, points in zip(
        *gradients, (latent.image_points(images), latent.node_points(nodes)), strict=True
    ):
        assert plain.abs().max() > 0
        torch.testing.assert_close(riemannian, plain * metric(points, 0.1), rtol=1e-9, atol=1e-14)


CONTROLS: list[dict[str, Any]] = [
    {"geometry": "lorentz"},
    {"geometry": "euclidean"},
    {"lca": "random"},
    {"hierarchy": "tiered"},
    {"attributes": "none"},
    {"attributes": "none", "known_tree": True},
    {"known_tree": True},
    {"known_tree": True, "hierarchy": "tiered"},
    {"residual_ratio": 0.0},
]


@pytest.mark.parametrize("keys", CONTROLS, ids=str)
def test_each_control_is_one_key_and_trains(keys: dict[str, Any]) -> None:
    method, _, batch = built(**keys)
    reference, _, _ = built()
    torch.manual_seed(1)
    term = method.loss(batch)["latent_hierarchy"]
    torch.manual_seed(1)
    usual = reference.loss(batch)["latent_hierarchy"]
    if keys in ({"geometry": "lorentz"}, {"residual_ratio": 0.0}):
        torch.testing.assert_close(term, usual, rtol=1e-3, atol=1e-3)
    else:
        assert abs(term - usual) > 1e-4
    trained(method, batch, steps=3)
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            assert torch.isfinite(parameter).all(), name
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_nodes_without_images_keep_no_residual_and_start_no_attribute() -> None:
    method, task, batch = built(made_task(shots=6, unseen=("leaf6", "leaf7")))
    trained(method, batch)
    residual = method.classifier.nodes.residuals.vectors
    assert residual is not None
    seen = torch.zeros(TREE.num_nodes, dtype=torch.bool)
    seen[task.train_paths.flatten()] = True
    assert (residual[~seen] == 0).all()
    assert (residual[seen].abs().sum(1) > 0).all()
    torch.testing.assert_close(method.classifier.nodes()[~seen], method.classifier.nodes.adapter(task.text)[~seen])


class Towers(nn.Module):
    """Stands in for a backbone: a frozen linear text tower."""

    text_width = 5

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(self.text_width, D), requires_grad=False)

    def encode_context(self, context: Tensor) -> Tensor:
        return F.normalize(context.mean(1) @ self.weight, dim=-1)


def test_prompts_learn_through_frozen_towers() -> None:
    task = dataclasses.replace(made_task(shots=6), backbone=cast(Backbone, Towers()))
    method, _, batch = built(task, attributes="prompts", context_length=3)
    assert method.latent is not None
    assert isinstance(method.latent.attributes, SoftPrompts)
    start = method.latent.attributes.context.detach().clone()
    assert start.shape == (12, 3, 5)
    trained(method, batch, steps=2)
    assert (method.latent.attributes.context != start).any()
    assert optimiser_of(method).param_groups[1]["params"][0] is method.latent.attributes.context
    with pytest.raises(UserError, match="attributes: vectors"):
        built(attributes="prompts")


def test_half_precision_weights_are_refused_at_both_gates() -> None:
    method, task, _ = built()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with pytest.raises(UserError, match="bf16-mixed"):
            LatHAdapter().build(task)
    finally:
        torch.set_default_dtype(torch.float32)
    method.to(torch.bfloat16)
    with pytest.raises(UserError, match="bfloat16"):
        audit_manifold_parameters(method, optimiser_of(method))


@pytest.mark.parametrize("geometry", ["poincare", "lorentz", "euclidean"])
def test_bf16_autocast_keeps_cosines_and_geometry_in_fp32(geometry: str) -> None:
    method, _, batch = built(geometry=geometry)
    trained(method, batch, steps=3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = method(batch.inputs)
        terms = method.loss(batch)
    terms["loss"].backward()
    assert logits.dtype == torch.float32
    # The adapters themselves run in bf16: their small additions are rounded, the cosines are not.
    torch.testing.assert_close(logits, method(batch.inputs), rtol=0, atol=0.05)
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


def test_attributes_are_trained_apart_and_health_reports_radii_and_the_share_at_the_cap() -> None:
    method, task, batch = built()
    others, attributes = optimiser_of(method).param_groups
    assert [isinstance(p, geoopt.ManifoldParameter) for p in attributes["params"]] == [True]
    assert [(g["lr"], g["weight_decay"]) for g in (others, attributes)] == [(3e-4, 1e-2), (1.5e-3, 0.0)]
    assert method.latent is not None
    figures = method.latent.health(batch.inputs, method.classifier.nodes())
    assert set(figures) == {"image_radius", "image_share_at_cap", "node_radius", "attribute_radius"}
    # Projected norms start at 1.2 on average over both modalities, and radii are twice the norms.
    assert (figures["image_radius"] + figures["node_radius"]).item() / 4 == pytest.approx(1.2, rel=0.1)
    assert figures["image_share_at_cap"] == 0
    centred = method.latent.health(batch.inputs.mean(0, keepdim=True), task.text.mean(0, keepdim=True))
    assert centred["image_radius"] < 1e-5
    assert centred["node_radius"] < 1e-5


def test_spread_points_finds_clusters_and_follows_the_seed() -> None:
    centres = torch.eye(4) * 10
    points = centres.repeat(25, 1) + 0.1 * torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    found = [spread_points(points, 8) for seed in (0, 0, 1) if torch.manual_seed(seed)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert (
        torch.cdist(points, found[0]).amin(1).square().mean() <= torch.cdist(points, points[:8]).amin(1).square().mean()
    )
    few = spread_points(points[:3], 8)
    assert torch.equal(few[:3], points[:3])
    assert len(few) == 8
    pairs = (points[:3, None] + points[:3]) / 2
    assert (torch.cdist(few[3:], pairs.flatten(0, 1)).amin(1) < 1e-5).all()
    assert torch.cdist(few[3:], points[:3]).amin(1).max() > 1, "midpoints, not copies"


def test_residuals_along_the_tree_learn_leaves_alone_and_are_what_a_shuffle_shuffles() -> None:
    own, tied = LatHAdapter(**SMALL), LatHAdapter(**SMALL, residual="tree")
    task = made_task(shots=6)
    for method, expected in ((own, "level_ce"), (tied, "leaf_ce")):
        method.build(dataclasses.replace(task, shuffle=3))
        assert list(method.objective.weights) == [expected]
    assert (own.shares_along_tree, tied.shares_along_tree) == (False, True)
    assert not LatHAdapter(**SMALL, residual="tree", residual_ratio=0).shares_along_tree
    assert own.classifier.nodes.residuals is not None
    assert tied.classifier.nodes.residuals is not None
    assert own.classifier.nodes.residuals.place is None
    assert torch.equal(tied.classifier.nodes.residuals.place, shuffled_places(task.taxonomy, 3))  # type: ignore[arg-type]

    siblings = LatHAdapter(**SMALL, objective={"hisce": 0.5, "tp_kl": 1})
    assert siblings.shares_along_tree
    siblings.build(dataclasses.replace(task, shuffle=3))
    assert siblings.objective.options["hisce"] == {"families": 3}
    assert siblings.objective.weights["hisce"] == 0.5


class InMemory(HierarchicalDataModule):
    """The made task as a data module."""

    task = made_task(shots=6)

    def __init__(self) -> None:
        LightningDataModule.__init__(self)

    def prepare_data(self) -> None: ...

    def setup(self, stage: str | None = None) -> None: ...

    def train_dataloader(self) -> Any:
        assert self.task.train_features is not None
        rows = torch.randperm(len(self.task.train_paths)).split(16)
        batches = [Batch(self.task.train_features[i], self.task.train_paths[i], i) for i in rows]
        return DataLoader(cast(Any, batches), batch_size=None)

    def val_dataloader(self) -> Any:
        return []


def test_lightning_steps_schedule_clipping_and_checkpoint(tmp_path: Any) -> None:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    torch.manual_seed(0)
    method = LatHAdapter(**SMALL, gradient_clip=1e-4)
    largest: list[float] = []

    def keep_clipped(_: torch.optim.Optimizer) -> None:  # the gradients of the step before
        largest.extend(p.grad.abs().max().item() for p in method.parameters() if p.grad is not None)

    method.on_before_zero_grad = keep_clipped  # type: ignore[method-assign]
    trainer = Trainer(max_epochs=2, log_every_n_steps=3, default_root_dir=tmp_path, enable_checkpointing=False, **quiet)
    trainer.fit(method, datamodule=InMemory())
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)
    assert {"train/loss", "train/latent_hierarchy", "train/image_radius"} <= set(trainer.callback_metrics)
    assert max(largest) == pytest.approx(1e-4), "each gradient entry is clipped by value"
    assert sum(value > 0.99e-4 for value in largest) > 1
    assert trainer.global_step == 6
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    saved = torch.load(tmp_path / "end.ckpt", weights_only=True)
    assert saved["hyper_parameters"]["hierarchy_weight"] == 1.0
    restored = LatHAdapter(**SMALL)
    restored.build(InMemory.task)
    restored.taxonomy = TREE
    assert "classifier.image_adapter.down.weight" in saved["state_dict"], "names in checkpoints stay"
    restored.on_load_checkpoint(saved)
    restored.load_state_dict(saved["state_dict"], strict=False)
    inputs = InMemory.task.train_features
    torch.testing.assert_close(restored(inputs), method(inputs))
    assert restored.latent is not None
    assert method.latent is not None
    torch.testing.assert_close(restored.latent.attribute_points(), method.latent.attribute_points())
