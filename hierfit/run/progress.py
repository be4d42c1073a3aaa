"""How far a run has come, in its folder; and how the same command finds it again."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from hierfit.atomic import whole_file
from hierfit.errors import NO_LEAVE, UserError
from hierfit.run.configure import Config
from hierfit.run.folder import check_free, new_run_folder
from hierfit.run.processes import agreed, is_child

_Stage = Literal["begun", "tested", "done"]
"""``tested``: the run itself has its result; ``done``: its controls have theirs, too."""

STATE, LOCK = "run.json", ".lock"
_FORMAT = "hierfit.run/1"

_HINT = "Choose another place: --runs or --folder."
# Ranks that Lightning starts inherit the first rank's environment, and must write to the same folder.
_FOLDER = "HIERFIT_RUN_FOLDER"


@dataclass
class RunState:
    """A run's folder and how far it has come.

    Attributes:
        folder: Its folder.
        digest: What it computes; see `hierfit.run.folder`.
        stage: How far it had come when this process met it; None when it begins.
        wandb_id: Of the run at W&B, kept for when it is taken up. An agent of a sweep gives its own.
    """

    folder: Path
    digest: str
    stage: _Stage | None = None
    wandb_id: str = field(default_factory=lambda: os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4))
    _lock: int | None = field(default=None, repr=False)

    @property
    def last(self) -> Path:
        """The checkpoint an interrupted run goes on from."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def selected(self) -> Path:
        """The checkpoint that is tested."""
        return self.folder / "checkpoints" / "selected.ckpt"

    @property
    def has_result(self) -> bool:
        """Whether nothing is left to train or test."""
        return self.stage in ("tested", "done")

    @property
    def can_continue(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return self.stage == "begun" and self.last.is_file()

    def claim(self) -> bool:
        """Keeps other processes off the folder while this one lives; False if another is at work in it.

        A record lock: the kernel lets go of it when this process dies, and no worker it has forked keeps it.
        """
        if self._lock is None:
            descriptor = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                return False
            self._lock = descriptor
        return True

    def begin(self) -> None:
        """States that the run has begun.

        Raises:
            UserError: Another process is at work in the folder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.claim():
            raise UserError(
                f"Another process is at work in {self.folder}.", hint="Wait for it, or choose another --folder."
            )
        if self.stage is None:
            self.forget()
            self._write("begun")

    def keep_selected(self) -> None:
        """Sets the selected checkpoint aside, as it is at this moment: what is saved next belongs to it."""
        if self.selected.is_file():
            with whole_file(self._aside) as draft:
                try:
                    os.link(self.selected, draft)  # a file that is replaced in one go leaves its links as they are
                except OSError:
                    shutil.copyfile(self.selected, draft)

    def restore_selected(self) -> None:
        """Takes back what was selected when the run was saved; what came after may come out otherwise (on a GPU)."""
        if self._aside.is_file():
            with whole_file(self.selected) as draft:
                shutil.copyfile(self._aside, draft)

    def reached(self, stage: _Stage) -> None:
        """States that a stage is reached; what a resumption would have needed goes."""
        self._write(stage)
        self.forget()

    def forget(self) -> None:
        """Removes what the run would go on from."""
        for path in (self.last, self._aside):
            path.unlink(missing_ok=True)

    def release(self) -> None:
        """Lets others at the folder."""
        if self._lock is not None:
            (self.folder / LOCK).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    @property
    def _aside(self) -> Path:
        return self.last.with_name(".selected-at-last.ckpt")

    def _write(self, stage: _Stage) -> None:
        content = {"format": _FORMAT, "digest": self.digest, "stage": stage, "wandb_id": self.wandb_id}
        with whole_file(self.folder / STATE) as draft:
            draft.write_text(json.dumps(content) + "\n", encoding="utf-8")


def find_run(config: Config, resume: bool) -> RunState:
    """The run a command stands for: an unfinished one of the same digest, or a new one. The same on all ranks.

    Args:
        config: Of the run; its folder is where the user names one.
        resume: Whether to go on with what is unfinished; if not, what lies in a named folder is written over.

    Raises:
        UserError: A folder is named that holds a finished run.
    """
    folder, digest, runs = config.folder, config.digest, Path(config.keys.runs)
    if is_child() and _FOLDER in os.environ and folder is None:
        run = RunState(Path(os.environ[_FOLDER]), digest)
        return _met(run) if resume else run

    def choose() -> RunState | UserError | OSError:
        place = folder or runs / config.name
        try:  # before anything is read or trained
            exists = next(parent for parent in (place, *place.absolute().parents) if parent.exists())
            with tempfile.TemporaryDirectory(dir=exists, prefix=".hierfit-"):
                pass
        except OSError as error:
            return error if error.errno in NO_LEAVE else UserError(f"{place} cannot be made: {error}", hint=_HINT)
        if folder is not None:
            run = _met(RunState(folder, digest)) if resume else RunState(folder, digest)
            if resume and run.stage in (None, "done"):
                try:
                    check_free(folder, run.stage == "done", config.settings)
                except UserError as error:  # not raised here, where other processes wait for the answer
                    return error
            return run if run.stage != "done" else RunState(folder, digest)
        unfinished = _unfinished(runs / config.name, digest) if resume else None
        return unfinished or RunState(new_run_folder(runs, config.name, config.seed, digest), digest)

    found = agreed(choose)
    if isinstance(found, Exception):
        raise found
    if folder is None:
        os.environ[_FOLDER] = str(found.folder)
    return found


def _unfinished(folder: Path, digest: str) -> RunState | None:
    """The newest run of a digest that has not come to its end and that nobody is at work on."""
    for path in sorted(folder.glob(f"*/{STATE}"), reverse=True):
        run = _met(RunState(path.parent, digest))
        if run.stage in ("begun", "tested"):
            with suppress(OSError):  # another user's
                if run.claim():
                    run.release()
                    return run
    return None


def _met(run: RunState) -> RunState:
    """The run as its folder tells: how far it has come. As given when the folder holds another run, or none."""
    try:
        content = json.loads((run.folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return run
    if not isinstance(content, dict) or (content.get("format"), content.get("digest")) != (_FORMAT, run.digest):
        return run
    stage, wandb_id = content.get("stage"), content.get("wandb_id")
    if stage in get_args(_Stage):
        run.stage = stage
        if isinstance(wandb_id, str) and "WANDB_RUN_ID" not in os.environ:
            run.wandb_id = wandb_id
    return run
