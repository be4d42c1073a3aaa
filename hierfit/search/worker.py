"""A process that runs the cells it is sent, one after the other."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from hierfit.errors import UserError
from hierfit.run.quiet import quieten
from hierfit.run.session import fit_alone
from hierfit.run.stopping import StopWhenTold
from hierfit.search.cell import LOG, claimed, clear, finished, seal
from hierfit.search.orders import Order, Outcome
from hierfit.search.sharing import shared_data


def work(connection: Connection, environment: Mapping[str, str], threads: int) -> None:
    """Takes orders until there are no more: `None`, or the end of the process that gives them.

    Args:
        connection: Orders come in; an outcome goes out for each, after one that its data are ready.
        environment: Variables of the process that gives the orders; a fork server has older ones.
        threads: For PyTorch.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the grid ends its workers itself
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(threads)
    quieten()
    with suppress(EOFError, OSError), shared_data(ready=lambda: connection.send(Outcome("ready"))):
        while (order := connection.recv()) is not None:
            # With one thread there is none to spare, and starting a process to decode costs seconds of it.
            outcome = _carry_out(order, min(threads, 8) if threads > 1 else 0, connection)
            connection.send(outcome)
            if outcome.retires:
                return
            gc.collect()


def _carry_out(order: Order, loaders: int, connection: Connection) -> Outcome:
    cell = order.cell

    def stops(count: int, value: float) -> bool:
        connection.send(Outcome("validated", validation=(count, value)))
        return bool(connection.recv())

    watchers = [StopWhenTold(order.watched, stops)] if order.watched else []
    # First, so that what the grid says of it goes before: decoding pictures takes no more than a worker's share.
    arguments = [f"--data.num_workers={loaders}", *cell.arguments, f"--folder={cell.folder}"]
    with claimed(cell, order.wait) as mine:
        if not mine:
            return Outcome("busy")
        if card := finished(cell):  # by another grid, meanwhile
            return Outcome("done", card=card)
        clear(cell)
        _forget_peak_memory()
        started = time.monotonic()
        with _logged(cell.folder / LOG):
            try:
                card = fit_alone(arguments, watchers)
            except UserError as error:
                print(f"error: {error}", file=sys.stderr)
                outcome = Outcome("failed", error=str(error).splitlines()[0])
            except (Exception, SystemExit) as error:
                traceback.print_exc()
                text = next(iter(str(error).splitlines()), "")
                outcome = Outcome("failed", error=f"{type(error).__name__}: {text}", retires=True)
            else:
                seal(cell)
                outcome = Outcome("done", card=card)
            finally:
                _end_wandb()
        return replace(outcome, seconds=time.monotonic() - started)


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Sends everything this process and the libraries below it print into a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = os.dup(1), os.dup(2)
    with path.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    faulthandler.enable()
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, original in zip((1, 2), before, strict=True):
            os.dup2(original, descriptor)
            os.close(original)


def _forget_peak_memory() -> None:
    """Lets the peak that a result card states be the cell's own, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _end_wandb() -> None:
    """Ends a W&B run that a failed cell has left open: the next cell would log into it."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=1)
