"""The curves of a run: ``metrics.csv``, always whole, and able to go back to where a run was saved."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from hierfit.atomic import whole_file

CURVES = "metrics.csv"
_FLUSH = 10.0
"""Seconds between writes, for those who watch."""


class Curves(Logger):
    """``metrics.csv``: a row for each call, with the step; columns in alphabetical order. Always whole on disk.

    Args:
        folder: The run's.
    """

    name = version = ""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / CURVES
        self.rows: list[dict[str, Any]] = []
        self._written, self._last_write = 0, time.monotonic()

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: ``config.yaml`` holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float | Tensor], step: int | None = None) -> None:
        values = {name: value.item() if isinstance(value, Tensor) else value for name, value in metrics.items()}
        self.rows.append({**values, "step": len(self.rows) if step is None else step})

    @rank_zero_only
    def save(self) -> None:
        """Lightning asks for it after every row: writes every ten seconds, or a long run would write O(rows²)."""
        if time.monotonic() - self._last_write >= _FLUSH:
            self.write()

    @rank_zero_only
    def write(self) -> None:
        """Writes the file where there is something new. O(rows)."""
        if self._written == len(self.rows):
            return
        columns = sorted({name for row in self.rows for name in row})
        with whole_file(self.path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=columns)
            writer.writeheader()
            writer.writerows(self.rows)
        self._written, self._last_write = len(self.rows), time.monotonic()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes what is not written yet; where the run has failed already, that is what is told of it."""
        try:
            self.write()
        except OSError:
            if status == "success":
                raise

    @rank_zero_only
    def go_back(self, count: int) -> None:
        """Takes up the first ``count`` rows of the file; later ones will be logged again."""
        if self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
            self.rows = list(rows[:count])
