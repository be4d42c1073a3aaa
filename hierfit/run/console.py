"""What a run says while it goes: one bar over its steps, or lines in a log."""

from __future__ import annotations

import math
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console

from hierfit.data.progress import Meter


class StepBar(Callback):
    """One bar over the steps of a run, or over the batches of a test without training; lines in a log."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._meter: Meter | None = None
        self._trained = False

    def on(self, name: str) -> StepBar:
        """The bar of the same run's test on other data."""
        return StepBar(f"{self.title} on {name}")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._trained = True
        self._begin(trainer, "", trainer.estimated_stepping_batches, "steps", trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self._meter is not None:
            self._meter.show(trainer.global_step, lambda: _progress(trainer))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._meter is not None:
            self._meter.note(lambda: _progress(trainer))
        self._end()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not _fits(trainer):
            self._begin(trainer, "validating", sum(trainer.num_val_batches))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin(trainer, "testing", sum(trainer.num_test_batches))

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin(trainer, "predicting", sum(trainer.num_predict_batches))

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if self._meter is not None and _fits(trainer):
            of = f"{batch_idx + 1}/{sum(trainer.num_val_batches)}"
            self._meter.show(trainer.global_step, lambda: f"validating {of}")
        elif self._meter is not None:
            self._meter.show(batch_idx + 1)

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end  # type: ignore[assignment]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not _fits(trainer):
            self._end()

    on_test_end = on_predict_end = on_validation_end

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._end(exception)

    def _begin(self, trainer: Trainer, what: str, total: float, unit: str = "batches", done: int = 0) -> None:
        if trainer.is_global_zero:
            title = ", ".join(filter(None, (self.title, what)))
            whole = int(total) if math.isfinite(total) else None
            self._meter = Meter(title, whole, unit, done, Console(), not what or not self._trained).__enter__()

    def _end(self, error: BaseException | None = None) -> None:
        if self._meter is not None:
            self._meter.__exit__(error and type(error))
            self._meter = None


def _fits(trainer: Trainer) -> bool:
    return trainer.state.fn == TrainerFn.FITTING


def _progress(trainer: Trainer) -> str:
    metrics = {name: float(value) for name, value in trainer.progress_bar_metrics.items()}
    loss = [f"loss {value:.3g}" for name, value in metrics.items() if name == "train/loss"]
    val = [f"val {100 * value:.1f} %" for name, value in metrics.items() if name.startswith("val/")]
    return " · ".join([*loss, *val])
