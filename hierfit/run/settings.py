"""Writes the resolved configuration into the run's own folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from lightning import Callback, LightningModule, Trainer

from hierfit.atomic import whole_file

FILE = "config.yaml"


class SaveSettings(Callback):
    """Writes ``config.yaml`` once data and model are found to be in order, so that a refused run leaves nothing.

    Args:
        folder: The run's.
        settings: The resolved configuration.
        begin: Called before, on the first rank.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], begin: Callable[[], None] | None = None) -> None:
        self.folder, self.settings, self.begin = folder, settings, begin
        self._written = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file."""
        self._write(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file, unless training has."""
        self._write(trainer)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file."""
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        if not trainer.is_global_zero or self._written:
            return
        if self.begin is not None:
            self.begin()
        text = yaml.safe_dump(dict(self.settings), sort_keys=False, allow_unicode=True)
        with whole_file(self.folder / FILE) as draft:
            draft.write_text(text, encoding="utf-8")
        self._written = True
