"""What a run leaves when its test ends: its result card, its predictor, what other programs can open."""

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
from hierfit.decoding import DECODERS, Calibration, Decoder
from hierfit.methods.base import Method, method_of
from hierfit.methods.head import Head
from hierfit.methods.saved import FOLDER, SavedModel, Towers
from hierfit.metrics.base_to_novel import base_to_novel
from hierfit.metrics.collection import Own, own_metrics
from hierfit.metrics.served import batches_of, score
from hierfit.results.card import ResultCard
from hierfit.results.logits import LOGITS, LeafScores
from hierfit.run.configure import Config
from hierfit.run.scores import CalibrateOnVal

Figures = Mapping[str, Mapping[str, float | None]]

_LIBRARIES = ("torch", "lightning", "transformers", "peft", "torchmetrics", "geoopt")


class WriteResultCard(Callback):
    """Times training and test and, on the first rank, writes ``result.json``.

    Args:
        folder: Run folder.
        calibrating: Fits the belief before the card is written.
        config: Of the run.

    Raises:
        UserError: A metric or a decoder of the user's cannot be used.
    """

    def __init__(self, folder: Path, calibrating: CalibrateOnVal, config: Config) -> None:
        self.folder, self.calibrating, self.config = folder, calibrating, config
        self._own = own_metrics(config.keys.metrics or ())
        self._decoders = {path: DECODERS.find(path) for path in config.keys.decoders or ()}
        self.card: ResultCard | None = None
        self._started = 0.0
        self._seconds = {"train_seconds": 0.0, "test_seconds": 0.0}
        self._steps = 0
        self._val: dict[str, float] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.monotonic()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
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
        self._val = state_dict["val"]
        # The checkpoint that is tested is an earlier one than the end of training.
        self._seconds["train_seconds"] = max(self._seconds["train_seconds"], state_dict.get("train_seconds", 0.0))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.monotonic()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._seconds["test_seconds"] = time.monotonic() - self._started
        if not trainer.is_global_zero:
            return
        method, tree = method_of(pl_module), datamodule_of(trainer).tree
        decoders = {**method.decoders, **self._decoders}
        metrics, belief = kept_figures(self.folder, tree, self.calibrating.calibration, decoders, self._own)
        self._write(trainer, method, metrics, belief)

    def write_untested(self, trainer: Trainer, method: Method) -> None:
        """Writes the card of a run that is not tested, on the first rank."""
        if trainer.is_global_zero:
            self._write(trainer, method, {}, {})

    def _write(self, trainer: Trainer, method: Method, metrics: Figures, belief: Mapping[str, Any]) -> None:
        source = datamodule_of(trainer)
        data = dict(source.summary())
        backbone = {"source": data.pop("backbone"), "fingerprint": data.pop("backbone_fingerprint")}
        self.card = ResultCard(
            row=self.config.row,
            experiment=self.config.name,
            method=type(method).__name__,
            seed=self.config.seed,
            data=data,
            backbone=backbone,
            selected_on=source.selected_on if method.trains else "nothing",
            tuned_on=(self.config.keys.tuned_on if method.trains else None) or method.tuned_on,
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
            method_settings=_as_trained(self.config.settings["model"], method),
            belief=belief,
            own_metrics={metric.name: metric.description()._asdict() for metric in self._own},
        )
        self.card.write(self.folder)


class KeepPredictor(Callback):
    """Writes ``predictor/`` when the test ends, with the weights that were tested; nothing for a method without head.

    Args:
        folder: The run's.
        calibrating: Has fitted the belief.
        writer: Has measured it on test.
    """

    def __init__(self, folder: Path, calibrating: CalibrateOnVal, writer: WriteResultCard) -> None:
        self.folder = folder
        self.calibrating = calibrating
        self.writer = writer

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes on the first rank; all read the nodes, for weights may be spread over them."""
        method, data = method_of(pl_module), datamodule_of(trainer)
        head = getattr(method, "classifier", None)
        if not isinstance(head, Head):
            return
        with torch.inference_mode():
            head = Head.load(*head.saved())
        if not trainer.is_global_zero:
            return
        tree, facts = method.taxonomy.to("cpu"), data.summary()
        from_file = data.task.backbone is None
        fingerprint = None if from_file else str(facts["backbone_fingerprint"])
        adapter = self.folder / "adapter"
        towers = Towers(str(facts["backbone"]), fingerprint, adapter=adapter if adapter.is_dir() else None)
        card = data.card
        # Of classes that are added later nothing is known but the name; a level may have descriptions alone.
        templates = {level: group for level, group in card.templates.items() if level in tree.levels and group}
        belief = {} if self.writer.card is None else self.writer.card.belief
        about = {
            "method": type(method).__name__,
            "max_error": belief.get("max_error", {}),
            "data": {
                **{key: facts[key] for key in ("card", "card_version", "shots")},
                **{key: getattr(card, key) for key in ("title", "citation", "licence", "known_faults")},
            },
        }
        learner = getattr(method, "learner", None)
        saved = SavedModel(tree, head, self.calibrating.calibration, towers, templates, about, learner)
        saved.write(self.folder / FOLDER)


class WriteArtifacts(Callback):
    """Has the method write its artifacts, such as an adapter for peft, with the weights that were tested."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            method_of(pl_module).write_artifacts(self.folder)


def kept_figures(
    folder: Path, tree: StandIn, calibration: Calibration, decoders: Mapping[str, Decoder], own: Own = ()
) -> tuple[Figures, dict[str, Any]]:
    """What a card says of a run's test logits.

    Args:
        folder: The run's.
        tree: What it was tested on.
        calibration: Makes the logits a belief.
        decoders: Of its method, and the user's.
        own: Metrics of the user's.

    Returns:
        Figures by decoder and metric: of the method's decoders, of the belief, of the leaves on the data set's own
        tree, and of classes held back; and what is said of the belief.
    """
    kept = load_file(folder / LOGITS)
    found, facts = score(batches_of(kept["logits"], kept["paths"]), tree.taxonomy, calibration, decoders, own)
    figures: dict[str, Mapping[str, float | None]] = {
        **found,
        "true_tree": LeafScores.of(kept, tree.taxonomy, tree.true).figures(),
    }
    if not kept["seen"].all():
        figures["base_to_novel"] = {**base_to_novel(kept["logits"], kept["paths"], tree.taxonomy, kept["seen"])}
    return figures, facts


def _as_trained(settings: Mapping[str, Any], method: Method) -> Mapping[str, Any]:
    """A method's settings, with the default objective spelt out where the labels made it another."""
    if method.adapted_objective is None:
        return settings
    return {**settings, "init_args": {**settings["init_args"], "objective": method.adapted_objective}}


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
