"""Which weights of a run are kept; checkpoints are written whole or not at all, and never read as code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from hierfit.atomic import whole_file
from hierfit.data.datamodule import datamodule_of
from hierfit.errors import UserError
from hierfit.run.keys import Criterion

_TESTED = ("state_dict", "hierfit", "callbacks")


class Checkpoints(TorchCheckpointIO):
    """Tensors and plain containers in a torch file that is replaced in one go.

    Args:
        resumes: Give all that a checkpoint holds; else what is tested, and nothing of how far training had come.
    """

    def __init__(self, resumes: bool = True) -> None:
        super().__init__()
        self.resumes = resumes

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        with whole_file(Path(path)) as draft, draft.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # how torch tells that its file has not taken all it was given
                raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, loc: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Reads a checkpoint; whatever is asked for, objects that run code when they are read are refused."""
        content = read_checkpoint(Path(path), map_location)
        if self.resumes:
            return content
        version = {"pytorch-lightning_version": lightning.__version__}  # nothing of these changes with it
        return {name: content[name] for name in _TESTED if name in content} | version


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Reads a checkpoint's tensors and plain containers; never runs code that it may hold."""
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"There is no checkpoint {path}.") from error
    except Exception as error:  # what torch's readers raise on files of any kind has no common root
        raise UserError(
            f"{path} cannot be read as a checkpoint: {next(iter(str(error).splitlines()), type(error).__name__)}",
            hint="hierfit reads tensors and plain values only, and none of the code a pickle may hold.",
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} cannot be read as a checkpoint: it holds a {type(content).__name__}")
    return content


class SelectOnVal(ModelCheckpoint):
    """Keeps one checkpoint: the best on the validation split, or the last step's where there is none.

    The test split has no say. The first of equally good checkpoints stays. What is best the criterion says; where
    leaves are not told, accuracy of the finest level that is.
    """

    def __init__(self, folder: Path, criterion: Criterion | None = None) -> None:
        super().__init__(
            dirpath=folder / "checkpoints",
            filename="selected",
            monitor=f"val/{criterion or 'leaf_accuracy'}",
            mode="max",
            enable_version_counter=False,
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Learns whether there is anything to select on; the data is ready only now."""
        data = datamodule_of(trainer)
        if not data.has_val:
            self.monitor, self._save_on_train_epoch_end = None, True
        elif level := data.choice.train_level or data.finest_val_level:
            self.monitor = f"val/accuracy/{level.replace('.', '_')}"
        super().setup(trainer, pl_module, stage)
