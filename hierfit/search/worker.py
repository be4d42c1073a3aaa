"""The process that runs the cells of a draw, one after the other, on data they share."""

from __future__ import annotations

import faulthandler
import gc
import os
import shutil
import signal
import sys
import time
import traceback
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer
from transformers import AutoTokenizer

from hierfit.atomic import sole
from hierfit.data.batch import Shared
from hierfit.distributed import end_with_parent
from hierfit.errors import UserError
from hierfit.report import show_at_wandb
from hierfit.run.quiet import quieten
from hierfit.run.train import train
from hierfit.search.engines import Origin
from hierfit.search.runner import LOG, Outcome, RunCell, finished

_PRELOADED = AutoTokenizer
"""Imported when it is first named, which else would be in each draw's process anew."""

_shared: Shared | None = None


def begin(origin: Origin) -> None:
    """Makes this process what it would be had it been started from `origin`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; who started it ends it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    os.environ.clear()
    os.environ.update(origin.environment)
    os.chdir(origin.folder)
    sys.path += [path for path in origin.paths if path not in sys.path]
    torch.set_num_threads(origin.threads)
    quieten()


def run_cell(cell: RunCell, wait: bool) -> Outcome:
    """Runs a cell that is not done yet; where another grid is at work on it, waits or leaves it."""
    global _shared
    with ExitStack() as first, sole(cell.folder, wait) as mine:
        if not mine:
            return Outcome("busy")
        started = time.monotonic()
        if (card := finished(cell)) is None:
            shutil.rmtree(cell.folder, ignore_errors=True)
            cell.folder.mkdir(parents=True)
            if _shared is None:
                # Nobody need encode what another is encoding: the first cells of a grid's processes read in turn.
                first.enter_context(sole(cell.folder.parents[1] / "reading", wait=True))
                _shared = Shared()
            with suppress(OSError):  # the peak that the result card states is to be the cell's own
                Path("/proc/self/clear_refs").write_text("5")
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            _log_to(cell.folder / LOG)
            outcome = _trained(cell, _shared, first)
            sys.stdout.flush()
            gc.collect()
            if outcome.kind == "failed":
                return outcome
            card = outcome.card
        if cell.follower is not None and card is not None:
            cell.follower.conclude(card)
        return Outcome("done", time.monotonic() - started, card)


def _trained(cell: RunCell, shared: Shared, until_read: ExitStack) -> Outcome:
    watchers = [_DataRead(until_read), *(cell.follower.watchers() if cell.follower else ())]
    data = cell.config.settings["data"]
    if data["num_workers"] is None:  # of the process's share; with one thread there is none to spare
        data["num_workers"] = min(torch.get_num_threads(), 8) if torch.get_num_threads() > 1 else 0
    try:
        card = train(replace(cell.config, folder=cell.folder), watchers, shared, show_at_wandb)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return Outcome("failed", error=str(error), mistake=True)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        text = next(iter(str(error).splitlines()), "")
        return Outcome("failed", error=f"{type(error).__name__}: {text}")
    finally:
        wandb = sys.modules.get("wandb")
        if wandb is not None and wandb.run is not None:  # the next cell would log into it
            wandb.finish(exit_code=1)
    return Outcome("done", card=card)


def _log_to(path: Path) -> None:
    """Sends everything this process and the libraries below it print into a file, until the next one."""
    sys.stdout.flush()
    sys.stderr.flush()
    with path.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    faulthandler.enable()


class _DataRead(Callback):
    """Lets others at the data once they are read, which Lightning does before it sets up anything."""

    def __init__(self, until_read: ExitStack) -> None:
        self._until_read = until_read

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._until_read.close()
