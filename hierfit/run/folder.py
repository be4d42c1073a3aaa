"""Where a run lies, how far it has come, and how the same command finds it again.

``runs/<experiment>/<time>-s<seed>-<digest>/``, its controls in ``controls/<row>/`` inside. A folder that holds a
finished run is not written over unasked.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import yaml

from hierfit.atomic import Lock, whole_file
from hierfit.errors import NO_LEAVE, UserError
from hierfit.results.card import FILE as RESULT
from hierfit.run.configure import SETTINGS, WITHOUT_EFFECT, Config, without
from hierfit.streams import file_name

_Stage = Literal["begun", "tested", "done"]
"""``tested``: the run itself has its result; ``done``: its controls have theirs, too."""

STATE = "run.json"
_FORMAT = "hierfit.run/1"
# Ranks that Lightning starts inherit the first rank's environment, and must write to the same folder.
_FOLDER = "HIERFIT_RUN_FOLDER"


@dataclass
class RunState:
    """A run's folder and how far it has come.

    The stage is the one it had when this process met it; None when it begins. Its id at W&B is kept for when it is
    taken up; an agent of a sweep gives its own.
    """

    folder: Path
    digest: str
    stage: _Stage | None = None
    wandb_id: str = field(default_factory=lambda: os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4))

    def __post_init__(self) -> None:
        checkpoints = self.folder / "checkpoints"
        self.last = checkpoints / "last.ckpt"  # that an interrupted run goes on from
        self.selected = checkpoints / "selected.ckpt"  # that is tested
        self._aside = checkpoints / ".selected-at-last.ckpt"
        self._lock = Lock(self.folder / ".lock")

    @classmethod
    def found(cls, folder: Path, digest: str) -> RunState:
        """The run as its folder tells; without a stage where the folder holds another run, or none."""
        run = cls(folder, digest)
        try:
            content = json.loads((folder / STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return run
        if isinstance(content, dict) and (content.get("format"), content.get("digest")) == (_FORMAT, digest):
            stage, wandb_id = content.get("stage"), content.get("wandb_id")
            run.stage = stage if stage in get_args(_Stage) else None
            if run.stage and isinstance(wandb_id, str) and "WANDB_RUN_ID" not in os.environ:
                run.wandb_id = wandb_id
        return run

    @property
    def has_result(self) -> bool:
        """Whether nothing is left to train or test."""
        return self.stage in ("tested", "done")

    @property
    def can_continue(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return self.stage == "begun" and self.last.is_file()

    @property
    def is_free(self) -> bool:
        """Whether nobody is at work in the folder."""
        free = self._lock.take()
        self._lock.release()
        return free

    def begin(self) -> None:
        """States that the run has begun, and keeps other processes off its folder until `release`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._lock.take():
            raise UserError(
                f"Another process is at work in {self.folder}.", hint="Wait for it, or choose another --folder."
            )
        if self.stage is None:
            self._forget()
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
        self._forget()

    def release(self) -> None:
        """Lets others at the folder."""
        self._lock.release()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Work on the run; where it fails others may have the folder.

        One that was made for a run that was refused before its first step (it holds no ``config.yaml``) is removed.
        """
        existed = self.folder.exists()
        try:
            yield
        except BaseException:
            self.release()
            if not existed and not (self.folder / SETTINGS).exists():
                shutil.rmtree(self.folder, ignore_errors=True)
                with suppress(OSError):  # other runs may lie beside it
                    self.folder.parent.rmdir()
                    self.folder.parent.parent.rmdir()
            raise

    def _forget(self) -> None:
        for path in (self.last, self._aside):
            path.unlink(missing_ok=True)

    def _write(self, stage: _Stage) -> None:
        content = {"format": _FORMAT, "digest": self.digest, "stage": stage, "wandb_id": self.wandb_id}
        with whole_file(self.folder / STATE) as draft:
            draft.write_text(json.dumps(content) + "\n", encoding="utf-8")


def find_run(config: Config, resume: bool) -> RunState:
    """The run a command stands for: an unfinished one of the same digest, or a new one. The same on all ranks.

    Without ``resume``, what lies in a named folder is written over.
    """
    from hierfit.run.trainer import agreed, is_child

    folder, digest, runs = config.folder, config.digest, Path(config.keys.runs)
    if is_child() and _FOLDER in os.environ and folder is None:
        place = Path(os.environ[_FOLDER])
        return RunState.found(place, digest) if resume else RunState(place, digest)

    def choose() -> RunState | UserError | OSError:
        """Errors are not raised here, where other processes wait for the answer."""
        place = folder or runs / config.name
        try:  # before anything is read or trained
            exists = next(parent for parent in (place, *place.absolute().parents) if parent.exists())
            with tempfile.TemporaryDirectory(dir=exists, prefix=".hierfit-"):
                pass
        except OSError as error:
            hint = "Choose another place: --runs or --folder."
            return error if error.errno in NO_LEAVE else UserError(f"{place} cannot be made: {error}", hint=hint)
        if folder is None:
            found = _unfinished(runs / config.name, digest) if resume else None
            return found or RunState(new_run_folder(runs, config.name, config.seed, digest), digest)
        run = RunState.found(folder, digest) if resume else RunState(folder, digest)
        if resume and run.stage in (None, "done") and (folder / RESULT).is_file():
            return _taken(folder, run.stage == "done", config.settings)
        return run if run.stage != "done" else RunState(folder, digest)

    found = agreed(choose)
    if isinstance(found, Exception):
        raise found
    if folder is None:
        os.environ[_FOLDER] = str(found.folder)
    return found


def new_run_folder(runs: Path, experiment: str, seed: int, digest: str = "") -> Path:
    """A folder name no run has used yet; nothing is created.

    It holds the start of the digest, for runs of other settings that begin in the same second.
    """
    trial = os.environ.get("WANDB_RUN_ID")  # agents may draw the same settings in the same second, too
    stamp = name = "-".join(filter(None, (time.strftime("%Y%m%d-%H%M%S"), f"s{seed}", digest[:4], trial)))
    attempt = 1
    while (runs / experiment / name).exists():
        attempt += 1
        name = f"{stamp}-{attempt}"
    return runs / experiment / name


def control_folder(folder: Path, row: str) -> Path:
    """Folder of a control inside its run's folder."""
    return folder / "controls" / file_name(row)


def _unfinished(folder: Path, digest: str) -> RunState | None:
    """The newest run of a digest that has not come to its end and that nobody is at work on."""
    for path in sorted(folder.glob(f"*/{STATE}"), reverse=True):
        run = RunState.found(path.parent, digest)
        with suppress(OSError):  # another user's
            if run.stage in ("begun", "tested") and run.is_free:
                return run
    return None


def _taken(folder: Path, same: bool, settings: Mapping[str, object]) -> UserError:
    """Says that a folder holds a finished run: this very one, or what differs from it."""
    hint = "Give another --folder, or --resume=false to put the new run in its place."
    if same:
        return UserError(f"{folder} holds this very run, and it is finished.", hint=hint)
    try:
        there = yaml.safe_load((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        there = {}
    there = without(there, WITHOUT_EFFECT) if isinstance(there, dict) else {}
    problems = list(_differing(there, without(settings, WITHOUT_EFFECT)))
    problems = problems or ["all keys agree; the data card or hierfit's version does not"]
    return UserError(f"{folder} holds a finished run of other settings.", problems, hint)


def _differing(there: object, here: object, key: str = "") -> Iterator[str]:
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for name in dict.fromkeys([*there, *here]):
            yield from _differing(there.get(name), here.get(name), f"{key}.{name}".lstrip("."))
    elif there != here:
        old, new = (value if isinstance(value, str) else json.dumps(value, default=str) for value in (there, here))
        yield f"{key} is {old} there and {new} here"
