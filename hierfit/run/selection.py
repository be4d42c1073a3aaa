"""Which weights of a run are kept: the best on the validation split, else the last."""

from __future__ import annotations

from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from hierfit.data.datamodule import HierarchicalDataModule, datamodule_of
from hierfit.run.keys import Criterion


def monitored(data: HierarchicalDataModule, criterion: Criterion = "leaf_accuracy") -> str | None:
    """What selects: the criterion; where leaves are not told, accuracy of the finest level that is; None without
    validation."""
    if not data.has_val:
        return None
    level = data.choice.train_level or data.finest_val_level
    return f"val/{criterion}" if level is None else f"val/accuracy/{level.replace('.', '_')}"


class SelectOnVal(ModelCheckpoint):
    """Keeps one checkpoint: the best on the validation split (see `monitored`), or the last step's where there is none.

    The test split has no say. The first of equally good checkpoints stays.

    Args:
        folder: The run's.
        criterion: What is best.
    """

    def __init__(self, folder: Path, criterion: Criterion = "leaf_accuracy") -> None:
        self.criterion = criterion
        super().__init__(
            dirpath=folder / "checkpoints",
            filename="selected",
            monitor=f"val/{criterion}",
            mode="max",
            enable_version_counter=False,
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Learns whether there is anything to select on; the data is ready only now."""
        self.monitor = monitored(datamodule_of(trainer), self.criterion)
        if self.monitor is None:
            self._save_on_train_epoch_end = True
        super().setup(trainer, pl_module, stage)
