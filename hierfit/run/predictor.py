"""Keeps what a run learnt: its predictor, apart from Lightning and the data, and what other programs can open."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer

from hierfit.data.datamodule import datamodule_of
from hierfit.methods.base import method_of
from hierfit.methods.head import Head
from hierfit.methods.saved import FOLDER, SavedModel, Towers
from hierfit.run.cards import WriteResultCard
from hierfit.run.scores import CalibrateOnVal


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
        """Writes on the first rank."""
        if trainer.is_global_zero:
            method_of(pl_module).write_artifacts(self.folder)
