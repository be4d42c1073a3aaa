"""What a method leaves for other programs, such as an adapter that peft opens."""

from __future__ import annotations

from pathlib import Path

from lightning import Callback, LightningModule, Trainer

from hierfit.methods.base import method_of


class WriteArtifacts(Callback):
    """Has the method write its artifacts when its test ends: the weights are then those that were tested."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes on the first rank."""
        if trainer.is_global_zero:
            method_of(pl_module).write_artifacts(self.folder)
