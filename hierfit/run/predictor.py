"""Keeps what a run learnt, apart from Lightning and from the data, with its calibration on the validation split."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer
from safetensors.torch import load_file
from torch import Tensor

from hierfit.data.datamodule import HierarchicalDataModule, datamodule_of
from hierfit.inference.calibration import Calibration
from hierfit.inference.kept import FOLDER, Kept, write_kept
from hierfit.inference.towers import Towers
from hierfit.methods.base import Method, method_of
from hierfit.tensors import write_tensors

_PART = ".val_logits.safetensors"


class KeepPredictor(Callback):
    """Writes ``predictor/`` when the test ends, with the weights that were tested; nothing for a method without head.

    The validation split is scored once more by them: each rank its share, the first fits the temperatures.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes on the first rank; all take part, for weights may be spread over them."""
        method, data = method_of(pl_module), datamodule_of(trainer)
        with torch.inference_mode():
            head = method.head()
        if head is None:
            return
        calibration = self._calibrated(trainer, method, data)
        if not trainer.is_global_zero:
            return
        tree, facts = method.taxonomy.to("cpu"), data.summary()
        from_file = data.task.backbone is None
        fingerprint = None if from_file else str(facts["backbone_fingerprint"])
        adapter = self.folder / "adapter"
        towers = Towers(str(facts["backbone"]), fingerprint, adapter=adapter if adapter.is_dir() else None)
        card = data.card
        # Of classes that are added later nothing is known but the name; a level may have descriptions alone.
        templates = {level: group for level, group in card.templates.items() if level in tree.levels and group}
        about = {
            "method": type(method).__name__,
            "data": {
                **{key: facts[key] for key in ("card", "card_version", "shots")},
                **{key: getattr(card, key) for key in ("title", "citation", "licence", "known_faults")},
            },
        }
        write_kept(self.folder / FOLDER, Kept(tree, head, calibration, towers, templates, about))

    def _calibrated(self, trainer: Trainer, method: Method, data: HierarchicalDataModule) -> Calibration:
        """Fitted on the validation split, on the first rank; without one, or on other ranks, nothing is."""
        tree = method.taxonomy.to("cpu")
        if not data.has_val:
            return Calibration()
        logits, paths = self._scored(trainer, method, data)
        if trainer.world_size > 1:
            write_tensors(self._part(trainer.global_rank), {"logits": logits, "paths": paths})
            trainer.strategy.barrier("val-logits")
            if not trainer.is_global_zero:
                return Calibration()
            parts = [load_file(self._part(rank)) for rank in range(trainer.world_size)]
            logits, paths = (torch.cat([part[name] for part in parts]) for name in ("logits", "paths"))
            for rank in range(trainer.world_size):
                self._part(rank).unlink()
        return Calibration.fit(logits, paths, tree)

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
