"""A run at W&B: one row of the curves a step, none missing or twice, however often it is interrupted."""

from __future__ import annotations

import netrc
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from hierfit.errors import UserError
from hierfit.results.card import ResultCard
from hierfit.run.keys import WandbMode
from hierfit.run.saving import Curves, Stopped
from hierfit.streams import shown

_INIT_TIMEOUT = 5.0
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

    silent = False
    """Whether W&B has refused a run of this process, or not answered in time: later runs do not ask again."""

    def __init__(self, curves: Curves, wanted: WandbMode | str | None = None, **named: Any) -> None:
        super().__init__(**named)
        # Lightning passes on a setting that W&B has dropped and warns about on every run.
        self._wandb_init.pop("anonymous", None)
        self._curves, self._wanted = curves, wanted
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
            if self._wanted == "online":
                raise UserError(problem, hint=_KEEP_HERE) from error
            where = f"{shown(Path(self.save_dir or '.'))}/wandb/offline-run-*"
            print(f"{problem}: kept offline; later: wandb sync {where}")
            self._wandb_init["mode"], WandbRun.silent = "offline", True
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

    @property
    def page(self) -> str | None:
        """The same, where the run is to be looked at there."""
        return self.where if self._wanted else None

    def conclude(self, folder: Path, card: ResultCard | None, show: Show | None) -> None:
        """Ends a run that has come to its end; its card is known on the first process."""
        if card is not None:
            # A sweep judges a run by its summary: let that be the selected checkpoint's, not the last one's.
            self.experiment.summary.update(dict(card.val))
            if show is not None and self._wanted and card.metrics:
                show(self.experiment, folder, card)
        self._close()

    @contextmanager
    def ended_as_it_ends(self) -> Iterator[None]:
        """Tells W&B how the run has ended where it does not come to its end.

        Failed; killed, by Ctrl-C or by its sweep, whose word SIGTERM is; else preempted: W&B puts a preempted trial
        back into its sweep's queue, under the same id.
        """
        try:
            yield
        except BaseException as error:
            killed = isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)
            if isinstance(error, Stopped):
                killed = error.by_sweep or error.signum == signal.SIGINT
                self._close(_KILLED if killed else error.exit_code, preempted=not killed)
            else:
                self._close(_KILLED if killed else 1)
            raise

    def _close(self, exit_code: int = 0, preempted: bool = False) -> None:
        """Ends the W&B run, if there is one; the next run of this process needs its own."""
        if self._experiment is not None:
            if preempted:
                self._experiment.mark_preempting()
            self._experiment.finish(exit_code)


def has_wandb_key() -> bool:
    """Whether this user is logged in to W&B: by environment or by ``wandb login``."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        known = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return False
    return known.authenticators("api.wandb.ai") is not None


def wanted_mode(wandb: WandbMode) -> str | None:
    """The mode that is asked for by name, here or in ``WANDB_MODE``; else ``auto`` where somebody is logged in.

    With one that is not ``disabled`` W&B gets tables and figures beside the curves; with None at most curves.
    """
    named = os.environ.get("WANDB_MODE") or None if wandb == "auto" else wandb
    return named or ("auto" if has_wandb_key() else None)


def settled_mode(wanted: str | None) -> str:
    """How W&B is run: as asked for; else online where a key is configured and W&B has not refused a run yet.

    Raises:
        UserError: It was asked for and is not installed; or online, without a key.
    """
    if wanted == "disabled":
        return "disabled"
    if find_spec("wandb") is None:
        if wanted is None:
            return "disabled"
        raise UserError("W&B is not installed", hint="pip install wandb, or --wandb disabled.")
    if wanted == "online" and not has_wandb_key():
        raise UserError("no key is configured for W&B (`wandb login`, or WANDB_API_KEY)", hint=_KEEP_HERE)
    if wanted == "auto":
        return "offline" if WandbRun.silent else "online"
    return wanted or "offline"


def wandb_run(curves: Curves, wandb: WandbMode, trains: bool, name: str, group: str, wandb_id: str) -> WandbRun | None:
    """The W&B run of a run in the folder of its curves; None where W&B has no part in it.

    What is only tested has no curves, but W&B may want to compare it.
    """
    wanted = wanted_mode(wandb)
    if (mode := settled_mode(wanted)) == "disabled" or not (trains or wanted):
        return None
    from wandb import Settings

    # `offline=True` fails once wandb has been initialised in a process; `mode` does not.
    return WandbRun(
        curves,
        wanted,
        project=os.environ.get("WANDB_PROJECT", "hierfit"),
        group=group,
        name=f"{name} {curves.path.parent.name}",
        save_dir=curves.save_dir,
        mode=mode,
        id=wandb_id,
        # The closing lines say where the run lies.
        settings=Settings(silent=True, disable_git=True, init_timeout=_INIT_TIMEOUT),
    )
