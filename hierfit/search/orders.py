"""What a grid says to its workers, and they to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hierfit.results.card import ResultCard
from hierfit.search.cell import Cell


@dataclass(frozen=True)
class Order:
    """What a worker is to do.

    Attributes:
        cell: To run.
        wait: Wait where another grid is at work on the cell; else say so and leave it.
        watched: A validation metric to report after each validation, and to be told by the answer whether to stop.
    """

    cell: Cell
    wait: bool
    watched: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What becomes of a cell.

    Attributes:
        kind: ``ready``: its data are there, and it goes on. ``busy``: another grid is at work on it. ``validated``: it
            waits for True, and then stops, or False.
        seconds: It took.
        card: Its result, when it is done.
        error: First line of what went wrong, when it failed.
        validation: How many validations there were, and the watched metric at the last, where it was ``validated``.
        retires: The worker ends now: an error nobody foresaw may have left it (or its accelerator) in any state.
    """

    kind: Literal["ready", "done", "failed", "busy", "validated"]
    seconds: float = 0.0
    card: ResultCard | None = None
    error: str = ""
    validation: tuple[int, float] | None = None
    retires: bool = False
