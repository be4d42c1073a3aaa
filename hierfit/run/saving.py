"""Saves a run as it goes, so that ended at any moment it can go on and end as if nothing had happened."""

from __future__ import annotations

import csv
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
import yaml
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from hierfit.atomic import whole_file
from hierfit.distributed import of_all_processes
from hierfit.run.configure import SETTINGS

if TYPE_CHECKING:
    from hierfit.run.folder import RunState

_LOOK_EVERY = 10
"""Steps between the moments at which several processes agree whether to save; each costs an all-reduce."""
CURVES = "metrics.csv"
_FLUSH = 10.0
"""Seconds between writes of the curves, for those who watch."""


class Stopped(Exception):  # noqa: N818 (no error: what was asked for)
    """The run was asked to stop by a signal, and has saved itself after a step."""

    def __init__(self, signum: int, step: int) -> None:
        super().__init__(signum, step)
        self.signum, self.step = signum, step

    @property
    def by_sweep(self) -> bool:
        """Whether an agent of W&B has stopped a trial of its sweep: this is how it does so."""
        return self.signum == signal.SIGTERM and "WANDB_SWEEP_ID" in os.environ

    @property
    def exit_code(self) -> int:
        """Of the process: as of one the signal has ended; 0 for a trial, as an agent that counts failures quits."""
        return 0 if self.by_sweep else 128 + self.signum

    def __str__(self) -> str:
        name = signal.Signals(self.signum).name
        return f"stopped by {name} after step {self.step}, which is saved: the same command goes on from there"


class Curves(Logger):
    """``metrics.csv``: a row for each call, with the step; columns in alphabetical order. Always whole on disk; it can
    go back to where a run was saved."""

    name = version = ""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / CURVES
        self.rows: list[dict[str, Any]] = []
        self._written, self._last_write = 0, time.monotonic()

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: ``config.yaml`` holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float | Tensor], step: int | None = None) -> None:
        values = {name: value.item() if isinstance(value, Tensor) else value for name, value in metrics.items()}
        self.rows.append({**values, "step": len(self.rows) if step is None else step})

    @rank_zero_only
    def save(self) -> None:
        """Lightning asks for it after every row: writes every ten seconds, or a long run would write O(rows²)."""
        if time.monotonic() - self._last_write >= _FLUSH:
            self.write()

    @rank_zero_only
    def write(self) -> None:
        """Writes the file where there is something new. O(rows)."""
        if self._written == len(self.rows):
            return
        columns = sorted({name for row in self.rows for name in row})
        with whole_file(self.path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=columns)
            writer.writeheader()
            writer.writerows(self.rows)
        self._written, self._last_write = len(self.rows), time.monotonic()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes what is not written yet; where the run has failed already, that is what is told of it."""
        try:
            self.write()
        except OSError:
            if status == "success":
                raise

    @rank_zero_only
    def go_back(self, count: int) -> None:
        """Takes up the first ``count`` rows of the file; later ones will be logged again."""
        if self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
            self.rows = list(rows[:count])


class SaveSettings(Callback):
    """Begins the run and writes ``config.yaml`` once data and model are found to be in order, so that a refused run
    leaves nothing."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], begin: Callable[[], None] | None = None) -> None:
        self.folder, self.settings, self.begin = folder, settings, begin
        self._written = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero or self._written:
            return
        if self.begin is not None:
            self.begin()
        text = yaml.safe_dump(dict(self.settings), sort_keys=False, allow_unicode=True)
        with whole_file(self.folder / SETTINGS) as draft:
            draft.write_text(text, encoding="utf-8")
        self._written = True

    on_test_start = on_predict_start = on_train_start


class SaveProgress(Callback):
    """Writes ``last.ckpt`` every so many seconds and when the run is asked to stop (SIGTERM, Ctrl-C, SLURM's SIGUSR1).

    Always between two steps, when all that follows from a step (validation, selection, curves) is done: there the state
    of a run is small. It is what Lightning keeps (trained weights, optimiser, schedules, counters, selection, place in
    the epoch) and the generators of torch, numpy and Python, of each process.

    Args:
        run: Whose folder it goes to.
        every: Seconds between saves; 0 saves after every step; None never, nor when asked to stop.
        curves: Go back to where the run was saved.
    """

    def __init__(self, run: RunState, every: float | None, curves: Curves) -> None:
        self.run, self.every, self.curves = run, every, curves
        self._saved_at = time.monotonic()
        self._logged_steps: int | None = None  # while it saves
        self._asked = 0
        self._found: dict[str, Any] = {}
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Has the loader ask before each batch, and listens for signals: Lightning's own answer comes amid a step."""
        self._saved_at = time.monotonic()
        loader: Any = trainer.train_dataloader
        loader.before = partial(self._between_steps, trainer)
        if self.every is None or threading.current_thread() is not threading.main_thread():
            return
        wanted = [signal.SIGTERM, signal.SIGINT, *([signal.SIGUSR1] if "SLURM_JOB_ID" in os.environ else [])]
        self._before = {number: signal.signal(number, self._hear) for number in wanted}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the end of training: what comes after it is the test."""
        self._restore_handlers()
        if self.every is not None:
            self._save(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._restore_handlers()

    def state_dict(self) -> dict[str, Any]:
        """Generators of every process, and rows of the curves; only in ``last.ckpt``."""
        if self._logged_steps is None:
            return {}
        generators = of_all_processes(_generators())
        return {"generators": generators, "rows": len(self.curves.rows), "logged_steps": self._logged_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Notes where the run was; it is there again before the first batch."""
        self._found = dict(state_dict)
        if self._found:
            self.curves.go_back(self._found["rows"])

    def _between_steps(self, trainer: Trainer) -> None:
        if self._found:
            _set_generators(self._found["generators"])
            # Lightning counts a step twice on its way back where a validation was due.
            steps = {"_batches_that_stepped": self._found["logged_steps"]}
            trainer.fit_loop.epoch_loop.on_load_checkpoint(steps)
            self._found = {}
            return
        taken = trainer.train_dataloader.state_dict()["taken"]  # type: ignore[union-attr]
        if self.every is None or taken % trainer.accumulate_grad_batches:
            return
        due = bool(trainer.global_step) and time.monotonic() - self._saved_at >= self.every
        asked = self._asked
        if trainer.world_size > 1:
            if trainer.global_step % _LOOK_EVERY:
                return
            wish = torch.tensor([asked, int(due and trainer.is_global_zero)], device=trainer.strategy.root_device)
            dist.all_reduce(wish, dist.ReduceOp.MAX)
            asked, due = int(wish[0]), bool(wish[1])
        if asked or due:
            self._save(trainer)
        if asked:
            if asked == signal.SIGUSR1 and trainer.is_global_zero:
                requeue()
            raise Stopped(asked, trainer.global_step)

    def _save(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            self.curves.write()
            self.run.keep_selected()
        self._logged_steps = trainer.fit_loop.epoch_loop._batches_that_stepped
        try:
            trainer.save_checkpoint(self.run.last)
        finally:
            self._logged_steps = None
        self._saved_at = time.monotonic()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._asked:
            raise KeyboardInterrupt
        if number == signal.SIGINT:
            print("stopping after this step; once more stops at once, unsaved", file=sys.stderr)
        self._asked = number

    def _restore_handlers(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def requeue() -> None:
    """Asks SLURM to run this job again: it was told that its time is up (``#SBATCH --signal=USR1@120``)."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")
    if not re.fullmatch(r"[0-9_]+", job):
        return
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60, check=False)
        fault = done.stderr.strip() if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        fault = str(error)
    print(f"job {job} cannot be requeued: {fault}" if fault else f"job {job} is requeued", file=sys.stderr)


def _generators() -> dict[str, Any]:
    """States of all generators, as tensors and plain containers."""
    numpy: Any = np.random.get_state(legacy=False)
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "numpy": {**numpy, "state": {**numpy["state"], "key": numpy["state"]["key"].tolist()}},
        "python": [version, list(words), gauss],
    }


def _set_generators(states: list[dict[str, Any]]) -> None:
    """Puts this process's generators back; on another number of processes, those of the first."""
    rank = dist.get_rank() if dist.is_initialized() else 0
    found = states[rank if rank < len(states) else 0]
    torch.set_rng_state(found["torch"].cpu())
    if found["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(found["cuda"].cpu())
    inner = found["numpy"]["state"]
    np.random.set_state({**found["numpy"], "state": {**inner, "key": np.array(inner["key"], dtype=np.uint32)}})
    version, words, gauss = found["python"]
    random.setstate((version, tuple(words), gauss))
