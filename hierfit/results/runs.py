"""Runs by name: what lies below a folder, and which run is meant. Nothing heavy is imported."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml

from hierfit.config.command import Say
from hierfit.errors import UserError
from hierfit.results.card import FILE, ResultCard

LATEST = "latest"
RUNS = Path("runs")

_SETTINGS = "config.yaml"
_HEADER = ("name", "row", "card", "shots", "seed", "leaf acc", "FPA", "state", "folder")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a tenth of the time, where PyYAML was built with it


@dataclass(frozen=True)
class RunFolder:
    """A run's folder, finished (it has left its result card) or not; its controls and targets are within it.

    ``began`` is in seconds since the epoch.
    """

    folder: Path
    began: float
    finished: bool

    def cells(self) -> list[str]:
        """What there is to say of it, as in `_HEADER`."""
        try:
            facts = self._of_card() if self.finished else self._of_settings()
        except (UserError, OSError, ValueError, RecursionError, yaml.YAMLError):
            facts = [None] * 7 + ["damaged"]
        return ["–" if fact is None else str(fact) for fact in (*facts, self.folder)]

    def _of_card(self) -> list[Any]:
        card = ResultCard.read(self.folder)
        figures = [card.metrics.get(d, {}).get(m) for d, m in (("rollup", "leaf_accuracy"), ("per_level", "fpa"))]
        shown = [None if value is None else f"{100 * value:.2f}" for value in figures]
        shots = card.data.get("drawn") or card.data.get("shots")
        facts = [card.experiment, card.row, card.data["card"], "all" if shots is None else shots, card.seed]
        return [*facts, *shown, "finished"]

    def _of_settings(self) -> list[Any]:
        found = yaml.load((self.folder / _SETTINGS).read_text(encoding="utf-8"), _LOADER)
        settings: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
        data, model = settings.get("data") or {}, settings.get("model") or {}
        row = settings.get("row") or str(model.get("class_path", "–")).rpartition(".")[2]
        shots = "all" if data.get("shots") is None else data["shots"]
        facts = [settings.get("name"), row, data.get("card"), shots, settings.get("seed_everything")]
        return [*facts, None, None, "unfinished"]


def find_runs(folder: Path) -> list[RunFolder]:
    """Every run at or below a folder, newest first: by when it began."""
    found = []
    for place, folders, files in os.walk(folder):
        if marks := [name for name in (_SETTINGS, FILE) if name in files]:
            folders.clear()  # controls and targets are parts of it
            began = (Path(place) / marks[0]).stat().st_mtime
            found.append(RunFolder(Path(place), began, FILE in files))
    return sorted(found, key=lambda run: (run.began, str(run.folder)), reverse=True)


def run_folder(path: Path, several: bool = False) -> Path:
    """The folder of the run that is meant.

    ``latest`` stands for the newest finished run below ``runs``, ``FOLDER/latest`` for the one below that folder, and
    ``latest/controls/ROW`` for what is inside it; a folder that holds one finished run stands for that run.

    Args:
        path: As named; anything else that is there, such as an exported model, is meant as it is.
        several: Whether a folder of many runs may be meant.

    Raises:
        UserError: There is no such run, or a folder holds several; says which there are.
    """
    if path.exists():
        if several or path.is_file() or any((path / name).exists() for name in (_SETTINGS, FILE)):
            return path
        within = _finished(path)
        if len(within) > 1:
            hint = f"Name one of them, or {path / LATEST}."
            raise UserError(f"{path} holds {len(within)} finished runs.", list(map(str, within)), hint)
        return within[0] if within else path
    if LATEST in path.parts:
        place = path.parts.index(LATEST)
        above = Path(*path.parts[:place]) if place else RUNS
        newest = next(iter(_finished(above)), None)
        if newest is None:
            raise UserError(f"There is no finished run below {above}.", hint="`hierfit fit EXPERIMENT` makes one.")
        found = newest.joinpath(*path.parts[place + 1 :])
        if not found.exists():
            inside = [each for part in ("controls", "heads") for each in sorted((newest / part).glob("*"))]
            raise UserError(f"There is no {found}.", list(map(str, inside)))
        return found
    there = _finished(path.parent if path.is_relative_to(RUNS) else RUNS)
    hint = "`hierfit runs` lists the runs below runs, `latest` is the newest." if RUNS.is_dir() else ""
    raise UserError(f"{path} does not exist.", list(map(str, there)), hint)


def _finished(folder: Path) -> list[Path]:
    return [run.folder for run in find_runs(folder) if run.finished]


def find_cards(path: Path) -> list[Path]:
    """Card files below a folder, run by run: a run's controls and heads, then the run itself; then each target's.

    Raises:
        UserError: Nothing has finished below ``path``, or there is no such run; see `run_folder`.
    """

    def place(file: Path) -> tuple[Path, str, bool, Path]:
        """Run, target (empty for the run's own card), whether it is the run's or one's within it, file."""
        owner, target = file.parent, ""
        if owner.parent.name == "targets":
            owner, target = owner.parent.parent, owner.name
        run = owner.parent.parent if owner.parent.name in ("controls", "heads") else owner
        return run, target, owner == run, file

    path = run_folder(path, several=True)
    found = [path] if path.is_file() else sorted(path.rglob(FILE), key=place)
    if not found:
        hint = "A run writes its card when its test has ended."
        raise UserError(f"No finished run ({FILE}) below {path}.", hint=hint)
    return found


def read_cards(paths: Sequence[Path]) -> list[ResultCard]:
    """All cards below the paths, each file once.

    Raises:
        UserError: Nothing has finished below a path, or a card cannot be read.
    """
    files = {file.resolve(): file for path in paths for file in find_cards(path)}
    return [ResultCard.read(file) for file in files.values()]


def runs(
    folder: Annotated[Path, Say("where runs lie (runs)", "FOLDER")] = RUNS,
    *,
    most: Annotated[int, Say("at most so many (20); 0: all", "N")] = 20,
) -> None:
    """List runs, newest first: what they are, and leaf accuracy and FPA in % where they have finished.

    `latest` stands for the newest finished one wherever a run is named, FOLDER/latest for the newest below a folder,
    and a folder that holds one finished run for that run.

    Raises:
        UserError: There is none.
    """
    found = find_runs(folder)
    if not found:
        raise UserError(f"There is no run below {folder}.", hint="`hierfit fit EXPERIMENT` makes one.")
    shown = found[:most] if most > 0 else found
    rows = [_HEADER, *(run.cells() for run in shown)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # Where a terminal is too narrow the folder has a line of its own.
    is_narrow = sys.stdout.isatty() and sum(widths) + 2 * len(widths) > shutil.get_terminal_size().columns
    for row in rows:
        cells = [
            f"{text:{'>' if 3 <= i <= 6 else '<'}{n}}" for i, (text, n) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells[:-1]).rstrip(), row[-1], sep="\n    " if is_narrow else "  ")
    if len(found) > len(shown):
        print(f"… and {len(found) - len(shown)} older; --most 0 lists all.")
