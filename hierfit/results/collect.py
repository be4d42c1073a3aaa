"""Finds result cards below run folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hierfit.errors import UserError
from hierfit.results.card import FILE, ResultCard
from hierfit.results.runs import run_folder


def find_cards(path: Path) -> list[Path]:
    """Card files below a folder, run by run: a run's controls and heads, then the run itself; then each target's.

    Raises:
        UserError: Nothing has finished below ``path``, or there is no such run; see `run_folder`.
    """
    path = run_folder(path, several=True)
    if path.is_file():
        return [path]
    found = sorted(path.rglob(FILE), key=_place)
    if not found:
        raise UserError(
            f"No finished run ({FILE}) below {path}.", hint="A run writes its card when its test has ended."
        )
    return found


def _place(file: Path) -> tuple[Path, str, bool, Path]:
    """Run, target (empty for the run's own card), whether it is the run's or one's within it, file."""
    owner, target = file.parent, ""
    if owner.parent.name == "targets":
        owner, target = owner.parent.parent, owner.name
    run = owner.parent.parent if owner.parent.name in ("controls", "heads") else owner
    return run, target, owner == run, file


def read_cards(paths: Sequence[Path]) -> list[ResultCard]:
    """All cards below the paths, each file once.

    Raises:
        UserError: Nothing has finished below a path, or a card cannot be read.
    """
    files = {file.resolve(): file for path in paths for file in find_cards(path)}
    return [ResultCard.read(file) for file in files.values()]
