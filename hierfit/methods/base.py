"""What every method shares: how it meets its task, how it is judged, and what a checkpoint holds of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from lightning import LightningModule
from lightning.fabric.utilities.seed import reset_seed
from torch import Tensor, nn
from torchmetrics import MetricCollection

from hierfit.data.batch import Batch, Task
from hierfit.data.datamodule import datamodule_of
from hierfit.decoding import DECODERS, Decoder
from hierfit.distributed import keep_alike_only_trained, mean_over_processes, processes
from hierfit.errors import UserError
from hierfit.losses.objective import Objective
from hierfit.methods.head import Head
from hierfit.metrics import hierarchy_metrics
from hierfit.taxonomy import Taxonomy


class Method(LightningModule):
    """A way of scoring every node of a taxonomy: images in, ``logits [B, N]`` out.

    A method says what it ``needs``: ``features`` (towers frozen, images encoded once) or ``pixels`` (towers train).
    It learns its task when the trainer calls :meth:`configure_model`; hyper-parameters are plain containers, so a
    checkpoint loads with ``weights_only=True``. Buffers are constants: processes do not exchange them.
    """

    needs: ClassVar[Literal["features", "pixels"]] = "features"
    trains: ClassVar[bool] = True
    # What chose its hyper-parameters within a run; never the test split.
    tuned_on: Literal["defaults", "val"] = "defaults"

    taxonomy: Taxonomy

    def __setattr__(self, name: str, value: Any) -> None:
        """As any module, but for the name of the hook at hand: Lightning sets it some fifty times a step."""
        if name == "_current_fx_name":  # neither module nor parameter nor buffer, of which torch would make sure
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @abstractmethod
    def build(self, task: Task) -> None:
        """Creates the modules for a task. Called once, before training or testing."""

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """Scores every node.

        Args:
            inputs: Features ``[B, d]`` or images ``[B, 3, S, S]``, as the method needs.

        Returns:
            Logits ``[B, N]``.
        """

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Named loss terms; ``loss`` is minimised, the others are logged.

        With several processes the batch is this one's share, and a term's mean over processes must be that of the
        whole batch: `Objective` sees to that, `gather_batch` helps with what needs all samples at once.
        """

    def describe(self) -> list[str]:
        """Lines that say, before training, what is about to be trained and by which objective."""
        objective = getattr(self, "objective", None)
        return objective.describe() if isinstance(objective, Objective) else []

    def write_artifacts(self, folder: Path) -> None:
        """Writes what other programs can open (an adapter, say) into the run's folder, with the tested weights."""

    @property
    def reads_leaves_only(self) -> bool:
        """Whether its objective trains leaves alone: then scores of inner nodes mean nothing and are not reported."""
        objective = getattr(self, "objective", None)
        return isinstance(objective, Objective) and bool(objective.reads_leaves_only)

    @property
    def decoders(self) -> Mapping[str, Decoder]:
        """Decoders of its logits whose figures mean something: all, or the one that reads leaves alone."""
        return {"rollup": DECODERS["rollup"]} if self.reads_leaves_only else DECODERS

    def head(self) -> Head | None:
        """What predicts with what was learnt, without Lightning and without the data: `hierfit predict` and `export`
        work with it. None where the method cannot be written as one; it then predicts through Lightning alone."""
        return None

    def transfer(self, task: Task) -> nn.Module:
        """What scores other classes with what was learnt; the method itself stays as it is.

        Args:
            task: Of the other classes, on the backbone of this one; nothing in it is to be trained on.

        Returns:
            A module from inputs to logits ``[B, N']`` over the task's nodes.

        Raises:
            UserError: The method has nothing to score them by.
        """
        from hierfit import methods

        able = [name for name in methods.__all__ if getattr(methods, name).transfer is not Method.transfer]
        raise UserError(
            f"{type(self).__name__} cannot score classes it was not trained on",
            hint=f"{', '.join(able)} can. Other methods take data.targets with the source's classes only.",
        )

    @property
    def shares_along_tree(self) -> bool:
        """Whether its settings share something along the tree, such as HiSCE's siblings, that ``data.tree: shuffled``
        shares among strangers instead; labels and scores of inner nodes are no such thing."""
        return "hisce" in (self.hparams.get("objective") or {})

    def audit(self, optimizers: Any) -> None:
        """Checks the optimiser(s) before training; raises if a parameter would be updated wrongly."""

    @property
    def strict_loading(self) -> bool:
        """Frozen weights are not in the checkpoint; :meth:`on_load_checkpoint` checks the rest."""
        return False

    @strict_loading.setter
    def strict_loading(self, value: bool) -> None:
        raise AttributeError("strict_loading is fixed: checkpoints hold trained weights only")

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

    def on_fit_start(self) -> None:
        """Audits the optimiser and says what is trained."""
        self.audit(self.optimizers(use_pl_optimizer=False))
        if self.trainer.is_global_zero:
            for line in self.describe():
                print(line)

    def on_validation_start(self) -> None:
        """Moves the tree's index beside the logits."""
        self.taxonomy = self.taxonomy.to(self.device)

    def on_test_start(self) -> None:
        """Moves the tree's index beside the logits."""
        self.taxonomy = self.taxonomy.to(self.device)

    def logs_step(self, steps_before: int) -> bool:
        """Whether the logger writes down a step; what is logged at others costs time and is forgotten."""
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return every > 0 and (steps_before + 1) % every == 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step of automatic optimisation."""
        terms = self.loss(batch)
        if not self.logs_step(self.trainer.global_step):
            return terms["loss"]
        shown = {name: value.detach() for name, value in terms.items()}
        if processes() > 1:
            means = mean_over_processes(torch.stack([value.float() for value in shown.values()]))
            shown = dict(zip(shown, means, strict=True))
        for name, value in shown.items():
            self.log(f"train/{name}", value, prog_bar=name == "loss", batch_size=max(len(batch.paths), 1))
        return terms["loss"]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Metrics on the validation split, which alone may select: of per-level argmax, or of the best leaf's path
        where inner nodes are not trained. Leaf accuracy is the best leaf's under both."""
        self._count(self.val_metrics, self(batch.inputs), batch)

    def on_validation_epoch_end(self) -> None:
        """Logs the scalars of the validation split."""
        self._log_and_reset(self.val_metrics, prog_bar=("val/leaf_accuracy",))

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The same metrics on the test split. The logits ``[B, N]`` are returned for callbacks that keep them: result
        cards are made from those, under every decoder."""
        logits = self(batch.inputs).float()
        self._count(self.test_metrics, logits, batch)
        return logits

    def on_test_epoch_end(self) -> None:
        """Logs the scalars of the test split."""
        self._log_and_reset(self.test_metrics)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Logits ``[B, N]``."""
        return self(batch.inputs).float()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps what was trained, and the tree it was trained for."""
        frozen = {name for name, parameter in self.named_parameters() if not parameter.requires_grad}
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k not in frozen}
        checkpoint["hierfit"] = {"method": type(self).__name__, "taxonomy": self.taxonomy.fingerprint}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of another method, another tree, or other sizes.

        Raises:
            UserError: The checkpoint does not fit; nothing has been loaded.
        """
        origin, weights = (checkpoint.get(name) for name in ("hierfit", "state_dict"))
        origin = origin if isinstance(origin, dict) else {}
        problems = []
        if origin.get("method") != type(self).__name__:
            problems.append(f"it was trained by {origin.get('method', 'another program')}, not {type(self).__name__}")
        if origin.get("taxonomy") != self.taxonomy.fingerprint:
            problems.append(
                f"it was trained for another tree ({origin.get('taxonomy')}, not {self.taxonomy.fingerprint})"
            )
        mine = {n: tuple(p.shape) for n, p in self.named_parameters() if p.requires_grad}
        theirs = {k: _shape(v) for k, v in weights.items()} if isinstance(weights, dict) else {}
        problems += [f"{name} is missing" for name in mine.keys() - theirs.keys()]
        problems += [
            f"{name} is {theirs[name]}, here {shape}"
            for name, shape in mine.items()
            if theirs.get(name, shape) != shape
        ]
        if problems:
            raise UserError(
                "The checkpoint does not fit this configuration.",
                sorted(problems),
                "Use the config.yaml that lies in the checkpoint's run folder.",
            )

    def parameter_counts(self) -> dict[str, int]:
        """Number of trainable parameters, and of all including the towers (a feature bundle's are unknown: 0)."""
        backbone = datamodule_of(self.trainer).task.backbone
        towers = {} if backbone is None else {id(p): p.numel() for p in backbone.parameters()}
        own = {id(p): p.numel() for p in self.parameters()}
        return {
            "trainable": sum(p.numel() for p in self.parameters() if p.requires_grad),
            "total": sum({**towers, **own}.values()) if towers else 0,
        }

    def _count(self, metrics: MetricCollection, logits: Tensor, batch: Batch) -> None:
        first, *_ = self.decoders.values()
        metrics.update(first(logits, self.taxonomy), batch.paths)

    def _log_and_reset(self, metrics: MetricCollection, prog_bar: tuple[str, ...] = ()) -> None:
        # compute() has gathered the ranks exactly; logging values, not metrics, keeps Lightning from averaging them.
        for name, value in metrics.compute().items():
            self.log(name, value, prog_bar=name in prog_bar)
        metrics.reset()


def _shape(weights: object) -> tuple[int, ...] | None:
    """None for what is no plain tensor of numbers."""
    plain = isinstance(weights, Tensor) and weights.layout == torch.strided and weights.dtype.is_floating_point
    return tuple(weights.shape) if plain else None  # type: ignore[attr-defined]


def method_of(module: LightningModule) -> Method:
    """A callback's module as what it is."""
    assert isinstance(module, Method)
    return module
