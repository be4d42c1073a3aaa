"""Two processes share an epoch: training batches dealt out, evaluation exact on odd sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn

from hierfit.data.batch import Batch
from hierfit.data.bundle import Bundle, BundleSplit, write_bundle
from hierfit.data.datamodule import HierarchicalDataModule

CARD = """
name: toy
version: 1
title: Toy
citation: nobody
licence: CC0
obtain: nowhere
levels: {class: 2}
layout: feature_bundle
"""


class Recorder(LightningModule):
    """Writes down which rows each process meets."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.layer = nn.Linear(2, 1)

    def _note(self, stage: str, batch: Batch) -> None:
        with (self.folder / f"{stage}.{self.global_rank}").open("a") as file:
            file.write(json.dumps(batch.indices.tolist()) + "\n")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self._note("train", batch)
        loss: Tensor = self.layer(batch.inputs).mean()
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._note("val", batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore")
def test_two_processes_share_every_split(tmp_path: Path) -> None:
    labels = torch.arange(11) % 2
    splits = {name: BundleSplit(torch.eye(2)[labels], labels) for name in ("train", "val", "test")}
    write_bundle(tmp_path / "toy.safetensors", Bundle(("class",), (("a",), ("b",)), splits))
    (tmp_path / "toy.yaml").write_text(CARD)
    data = HierarchicalDataModule(
        str(tmp_path / "toy.yaml"), str(tmp_path / "toy.safetensors"), shots=None, batch_size=4, eval_batch_size=2
    )
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp_fork",
        max_epochs=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Recorder(str(tmp_path)), data)

    def batches(stage: str, rank: int) -> list[list[int]]:
        return [json.loads(line) for line in (tmp_path / f"{stage}.{rank}").read_text().splitlines()]

    first, second = batches("train", 0), batches("train", 1)
    assert [len(batch) for batch in first] == [2, 2, 2]
    assert [len(batch) for batch in second] == [2, 2, 1]
    assert sorted(row for batch in first + second for row in batch) == list(range(11))
    assert batches("val", 0) == [[0, 2], [4, 6], [8, 10]]
    assert batches("val", 1) == [[1, 3], [5, 7], [9]]
