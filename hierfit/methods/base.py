"""What every method shares: its keys, what it says of itself, and how it meets its task."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import currentframe
from pathlib import Path
from typing import ClassVar, Literal

import torch
from lightning import LightningModule
from lightning.fabric.utilities.seed import reset_seed
from torch import Tensor

from hierfit.config.schema import argument_faults
from hierfit.data.batch import Task
from hierfit.data.datamodule import datamodule_of
from hierfit.distributed import keep_alike_only_trained
from hierfit.errors import UserError
from hierfit.losses.levels import deepest_label
from hierfit.methods.head import Head
from hierfit.methods.module import MethodModule
from hierfit.methods.nodes import no_other_classes
from hierfit.methods.tasks import default_on, kin_of, objective_for
from hierfit.methods.whiten import Whitening
from hierfit.metrics import hierarchy_metrics


class Method(MethodModule):
    """A way of scoring every node of a taxonomy: images in, ``logits [B, N]`` out.

    A method is its keys, which are the arguments of its ``__init__`` with ranges in their types
    (`hierfit.methods.keys`), its `head` for a task, and its `make_optimizer`. One that is no `Head` overrides `build`
    and `forward` instead. It learns its task when the trainer calls `configure_model`; hyper-parameters are plain
    containers, so a checkpoint loads with ``weights_only=True``. Buffers are constants: processes do not exchange them.

    Args:
        problems: What is wrong with the keys beside their ranges.

    Raises:
        UserError: Names every value out of range.
    """

    needs: ClassVar[Literal["features", "pixels"]] = "features"
    """Image features (towers frozen, images encoded once), or pixels (towers train)."""
    tuned_on: Literal["defaults", "val"] = "defaults"
    """What chose its hyper-parameters within a run; never the test split."""
    choice_key: ClassVar[str] = ""
    """The key that asks for `choose`; none where there is nothing to choose."""
    adapted_objective: dict[str, float] | None = None
    """The default objective where the task's labels made it another, for the result card."""

    classifier: Head

    def __init__(self, problems: Sequence[str] = ()) -> None:
        super().__init__()
        self.strict_loading = False  # frozen weights are not in the checkpoint; `on_load_checkpoint` checks the rest
        frame = currentframe()
        self.save_hyperparameters(frame=frame and frame.f_back)
        if found := [*argument_faults(type(self), self.hparams), *problems]:
            raise UserError(f"{type(self).__name__} cannot be set up", found)

    # --- what a method says of itself ------------------------------------------------------------------------------

    def head(self, task: Task) -> Head:
        """The classifier of a task as training starts with it."""
        raise NotImplementedError

    @property
    def default_objective(self) -> dict[str, float]:
        """Where no ``objective`` is given: cross-entropy at every level, so that inner nodes are trained as well.

        Where training labels end above the leaves, `build` adds ``leaf_ce``.
        """
        return {"level_ce": 1.0}

    @property
    def chooses(self) -> bool:
        """Whether `choose` is asked for."""
        return bool(self.hparams.get(self.choice_key))

    def choose(self, features: Tensor, labels: Tensor) -> str | None:
        """Chooses, before the test, by validation images what is not trained; again where it has chosen before.

        Args:
            features: L2-normalised ``[m, d]``, on the CPU.
            labels: Finest known node of each ``[m]``.

        Returns:
            What was chosen, for people; None for nothing.
        """
        return None

    def describe(self) -> list[str]:
        """Lines that say, before training, what is about to be trained and by which objective."""
        objective = getattr(self, "objective", None)
        return [] if objective is None else objective.describe()

    def write_artifacts(self, folder: Path) -> None:
        """Writes what other programs can open (an adapter, say) into the run's folder, with the tested weights."""

    @property
    def shares_along_tree(self) -> bool:
        """Whether its settings share something along the tree, such as HiSCE's siblings, that ``data.tree: shuffled``
        shares among strangers instead; labels and scores of inner nodes are no such thing."""
        return "hisce" in (self.hparams.get("objective") or self.default_objective)

    # --- its task --------------------------------------------------------------------------------------------------

    def build(self, task: Task) -> None:
        """Creates head and objective. Called once, before training or testing."""
        # Lightning makes new tensors on the accelerator here, while the task's are still on the CPU.
        whiten = Whitening.of(task, type(self).__name__) if self.hparams.get("whiten") else None
        with task.text.device:
            self.classifier = self.head(task if whiten is None else whiten.task(task))
        if whiten is not None:
            self.classifier.whiten = whiten
        if self.trains:
            given, default = self.hparams.get("objective"), default_on(task, self.default_objective)
            self.objective = objective_for(task, given or default)
            self.adapted_objective = default if not given and default != self.default_objective else None

    def encode(self, inputs: Tensor) -> Tensor:
        """Inputs as the L2-normalised image features ``[B, d]`` that the head takes."""
        return inputs

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``[B, N]`` of features ``[B, d]`` or images ``[B, 3, S, S]``, as the method needs."""
        logits: Tensor = self.classifier(self.encode(inputs))
        return logits

    def over(self, task: Task) -> Head:
        """The head that scores a task's classes with what was learnt; the method stays as it is.

        Raises:
            UserError: There is nothing to score classes by that were not trained on.
        """
        own = getattr(self, "classifier", None)
        if own is None or not own.grows:
            raise no_other_classes(type(self).__name__)
        with torch.no_grad():
            if own.whiten is not None:
                task = own.whiten.task(task)
            return own.over(own.nodes.over(task, kin_of(task.taxonomy, self.taxonomy, own.nodes.inherits)))

    def configure_model(self) -> None:
        """Builds the method from the data module's task, once."""
        if hasattr(self, "taxonomy"):
            return
        task = datamodule_of(self.trainer).task
        # Encoding images draws random numbers, finding them in the cache does not; neither may decide the start.
        reset_seed()
        self.build(task)
        self.taxonomy = task.taxonomy
        self.val_metrics = hierarchy_metrics(task.taxonomy, prefix="val/")
        self.test_metrics = hierarchy_metrics(task.taxonomy, prefix="test/")
        keep_alike_only_trained(self)

    # --- Lightning's hooks -----------------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        if self.trainer.is_global_zero:
            for line in self.describe():
                print(line)

    def on_validation_start(self) -> None:
        self.taxonomy = self.taxonomy.to(self.device)

    def on_test_start(self) -> None:
        self.taxonomy = self.taxonomy.to(self.device)
        self._choose_on_val()

    def on_predict_start(self) -> None:
        self._choose_on_val()

    def _choose_on_val(self) -> None:
        """By all labelled images of the validation split; each process does, and so the same."""
        val = datamodule_of(self.trainer).val if self.chooses else None
        if val is None:
            return
        labels = deepest_label(val.paths).cpu()
        known = labels >= 0
        chosen = self.choose(val.features.cpu()[known], labels[known]) if known.any() else None
        if chosen is not None:
            self.tuned_on = "val"
            if self.trainer.is_global_zero:
                print(f"{chosen}: chosen on val")

    def parameter_counts(self) -> dict[str, int]:
        """Number of trainable parameters, and of all including the towers (a feature bundle's are unknown: 0)."""
        backbone = datamodule_of(self.trainer).task.backbone
        towers = {} if backbone is None else {id(p): p.numel() for p in backbone.parameters()}
        own = {id(p): p.numel() for p in self.parameters()}
        return {
            "trainable": sum(p.numel() for p in self.parameters() if p.requires_grad),
            "total": sum({**towers, **own}.values()) if towers else 0,
        }


def method_of(module: LightningModule) -> Method:
    assert isinstance(module, Method)
    return module
