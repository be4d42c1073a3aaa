"""Keeps the test logits of a run, so that new metrics and decoders need no new training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from safetensors.torch import load_file
from torch import Tensor

from hierfit.data.batch import Batch
from hierfit.data.datamodule import datamodule_of
from hierfit.data.prepared import Prepared
from hierfit.data.trees import StandIn
from hierfit.results.logits import LOGITS, TREE, TRUE_TREE
from hierfit.tensors import write_tensors


class KeepTestLogits(Callback):
    """Writes ``logits [n, N]``, ``paths [n, L]`` and ``indices [n]`` of the test split, in the split's order.

    The tree goes beside them, so that they can be read when the data is gone; and, with ``true_leaf [C]``, the data
    set's own where another stands in its place.

    Each rank writes its own part; the first puts them together. Memory: O(n·N / ranks) on every rank, O(n·N) on the
    first.

    Args:
        folder: The run's.
        target: Whose test split is tested, if not the source's.
    """

    def __init__(self, folder: Path, target: Prepared | None = None) -> None:
        self.folder = folder
        self.target = target
        self._parts: list[dict[str, Tensor]] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts afresh, with an empty part: a rank may get no sample at all."""
        tree = self._tree(trainer).taxonomy
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
        write_tensors(self._part_path(trainer.global_rank), _joined(self._parts))
        trainer.strategy.barrier("test-logits")
        if not trainer.is_global_zero:
            return
        paths = [self._part_path(rank) for rank in range(trainer.world_size)]
        whole = _joined([load_file(path) for path in paths])
        order = whole["indices"].argsort()
        base, tree = datamodule_of(trainer).base, self._tree(trainer)
        # What base-to-novel figures, and figures on the data set's own tree, are made from.
        of_tree = {"seen": base if self.target is None else self.target.base(base), "true_leaf": tree.true_leaf}
        write_tensors(self.folder / LOGITS, {name: values[order] for name, values in whole.items()} | of_tree)
        for path in paths:
            path.unlink()
        tree.taxonomy.to_csv(self.folder / TREE)
        if tree.taxonomy is not tree.true:
            tree.true.to_csv(self.folder / TRUE_TREE)

    def _tree(self, trainer: Trainer) -> StandIn:
        return datamodule_of(trainer).tree if self.target is None else self.target.tree

    def _part_path(self, rank: int) -> Path:
        return self.folder / f".{LOGITS}.{rank}"


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
