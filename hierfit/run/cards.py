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

from hierfit.data.datamodule import HierarchicalDataModule, datamodule_of
from hierfit.data.trees import StandIn
from hierfit.decoding import DECODERS, Calibration, Decoder
from hierfit.methods.base import Method, method_of
from hierfit.methods.head import Head
from hierfit.methods.saved import FOLDER, SavedModel, SavedTowers
from hierfit.metrics.collection import Own, own_metrics
from hierfit.metrics.served import batches_of, score
from hierfit.results.card import ResultCard
from hierfit.results.logits import LOGITS, LeafLogits
from hierfit.run.configure import Config
from hierfit.run.scores import calibrated

_ByDecoder = Mapping[str, Mapping[str, float | None]]


class WriteResultCard(Callback):
    """Times training and test and, on the first rank, writes ``result.json``."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder, self.config = folder, config
        self.calibration = Calibration()
        self._own = own_metrics(config.keys.metrics or ())
        self._decoders = {path: DECODERS.find(path) for path in config.keys.decoders or ()}
        self.card: ResultCard | None = None
        self._started = self._train_seconds = self._test_seconds = 0.0
        self._steps = 0
        self._val: dict[str, float] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.monotonic()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._train_seconds += time.monotonic() - self._started
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
        return {"val": self._val, "train_seconds": self._train_seconds + time.monotonic() - self._started}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._val = state_dict["val"]
        # The checkpoint that is tested is an earlier one than the end of training.
        self._train_seconds = max(self._train_seconds, state_dict["train_seconds"])

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.monotonic()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """With the weights that were tested: fits the belief, and writes what other programs can open, the card, and
        the predictor of a method with a head. Comes after what keeps the test logits."""
        method, data = method_of(pl_module), datamodule_of(trainer)
        if trainer.is_global_zero:
            method.write_artifacts(self.folder)
        self.calibration = calibrated(trainer, method, self.folder)
        head = getattr(method, "classifier", None)
        if isinstance(head, Head):
            with torch.inference_mode():  # all ranks read the nodes: weights may be spread over them
                head = Head.load(*head.saved())
        self._test_seconds = time.monotonic() - self._started
        if not trainer.is_global_zero:
            return
        decoders = {**method.decoders, **self._decoders}
        metrics, belief = kept_figures(self.folder, data.tree, self.calibration, decoders, self._own)
        self._write(trainer, method, metrics, belief)
        if isinstance(head, Head):
            self._write_predictor(method, data, head, belief)

    def write_untested(self, trainer: Trainer, method: Method) -> None:
        """Writes the card of a run that is not tested, on the first rank."""
        if trainer.is_global_zero:
            self._write(trainer, method, {}, {})

    def _write(self, trainer: Trainer, method: Method, metrics: _ByDecoder, belief: Mapping[str, Any]) -> None:
        source = datamodule_of(trainer)
        data = dict(source.summary())
        backbone = {"source": data.pop("backbone"), "fingerprint": data.pop("backbone_fingerprint")}
        settings = self.config.settings["model"]
        if method.adapted_objective is not None:  # the default one, where the labels made it another
            settings = {**settings, "init_args": {**settings["init_args"], "objective": method.adapted_objective}}
        root = trainer.strategy.root_device
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
                "train_seconds": round(self._train_seconds, 2),
                "test_seconds": round(self._test_seconds, 2),
                "steps": self._steps,
                "peak_memory_mib": round(_peak_memory() / 2**20),
                "device": torch.cuda.get_device_name(root) if root.type == "cuda" else platform.machine(),
                "devices": trainer.world_size,
            },
            versions=_versions(),
            method_settings=settings,
            belief=belief,
            own_metrics={metric.name: metric.description()._asdict() for metric in self._own},
        )
        self.card.write(self.folder)

    def _write_predictor(
        self, method: Method, data: HierarchicalDataModule, head: Head, belief: Mapping[str, Any]
    ) -> None:
        tree, facts, card = method.taxonomy.to("cpu"), data.summary(), data.card
        fingerprint = None if data.task.backbone is None else str(facts["backbone_fingerprint"])
        adapter = self.folder / "adapter"
        towers = SavedTowers(str(facts["backbone"]), fingerprint, adapter=adapter if adapter.is_dir() else None)
        # Of classes that are added later nothing is known but the name; a level may have descriptions alone.
        templates = {level: group for level, group in card.templates.items() if level in tree.levels and group}
        about = {
            "method": type(method).__name__,
            "max_error": belief.get("max_error", {}),
            "data": {
                **{key: facts[key] for key in ("card", "card_version", "shots")},
                **{key: getattr(card, key) for key in ("title", "citation", "licence", "known_faults")},
            },
        }
        learner = getattr(method, "learner", None)
        SavedModel(tree, head, self.calibration, towers, templates, about, learner).write(self.folder / FOLDER)


def kept_figures(
    folder: Path, tree: StandIn, calibration: Calibration, decoders: Mapping[str, Decoder], own: Own = ()
) -> tuple[_ByDecoder, dict[str, Any]]:
    """What a card says of a run's test logits.

    Returns:
        Figures by decoder and metric: of the method's decoders, of the belief, of the leaves on the data set's own
        tree, and of classes held back; and what is said of the belief.
    """
    kept = load_file(folder / LOGITS)
    found, facts = score(batches_of(kept["logits"], kept["paths"]), tree.taxonomy, calibration, decoders, own)
    figures: dict[str, Mapping[str, float | None]] = {
        **found,
        "true_tree": LeafLogits.of(kept, tree.taxonomy, tree.true).figures(),
    }
    if not kept["seen"].all():
        from hierfit.metrics.base_to_novel import base_to_novel

        figures["base_to_novel"] = {**base_to_novel(kept["logits"], kept["paths"], tree.taxonomy, kept["seen"])}
    return figures, facts


def _peak_memory() -> int:
    """Bytes: of the accelerator where there is one, else of the process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024  # kilobytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@cache
def _versions() -> dict[str, str]:
    libraries = ("hierfit", "torch", "lightning", "transformers", "peft", "torchmetrics", "geoopt")
    versions = {name: version(name) for name in libraries} | {"python": platform.python_version()}
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    git = subprocess.run(asked, capture_output=True, text=True, check=False)
    return versions | ({"commit": git.stdout.strip()} if git.returncode == 0 else {})
