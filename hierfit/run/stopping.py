"""Training that ends early where whoever watches it says so."""

from __future__ import annotations

from collections.abc import Callable

from lightning import Callback, LightningModule, Trainer


class StopWhenTold(Callback):
    """Tells a validation metric after each validation but the last, and stops training when the answer is True.

    Args:
        metric: Name of a logged validation metric.
        stops: Called with the number of validations so far and the metric's value.
    """

    def __init__(self, metric: str, stops: Callable[[int, float], bool]) -> None:
        self.metric = metric
        self.stops = stops
        self._count = 0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Asks."""
        if trainer.sanity_checking or trainer.global_step >= trainer.estimated_stepping_batches:
            return
        self._count += 1
        value = trainer.callback_metrics.get(self.metric)
        if value is not None and self.stops(self._count, float(value)):
            trainer.should_stop = True
