"""One, two and three processes train the same weights: batches, losses, mining and random numbers are one process's."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from hierfit.data.batch import Batch
from hierfit.data.bundle import Bundle, BundleSplit, write_bundle
from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.methods import LatHAdapter
from hierfit.methods.base import Method
from hierfit.taxonomy import Taxonomy

CARD = """
name: toy
version: 1
title: Toy
citation: nobody
licence: CC0
obtain: nowhere
levels: {top: 3, mid: 6, leaf: 9}
layout: feature_bundle
"""

PATHS = [("a", "p", "1"), ("a", "p", "2"), ("a", "q", "3"), ("a", "q", "4"), ("b", "r", "5"), ("b", "r", "6"),
         ("b", "s", "7"), ("b", "t", "8"), ("c", "t", "9")]  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> dict[str, object]:
    """53 samples to train on, a third of them labelled in part, for a batch of 16: the last batch has five.

    Of the 19 to validate on, in threes, the first process has one batch more than the others.
    """
    generator = torch.Generator().manual_seed(0)
    paths = [(*row[:2], row[2]) for row in PATHS]
    tree = Taxonomy.from_paths(paths, ("top", "mid", "leaf"))
    means = torch.randn(9, 12, generator=generator)
    splits = {}
    for name, count in {"train": 53, "val": 19, "test": 23}.items():
        labels = torch.arange(count) % 9
        features = F.normalize(means[labels] + torch.randn(count, 12, generator=generator), dim=-1)
        nodes = tree.resolve(paths)[labels]
        known = tree.paths(nodes)
        if name == "train":
            known[10::3, 2] = -1
            known[10::9, 1] = -1
            labels = labels.masked_fill(known[:, 2] < 0, -1)
        splits[name] = BundleSplit(features, labels, known)
    bundle = Bundle(("top", "mid", "leaf"), tuple(paths), splits, text=F.normalize(means, dim=-1), logit_scale=20.0)
    write_bundle(tmp_path / "toy.safetensors", bundle)
    (tmp_path / "toy.yaml").write_text(CARD)
    return {"card": str(tmp_path / "toy.yaml"), "root": str(tmp_path / "toy.safetensors"), "shots": None, "seed": 1}


class NeverWaits(TorchDispatchMode):
    """What a device would have to be waited for is done on the host, before the batch is moved."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.ops.aten._unique2.default
        return func(*args, **(kwargs or {}))


class Keep(Callback):
    """The first process writes the weights and the figures it logged."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            figures = {name: value.detach().clone() for name, value in trainer.callback_metrics.items()}
            torch.save({**pl_module.state_dict(), **figures}, self.path)


def train(method: Method, data: dict[str, object], world: int, path: Path) -> dict[str, Tensor]:
    trainer = Trainer(
        accelerator="cpu",
        devices=world,
        strategy="ddp_fork" if world > 1 else "auto",
        max_steps=12,
        val_check_interval=6,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        log_every_n_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Keep(path)],
    )
    loss = method.loss

    def watched(batch: Batch) -> dict[str, Tensor]:
        with NeverWaits() if trainer.global_step == 2 else nullcontext():
            return loss(batch)

    method.loss = watched  # type: ignore[method-assign]
    torch.manual_seed(0)
    trainer.fit(method, HierarchicalDataModule(**data, batch_size=16, eval_batch_size=3))  # type: ignore[arg-type]
    kept: dict[str, Tensor] = torch.load(path, weights_only=True)
    return kept


def methods() -> dict[str, Method]:
    small = {"num_attributes": 6, "dimension": 8, "hidden": 8, "neighbours": 4, "lr": 0.01}
    return {
        "joint": LatHAdapter(**small, objective={"level_ce": 1, "tp_kl": 1, "js": 1, "hisce": 1}),
        "tiered": LatHAdapter(
            **small, hierarchy="tiered", known_tree=True, objective={"leaf_ce": 1, "hxe": 1, "soft_labels": 1}
        ),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "worlds"), [("joint", (2, 3)), ("tiered", (3,))])
def test_any_number_of_processes_trains_the_same_weights(
    name: str, worlds: tuple[int, ...], data: dict[str, object], tmp_path: Path
) -> None:
    alone = train(methods()[name], data, 1, tmp_path / "1.pt")
    assert any(key.startswith("val/") for key in alone)
    for world in worlds:
        shared = train(methods()[name], data, world, tmp_path / f"{world}.pt")
        assert shared.keys() == alone.keys()
        for key, value in alone.items():
            # A loss is a small difference of large logits; weights are held to the last digits.
            close = {"rtol": 1e-5, "atol": 1e-5 if key.startswith("train/") else 1e-6}
            torch.testing.assert_close(shared[key], value, **close, msg=lambda m, k=key: f"{k}: {m}")
