"""How Lightning trains and judges a method, and what a checkpoint holds of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler
from torchmetrics import MetricCollection

from hierfit.data.batch import Batch
from hierfit.decoding import DECODERS, Decoder
from hierfit.distributed import mean_over_processes, processes
from hierfit.errors import UserError
from hierfit.losses.objective import Objective
from hierfit.taxonomy import Taxonomy
from hierfit.tensors import Shape, misfits, shapes


class MethodModule(LightningModule):
    """Steps of training, metrics of validation and test, checkpoints of what was trained."""

    checkpoint_names: ClassVar[Mapping[str, str]] = {}
    """What trained weights, or modules of them, are called in checkpoints; those that keep their names left out."""

    taxonomy: Taxonomy
    val_metrics: MetricCollection
    test_metrics: MetricCollection

    trains: ClassVar[bool] = True
    objective: Objective

    @property
    def keys(self) -> Any:
        """The hyper-parameters, as attributes."""
        return self.hparams

    def make_optimizer(self, parameters: list[nn.Parameter]) -> Optimizer:
        """The optimiser of the trained parameters at the peak learning rate; AdamW if not overridden."""
        return AdamW(parameters, lr=self.keys.lr, weight_decay=self.keys.weight_decay)

    def make_schedule(self, optimizer: Optimizer, steps: int) -> LRScheduler:
        """The rate over a run's steps: by a cosine to 0."""
        return CosineAnnealingLR(optimizer, T_max=steps)

    def configure_optimizers(self) -> Any:
        """The optimiser and its schedule; none where nothing is trained."""
        if not self.trains:
            return None
        optimizer = self.make_optimizer([p for p in self.parameters() if p.requires_grad])
        schedule = self.make_schedule(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Named loss terms, here the objective's; ``loss`` is minimised, the others are logged.

        With several processes the batch is this one's share, and a term's mean over processes must be that of the
        whole batch: `Objective` sees to that, `gather_batch` helps with what needs all samples at once.

        Raises:
            RuntimeError: Nothing is trained.
        """
        if not self.trains:
            raise RuntimeError(f"{type(self).__name__} has nothing to train; use `hierfit test`")
        terms: dict[str, Tensor] = self.objective(self(batch.inputs), batch.paths)
        return terms

    @property
    def reads_leaves_only(self) -> bool:
        """Whether its objective trains leaves alone: then scores of inner nodes mean nothing and are not reported."""
        objective = getattr(self, "objective", None)
        return objective is not None and bool(objective.reads_leaves_only)

    @property
    def decoders(self) -> Mapping[str, Decoder]:
        """Decoders of its logits whose figures mean something: all, or the one that reads leaves alone. Validation goes
        by the first."""
        return {"rollup": DECODERS["rollup"]} if self.reads_leaves_only else DECODERS

    def __setattr__(self, name: str, value: Any) -> None:
        """As any module, but for the name of the hook at hand: Lightning sets it some fifty times a step."""
        if name == "_current_fx_name":  # neither module nor parameter nor buffer, of which torch would make sure
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def logs_step(self, steps_before: int) -> bool:
        """Whether the logger writes down a step; what is logged at others costs time and is forgotten."""
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return every > 0 and (steps_before + 1) % every == 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        terms = self.loss(batch)
        if self.logs_step(self.trainer.global_step):
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
        self._log_and_reset(self.val_metrics, "val/leaf_accuracy")

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The same metrics on the test split. The logits ``[B, N]`` are returned for callbacks that keep them: result
        cards are made from those, under every decoder."""
        logits = self(batch.inputs).float()
        self._count(self.test_metrics, logits, batch)
        return logits

    def on_test_epoch_end(self) -> None:
        self._log_and_reset(self.test_metrics)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Logits ``[B, N]``."""
        return self(batch.inputs).float()

    def _count(self, metrics: MetricCollection, logits: Tensor, batch: Batch) -> None:
        first, *_ = self.decoders.values()
        metrics.update(first(logits, self.taxonomy), batch.paths)

    def _log_and_reset(self, metrics: MetricCollection, shown: str = "") -> None:
        # compute() has gathered the ranks exactly; logging values, not metrics, keeps Lightning from averaging them.
        for name, value in metrics.compute().items():
            self.log(name, value, prog_bar=name == shown)
        metrics.reset()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps what was trained, and the tree it was trained for."""
        frozen = {name for name, parameter in self.named_parameters() if not parameter.requires_grad}
        weights = {name: value for name, value in checkpoint["state_dict"].items() if name not in frozen}
        checkpoint["state_dict"] = renamed_weights(weights, self.checkpoint_names)
        checkpoint["hierfit"] = {"method": type(self).__name__, "taxonomy": self.taxonomy.fingerprint}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of another method, another tree, or other sizes.

        Raises:
            UserError: The checkpoint does not fit; nothing has been loaded.
        """
        parts = (checkpoint.get(name) for name in ("hierfit", "state_dict"))
        origin, weights = (part if isinstance(part, Mapping) else {} for part in parts)
        problems, own = [], self.taxonomy.fingerprint
        if origin.get("method") != type(self).__name__:
            problems.append(f"it was trained by {origin.get('method', 'another program')}, not {type(self).__name__}")
        if origin.get("taxonomy") != own:
            problems.append(f"it was trained for another tree ({origin.get('taxonomy')}, not {own})")
        trained = {name: p for name, p in self.named_parameters() if p.requires_grad}
        theirs = {name: _shape_of(weight) for name, weight in weights.items()}
        problems += misfits(shapes(renamed_weights(trained, self.checkpoint_names)), theirs, "here", strict=False)
        if problems:
            hint = "Use the config.yaml that lies in the checkpoint's run folder."
            raise UserError("The checkpoint does not fit this configuration.", sorted(problems), hint)
        back = {there: here for here, there in self.checkpoint_names.items()}
        checkpoint["state_dict"] = renamed_weights(weights, back)


def renamed_weights(weights: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Weights under other names: each of ``names`` stands for a weight, or for all of a module."""
    found = {}
    for name, weight in weights.items():
        old = next((old for old in names if name == old or name.startswith(f"{old}.")), "")
        found[names[old] + name[len(old) :] if old else name] = weight
    return found


def _shape_of(weights: object) -> Shape | None:
    """None for what is no plain tensor of numbers."""
    plain = isinstance(weights, Tensor) and weights.layout == torch.strided and weights.dtype.is_floating_point
    return tuple(weights.shape) if plain else None  # type: ignore[attr-defined]
