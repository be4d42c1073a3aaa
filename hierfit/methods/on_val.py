"""The callback that gives a method without training the validation split, before it is tested."""

from __future__ import annotations

from typing import Protocol, cast

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from hierfit.data.datamodule import datamodule_of
from hierfit.losses.levels import deepest_label
from hierfit.methods.base import method_of


class Chooses(Protocol):
    """A method that chooses by validation images."""

    def choose(self, features: Tensor, leaves: Tensor) -> str | None:
        """Chooses.

        Args:
            features: ``[m, d]``, on the CPU.
            leaves: Position of the leaf of each ``[m]``.

        Returns:
            What was chosen, for people; None for nothing.
        """
        ...


class ChooseOnVal(Callback):
    """Lets a method choose, before the test, by the images of the validation split that are labelled by a leaf.

    Without any, it keeps its defaults. Each process chooses by all of them, and so the same.
    """

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before what was chosen is tested."""
        self._choose(trainer, pl_module)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before what was chosen predicts."""
        self._choose(trainer, pl_module)

    def _choose(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = datamodule_of(trainer)
        if (val := data.val) is None:
            return
        leaves = data.task.taxonomy.leaf_index[deepest_label(val.paths)].cpu()
        known = (val.paths.amax(dim=1) >= 0).cpu() & (leaves >= 0)
        if not known.any():
            return
        chosen = cast("Chooses", pl_module).choose(val.features.cpu()[known], leaves[known])
        if chosen is not None:
            method_of(pl_module).tuned_on = "val"
            if trainer.is_global_zero:
                print(f"{chosen}: chosen on val")
