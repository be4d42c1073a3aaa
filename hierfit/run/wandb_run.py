"""A run at W&B: one row of the curves a step, none missing or twice, however often the run is interrupted."""

from __future__ import annotations

import shutil
import signal
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from hierfit.results.card import ResultCard
from hierfit.run.closing import shown
from hierfit.run.curves import Curves
from hierfit.run.saving import Stopped

_KILLED = 255
"""The exit code by which W&B tells a run that somebody has ended from one that has failed."""

Show = Callable[[Any, Path, ResultCard], None]
"""Sends W&B what is to be seen of a finished run: takes the W&B run, the folder and the result card."""


class WandbRun(WandbLogger):
    """Row n of the curves is step n at W&B; its axis is ``trainer/global_step``.

    A run that is taken up has its rows up to the last save, and trains the others again. Online, W&B says how many rows
    it has: only later ones are sent. Offline, all are written again, and the folder of the earlier attempt goes: one
    that was ended by ``kill -9`` lacks what W&B had not written yet, ``wandb sync`` reads no other beside one that it
    cannot read, and of several it lets the last stand for the run.

    Args:
        curves: They come before this logger among those of the trainer.
        named: What `wandb.init` takes.
    """

    def __init__(self, curves: Curves, **named: Any) -> None:
        super().__init__(**named)
        # Lightning passes on a setting that W&B has dropped and warns about on every run.
        self._wandb_init.pop("anonymous", None)
        self._curves = curves
        self._sent: int | None = None

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float | Tensor], step: int | None = None) -> None:
        """Sends the rows that W&B does not have."""
        if self._sent is None:
            self._sent = self.experiment.starting_step
            if self.experiment.offline:
                self._remove_earlier(Path(self.experiment.dir).parent)
        for number in range(self._sent, len(self._curves.rows)):
            row = {name: float(value) if isinstance(value, str) else value for name, value in self._row(number)}
            self.experiment.log(row, step=number)
        self._sent = max(self._sent, len(self._curves.rows))

    def _remove_earlier(self, folder: Path) -> None:
        # W&B numbers those that begin in the same second: …-ID-1.
        for earlier in folder.parent.glob(f"offline-run-*-{self.experiment.id}*"):
            if earlier != folder:
                shutil.rmtree(earlier, ignore_errors=True)

    def _row(self, number: int) -> Iterator[tuple[str, Any]]:
        for name, value in self._curves.rows[number].items():
            yield "trainer/global_step" if name == "step" else name, value

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Sends what the method was given, and says where to watch the run."""
        met = self._experiment is not None
        super().log_hyperparams(params)
        if not met and self.where and not self.experiment.offline:
            print(f"W&B: {self.where}")

    @property
    def where(self) -> str | None:
        """The run's page, or how to make one of what was kept offline; None where nothing is logged."""
        run = self._experiment
        if run is None or run.disabled:
            return None
        return f"wandb sync {shown(Path(run.dir).parent)}" if run.offline else run.url

    def conclude(self, folder: Path, card: ResultCard | None, show: Show | None) -> None:
        """Ends a run that has come to its end.

        Args:
            folder: Of the run.
            card: Its result; None on all processes but the first.
            show: Sends W&B more than curves.
        """
        if card is not None:
            # A sweep judges a run by its summary: let that be the selected checkpoint's, not the last one's.
            self.experiment.summary.update(dict(card.val))
            if show is not None and card.metrics:
                show(self.experiment, folder, card)
        self.close()

    def close(self, exit_code: int = 0, preempted: bool = False) -> None:
        """Ends the W&B run, if there is one; the next run of this process needs its own."""
        if self._experiment is None:
            return
        if preempted:
            self._experiment.mark_preempting()
        self._experiment.finish(exit_code)


@contextmanager
def ended_as_it_ends(loggers: Sequence[Logger]) -> Iterator[None]:
    """Tells W&B how a run has ended where it does not come to its end.

    Failed; killed, by Ctrl-C or by its sweep, whose word SIGTERM is; else preempted: W&B puts a preempted trial back
    into its sweep's queue, under the same id.
    """
    runs = [logger for logger in loggers if isinstance(logger, WandbRun)]
    try:
        yield
    except Stopped as stop:
        told = stop.by_sweep or stop.signum == signal.SIGINT
        for run in runs:
            run.close(_KILLED if told else stop.exit_code, preempted=not told)
        raise
    except BaseException as error:
        for run in runs:
            run.close(_KILLED if isinstance(error, KeyboardInterrupt) else 1)
        raise
