"""Writes the result card of a run when its test ends."""

from __future__ import annotations

import math
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors.torch import load_file

from hierfit.data.datamodule import datamodule_of
from hierfit.data.trees import StandIn
from hierfit.decoding import Calibration, Decoder
from hierfit.methods.base import Method, method_of
from hierfit.metrics.base_to_novel import base_to_novel
from hierfit.metrics.collection import Own
from hierfit.metrics.served import batches_of, score
from hierfit.results.card import ResultCard
from hierfit.results.logits import LOGITS, LeafScores
from hierfit.run.calibrating import CalibrateOnVal

Figures = Mapping[str, Mapping[str, float | None]]

_LIBRARIES = ("torch", "lightning", "transformers", "peft", "torchmetrics", "geoopt")


class WriteResultCard(Callback):
    """Times training and test and, on the first rank, writes ``result.json``.

    Args:
        folder: Run folder.
        calibrating: Fits the belief before the card is written.
        row: Name of the run in tables.
        experiment: Name of the experiment.
        seed: The run's seed.
        settings: The method's configuration, as plain containers.
        tuned_on: Split on which a search has chosen them; None for none.
        own: Metrics of the user's.
        decoders: Of the user's, by import path.
    """

    def __init__(
        self,
        folder: Path,
        calibrating: CalibrateOnVal,
        row: str,
        experiment: str,
        seed: int,
        settings: Mapping[str, Any],
        tuned_on: str | None = None,
        own: Own = (),
        decoders: Mapping[str, Decoder] | None = None,
    ) -> None:
        self.folder = folder
        self.calibrating = calibrating
        self.row = row
        self.experiment = experiment
        self.seed = seed
        self.settings = settings
        self.tuned_on = tuned_on
        self._own, self._decoders = own, decoders or {}
        self.card: ResultCard | None = None
        self._started = 0.0
        self._seconds = {"train_seconds": 0.0, "test_seconds": 0.0}
        self._steps = 0
        self._val: dict[str, float] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._started = time.monotonic()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock."""
        self._seconds["train_seconds"] += time.monotonic() - self._started
        self._steps = trainer.global_step

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the figures of the best validation, the first of equally good ones, as `SelectOnVal` does."""
        checkpoint = trainer.checkpoint_callback
        monitor = checkpoint.monitor if isinstance(checkpoint, ModelCheckpoint) else None
        if trainer.sanity_checking or monitor not in trainer.callback_metrics:
            return
        figures = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("val/")}
        if not self._val or figures[monitor] > self._val[monitor]:
            self._val = {name: value for name, value in figures.items() if math.isfinite(value)}

    def state_dict(self) -> dict[str, Any]:
        """The figures of the best validation so far, and seconds of training, for a run that is interrupted."""
        seconds = self._seconds["train_seconds"] + time.monotonic() - self._started
        return {"val": self._val, "train_seconds": seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes them up again."""
        self._val = state_dict["val"]
        # The checkpoint that is tested is an earlier one than the end of training.
        self._seconds["train_seconds"] = max(self._seconds["train_seconds"], state_dict.get("train_seconds", 0.0))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._started = time.monotonic()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the card."""
        self._seconds["test_seconds"] = time.monotonic() - self._started
        if not trainer.is_global_zero:
            return
        method, tree = method_of(pl_module), datamodule_of(trainer).tree
        metrics, belief = self.figures(method, self.folder, tree, self.calibrating.calibration)
        self._write(trainer, method, metrics, belief)

    def figures(
        self, method: Method, folder: Path, tree: StandIn, calibration: Calibration
    ) -> tuple[Figures, dict[str, Any]]:
        """What a card says of test logits.

        Args:
            method: That scored.
            folder: Where they lie: the run's, or a target's.
            tree: What was tested on.
            calibration: Makes the logits a belief.

        Returns:
            Figures by decoder and metric: of the method's decoders and the user's, of the belief, of the leaves on the
            data set's own tree, and of classes held back; and what is said of the belief.
        """
        kept = load_file(folder / LOGITS)
        decoders = {**method.decoders, **self._decoders}
        batches = batches_of(kept["logits"], kept["paths"])
        found, facts = score(batches, tree.taxonomy, calibration, decoders, self._own)
        figures: dict[str, Mapping[str, float | None]] = {
            **found,
            "true_tree": LeafScores.of(kept, tree.taxonomy, tree.true).figures(),
        }
        if not kept["seen"].all():
            figures["base_to_novel"] = {**base_to_novel(kept["logits"], kept["paths"], tree.taxonomy, kept["seen"])}
        return figures, facts

    def write_untested(self, trainer: Trainer, method: Method) -> None:
        """Writes the card of a run that is not tested, on the first rank."""
        if trainer.is_global_zero:
            self._write(trainer, method, {}, {})

    def _write(self, trainer: Trainer, method: Method, metrics: Figures, belief: Mapping[str, Any]) -> None:
        source = datamodule_of(trainer)
        data = dict(source.summary())
        backbone = {"source": data.pop("backbone"), "fingerprint": data.pop("backbone_fingerprint")}
        self.card = ResultCard(
            row=self.row,
            experiment=self.experiment,
            method=type(method).__name__,
            seed=self.seed,
            data=data,
            backbone=backbone,
            selected_on=source.selected_on if method.trains else "nothing",
            tuned_on=(self.tuned_on if method.trains else None) or method.tuned_on,
            levels=method.taxonomy.levels,
            metrics=metrics,
            val=self._val,
            parameters=method.parameter_counts(),
            cost={
                **{name: round(seconds, 2) for name, seconds in self._seconds.items()},
                "steps": self._steps,
                "peak_memory_mib": round(_peak_memory() / 2**20),
                "device": _device(trainer),
                "devices": trainer.world_size,
            },
            versions=_versions(),
            method_settings=self.settings,
            belief=belief,
            own_metrics={metric.name: metric.description()._asdict() for metric in self._own},
        )
        self.card.write(self.folder)


def _peak_memory() -> int:
    """Bytes: of the accelerator where there is one, else of the process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024  # kilobytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _device(trainer: Trainer) -> str:
    root = trainer.strategy.root_device
    return torch.cuda.get_device_name(root) if root.type == "cuda" else platform.machine()


@cache
def _versions() -> dict[str, str]:
    versions = {name: version(name) for name in ("hierfit", *_LIBRARIES)} | {"python": platform.python_version()}
    here = Path(__file__).parent
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, check=False
    )
    return versions | ({"commit": git.stdout.strip()} if git.returncode == 0 else {})
