"""Where the curves of a run go: ``metrics.csv`` always, W&B beside it.

At W&B a run has one row of the curves a step, none missing or twice, however often it is interrupted.
"""

from __future__ import annotations

import netrc
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from hierfit.errors import UserError
from hierfit.results.card import ResultCard
from hierfit.run.keys import WandbMode
from hierfit.run.saving import Curves, Stopped
from hierfit.streams import shown

_PATIENCE = 5.0
"""Seconds that W&B has to answer at all, and again to take up a run."""
_KILLED = 255
"""The exit code by which W&B tells a run that somebody has ended from one that has failed."""
_KEEP_HERE = "--wandb offline keeps the run here, for `wandb sync` later."

Show = Callable[[Any, Path, ResultCard], None]
"""Sends W&B what is to be seen of a finished run: takes the W&B run, the folder and the result card."""


class WandbRun(WandbLogger):
    """Row n of the curves is step n at W&B; its axis is ``trainer/global_step``.

    A run that is taken up has its rows up to the last save, and trains the others again. Online, W&B says how many rows
    it has: only later ones are sent. Offline, all are written again, and the folder of the earlier attempt goes: one
    that was ended by ``kill -9`` lacks what W&B had not written yet, ``wandb sync`` reads no other beside one that it
    cannot read, and of several it lets the last stand for the run.
    """

    def __init__(self, curves: Curves, strict: bool = False, **named: Any) -> None:
        super().__init__(**named)
        # Lightning passes on a setting that W&B has dropped and warns about on every run.
        self._wandb_init.pop("anonymous", None)
        self._curves, self._strict = curves, strict
        self._sent: int | None = None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run at W&B, begun when it is first asked for, which says where to watch it.

        Raises:
            UserError: W&B refuses it, or does not answer, where it was asked for by name.
        """
        if self._experiment is not None:
            return self._experiment
        import wandb

        wandb.setup(wandb.Settings(silent=True))
        try:
            found = super().experiment
        except wandb.errors.Error as error:
            problem = f"W&B does not take the run: {next(iter(str(error).splitlines()), 'no reason given')}"
            if self._strict:
                raise UserError(problem, hint=_KEEP_HERE) from error
            print(_kept_offline(problem, Path(self.save_dir or ".")))
            self._wandb_init["mode"] = "offline"
            wandb.teardown()  # it holds the run's id
            wandb.setup(wandb.Settings(silent=True))
            found = super().experiment
        if self.where and not found.offline:
            print(f"W&B: {self.where}")
        return found

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float | Tensor], step: int | None = None) -> None:
        """Sends the rows that W&B does not have."""
        if self._sent is None:
            self._sent = self.experiment.starting_step
            if self.experiment.offline:
                own = Path(self.experiment.dir).parent
                # W&B numbers those that begin in the same second: …-ID-1.
                for earlier in own.parent.glob(f"offline-run-*-{self.experiment.id}*"):
                    if earlier != own:
                        shutil.rmtree(earlier, ignore_errors=True)
        for number in range(self._sent, len(self._curves.rows)):
            row = {name: float(v) if isinstance(v, str) else v for name, v in self._curves.rows[number].items()}
            self.experiment.log({"trainer/global_step": row.pop("step"), **row}, step=number)
        self._sent = max(self._sent, len(self._curves.rows))

    @property
    def where(self) -> str | None:
        """The run's page, or how to make one of what was kept offline; None where nothing is logged."""
        run = self._experiment
        if run is None or run.disabled:
            return None
        return f"wandb sync {shown(Path(run.dir).parent)}" if run.offline else run.url

    def conclude(self, folder: Path, card: ResultCard | None, show: Show | None) -> None:
        """Ends a run that has come to its end; its card is known on the first process."""
        if card is not None:
            # A sweep judges a run by its summary: let that be the selected checkpoint's, not the last one's.
            self.experiment.summary.update(dict(card.val))
            if show is not None and card.metrics:
                show(self.experiment, folder, card)
        self.close()

    def close(self, exit_code: int = 0, preempted: bool = False) -> None:
        """Ends the W&B run, if there is one; the next run of this process needs its own."""
        if self._experiment is not None:
            if preempted:
                self._experiment.mark_preempting()
            self._experiment.finish(exit_code)


@contextmanager
def ended_as_it_ends(loggers: Sequence[Logger]) -> Iterator[None]:
    """Tells W&B how a run has ended where it does not come to its end.

    Failed; killed, by Ctrl-C or by its sweep, whose word SIGTERM is; else preempted: W&B puts a preempted trial back
    into its sweep's queue, under the same id.
    """
    try:
        yield
    except BaseException as error:
        killed = isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)
        code, preempted = 1, False
        if isinstance(error, Stopped):
            killed = error.by_sweep or error.signum == signal.SIGINT
            code, preempted = error.exit_code, not killed
        for logger in loggers:
            if isinstance(logger, WandbRun):
                logger.close(_KILLED if killed else code, preempted)
        raise


def has_wandb_key() -> bool:
    """Whether this user is logged in to W&B: by environment or by ``wandb login``."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        known = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return False
    return known.authenticators("api.wandb.ai") is not None


@cache
def responds(server: str, seconds: float = _PATIENCE) -> bool:
    """Whether a server answers in time, whatever it says; a network that hangs hangs here, and not in the run."""
    answered = []

    def ask() -> None:
        try:
            urlopen(server, timeout=seconds).close()
        except HTTPError:
            pass  # an answer, too
        except (OSError, ValueError):
            return
        answered.append(True)

    # Looking a name up knows no time limit of its own.
    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    return bool(answered)


def _named(wandb: WandbMode) -> str | None:
    """The mode that is asked for by name, here or in ``WANDB_MODE``."""
    return os.environ.get("WANDB_MODE") or None if wandb == "auto" else wandb


def settled_mode(wandb: WandbMode, folder: Path) -> str:
    """How W&B is run: ``auto`` as ``WANDB_MODE`` says, else online where a key is configured and W&B answers.

    Raises:
        UserError: It was asked for by name, and is not installed; or online, without a key or an answer.
    """
    named = _named(wandb)
    if named == "disabled":
        return "disabled"
    if find_spec("wandb") is None:
        if named is None and not has_wandb_key():
            return "disabled"
        raise UserError("W&B is not installed", hint="pip install wandb, or --wandb disabled.")
    if named not in ("online", None):
        return named
    server = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    if not has_wandb_key():
        if named is None:
            return "offline"
        problem = "no key is configured for W&B (`wandb login`, or WANDB_API_KEY)"
    elif responds(server):
        return "online"
    else:
        problem = f"W&B at {server} does not answer"
    if named == "online":
        raise UserError(problem, hint=_KEEP_HERE)
    rank_zero_only(print)(_kept_offline(problem, folder))
    return "offline"


def _kept_offline(problem: str, folder: Path) -> str:
    return f"{problem}: kept offline; later: wandb sync {shown(folder)}/wandb/offline-run-*"


def wants_report(wandb: WandbMode) -> bool:
    """Whether W&B gets tables and figures beside the curves: it was asked for by name, or somebody is logged in."""
    named = _named(wandb)
    return has_wandb_key() if named is None else named in ("online", "offline")


def loggers(folder: Path, wandb: WandbMode, experiment: str, row: str, wandb_id: str) -> list[Logger]:
    """Loggers of a run: ``metrics.csv`` and ``wandb/`` in its folder."""
    curves, mode = Curves(folder), settled_mode(wandb, folder)
    if mode == "disabled":
        return [curves]
    from wandb import Settings

    # `offline=True` fails once wandb has been initialised in a process; `mode` does not.
    run = WandbRun(
        curves,
        strict=_named(wandb) == "online",
        project=os.environ.get("WANDB_PROJECT", "hierfit"),
        group=experiment,
        name=f"{row} {folder.name}",
        save_dir=str(folder),
        mode=mode,
        id=wandb_id,
        # The closing lines say where the run lies.
        settings=Settings(silent=True, disable_git=True, init_timeout=_PATIENCE),
    )
    return [curves, run]
