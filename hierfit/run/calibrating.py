"""Fits on the validation split how a run's logits become a belief, with the weights that are tested."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer
from safetensors.torch import load_file
from torch import Tensor

from hierfit.data.datamodule import HierarchicalDataModule, datamodule_of
from hierfit.decoding import Calibration, calibrate
from hierfit.decoding.belief import LeafScores
from hierfit.methods.base import Method, method_of
from hierfit.tensors import write_tensors

_PART = ".val_logits.safetensors"


class CalibrateOnVal(Callback):
    """Scores the validation split once more when the test ends: each rank its share, the first fits.

    Args:
        folder: The run's.

    Attributes:
        calibration: What was fitted, on the first rank; without validation images, or on other ranks, the default.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calibration = Calibration()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fits; comes before the callbacks that keep it."""
        self.fit(trainer, method_of(pl_module))

    def fit(self, trainer: Trainer, method: Method) -> None:
        """Fits with the weights at hand. All ranks take part, for weights may be spread over them."""
        data = datamodule_of(trainer)
        choices: tuple[LeafScores, ...] = ("rollup",) if method.reads_leaves_only else ("best_path", "rollup")
        self.calibration = Calibration(choices[0], dict.fromkeys(choices, 1.0))
        if not data.has_val:
            return
        logits, paths = self._scored(trainer, method, data)
        if trainer.world_size > 1:
            write_tensors(self._part(trainer.global_rank), {"logits": logits, "paths": paths})
            trainer.strategy.barrier("val-logits")
            if not trainer.is_global_zero:
                return
            parts = [load_file(self._part(rank)) for rank in range(trainer.world_size)]
            logits, paths = (torch.cat([part[name] for part in parts]) for name in ("logits", "paths"))
            for rank in range(trainer.world_size):
                self._part(rank).unlink()
        self.calibration = calibrate(logits, paths, method.taxonomy.to("cpu"), choices)

    @torch.inference_mode()
    def _scored(self, trainer: Trainer, method: Method, data: HierarchicalDataModule) -> tuple[Tensor, Tensor]:
        tree = method.taxonomy
        logits, paths = [torch.zeros(0, tree.num_nodes)], [torch.zeros(0, tree.num_levels, dtype=torch.long)]
        loader = data.val_dataloader()
        assert not isinstance(loader, list)
        for batch in loader:
            with trainer.precision_plugin.forward_context():
                logits.append(method(batch.inputs.to(method.device)).float().cpu())
            paths.append(batch.paths.cpu())
        return torch.cat(logits), torch.cat(paths)

    def _part(self, rank: int) -> Path:
        return self.folder / f"{_PART}.{rank}"
