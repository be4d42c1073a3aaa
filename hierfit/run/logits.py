"""Keeps the test logits of a run, so that new metrics and decoders need no new training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from safetensors.torch import load_file, save_file
from torch import Tensor

from hierfit.data.batch import Batch
from hierfit.data.datamodule import datamodule_of
from hierfit.methods.base import method_of
from hierfit.report.kept import LOGITS, TREE
from hierfit.report.true_tree import TRUE_TREE


class KeepTestLogits(Callback):
    """Writes ``logits [n, N]``, ``paths [n, L]`` and ``indices [n]`` of the test split, in the split's order.

    The tree goes beside them, so that they can be read when the data is gone; and, with ``true_leaf [C]``, the data
    set's own where another stands in its place.

    Each rank writes its own part; the first puts them together. Memory: O(n·N / ranks) on every rank, O(n·N) on the
    first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts: list[dict[str, Tensor]] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts afresh, with an empty part: a rank may get no sample at all."""
        tree = method_of(pl_module).taxonomy
        self._parts = [
            {
                "logits": torch.zeros(0, tree.num_nodes),
                "paths": torch.zeros(0, tree.num_levels, dtype=torch.long),
                "indices": torch.zeros(0, dtype=torch.long),
            }
        ]

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collects one batch."""
        assert isinstance(batch, Batch)
        self._parts.append({"logits": outputs.cpu(), "paths": batch.paths.cpu(), "indices": batch.indices.cpu()})

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        mine = self._part_path(trainer.global_rank)
        save_file(_joined(self._parts), mine)
        trainer.strategy.barrier("test-logits")
        if not trainer.is_global_zero:
            return
        paths = [self._part_path(rank) for rank in range(trainer.world_size)]
        whole = _joined([load_file(path) for path in paths])
        order = whole["indices"].argsort()
        data = datamodule_of(trainer)
        # What base-to-novel figures, and figures on the data set's own tree, are made from.
        of_tree = {"seen": data.task.seen.cpu(), "true_leaf": data.tree.true_leaf}
        save_file({**{name: values[order] for name, values in whole.items()}, **of_tree}, mine)
        mine.replace(self.folder / LOGITS)
        for path in paths[1:]:
            path.unlink()
        data.tree.taxonomy.to_csv(self.folder / TREE)
        if data.tree.taxonomy is not data.tree.true:
            data.tree.true.to_csv(self.folder / TRUE_TREE)

    def _part_path(self, rank: int) -> Path:
        return self.folder / f".{LOGITS}.{rank}"


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
