"""Finds result cards below run folders."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from hierfit.errors import UserError
from hierfit.results.card import FILE, ResultCard
from hierfit.results.table import print_results
from hierfit.results.variants import told_apart

_CONTROLS, _TARGETS = "controls", "targets"


def find_cards(path: Path) -> list[Path]:
    """Card files below a folder, run by run: a run's controls in name order, then the run itself; then each target's.

    Raises:
        UserError: Nothing has finished below ``path``.
    """
    if path.is_file():
        return [path]
    found = sorted(path.rglob(FILE), key=lambda file: (_run(file), _target(file), _owner(file) == _run(file), file))
    if not found:
        raise UserError(
            f"No finished run ({FILE}) below {path}.", hint="A run writes its card when its test has ended."
        )
    return found


def _run(file: Path) -> Path:
    """Folder of the run that a card, or the control it belongs to, is part of."""
    folder = _owner(file)
    return folder.parent.parent if folder.parent.name == _CONTROLS else folder


def _owner(file: Path) -> Path:
    """Folder of the run or control that left a card."""
    return file.parent.parent.parent if _target(file) else file.parent


def _target(file: Path) -> str:
    """Name of the target that a card is of, empty for a run's own."""
    return file.parent.name if file.parent.parent.name == _TARGETS else ""


def read_cards(paths: Sequence[Path]) -> list[ResultCard]:
    """All cards below the paths, each file once.

    Raises:
        UserError: Nothing has finished below a path, or a card cannot be read.
    """
    files = {file.resolve(): file for path in paths for file in find_cards(path)}
    return [ResultCard.read(file) for file in files.values()]


def print_runs(cards: Sequence[ResultCard]) -> None:
    """Prints a table for each experiment, seed and data set, in the order of the cards; rows of one name told apart."""
    for _, group in groupby(cards, key=lambda c: (c.experiment, c.seed, c.data["card"], c.data.get("draw"), c.levels)):
        rows, notes = told_apart(list(group))
        print_results(rows)
        for note in notes:
            print(f"Note: {note}")
