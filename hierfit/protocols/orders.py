"""What a grid says to its workers, and they to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hierfit.protocols.cell import Cell
from hierfit.report.card import ResultCard


@dataclass(frozen=True)
class Order:
    """What a worker is to do.

    Attributes:
        cell: To run.
        wait: Wait where another grid is at work on the cell; else say so and leave it.
    """

    cell: Cell
    wait: bool


@dataclass(frozen=True)
class Outcome:
    """What becomes of a cell.

    Attributes:
        kind: ``ready``: its data are there, and it goes on. ``busy``: another grid is at work on it.
        seconds: It took.
        card: Its result, when it is done.
        error: First line of what went wrong, when it failed.
        retires: The worker ends now: an error nobody foresaw may have left it (or its accelerator) in any state.
    """

    kind: Literal["ready", "done", "failed", "busy"]
    seconds: float = 0.0
    card: ResultCard | None = None
    error: str = ""
    retires: bool = False
