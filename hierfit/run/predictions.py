"""Predictions as a table a person can read."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from hierfit.atomic import whole_file
from hierfit.data.batch import Batch
from hierfit.data.datamodule import datamodule_of
from hierfit.decoding import Calibration, belief, leaf_rollup
from hierfit.distributed import of_all_processes
from hierfit.methods.base import method_of
from hierfit.run.calibrating import CalibrateOnVal
from hierfit.taxonomy import Taxonomy

FILE = "predictions.csv"


class WritePredictions(Callback):
    """Writes ``predictions.csv``: for each sample the path of its most probable leaf, and each node's probability.

    They are those of `hierfit predict RUN`: of one belief, fitted on val. Rows of all processes, in the split's order.
    """

    def __init__(self, folder: Path, calibrating: CalibrateOnVal) -> None:
        self.folder = folder
        self.calibrating = calibrating
        self._rows: dict[int, list[str]] = {}

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fits the belief; every process must know it."""
        self.calibrating.fit(trainer, method_of(pl_module))
        self.calibrating.calibration = of_all_processes(self.calibrating.calibration)[0]

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collects the rows of one batch."""
        assert isinstance(batch, Batch)
        rows = _rows(outputs.cpu(), method_of(pl_module).taxonomy.to("cpu"), self.calibrating.calibration)
        self._rows.update(zip(batch.indices.tolist(), rows, strict=True))

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file, whole or not at all."""
        parts = of_all_processes(self._rows)
        if not trainer.is_global_zero:
            return
        keys, taxonomy = datamodule_of(trainer).test_keys, method_of(pl_module).taxonomy
        with whole_file(self.folder / FILE) as draft, draft.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["sample", *(c for level in taxonomy.levels for c in (level, f"p({level})"))])
            rows = sorted(item for part in parts for item in part.items())
            writer.writerows([keys[index], *row] for index, row in rows)


def _rows(logits: Tensor, taxonomy: Taxonomy, calibration: Calibration) -> list[list[str]]:
    nodes = belief(logits, taxonomy, calibration).nodes
    paths = leaf_rollup(nodes, taxonomy)
    chances = nodes.gather(1, paths.clamp_min(0))
    rows = []
    for path, chance in zip(paths.tolist(), chances.tolist(), strict=True):
        cells = ([taxonomy.names[v], f"{p:.4f}"] if v >= 0 else ["", ""] for v, p in zip(path, chance, strict=True))
        rows.append([c for cell in cells for c in cell])
    return rows
