"""What the feature baselines share: a classifier over frozen features, and how it is trained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from hierfit.data.batch import Batch, Task
from hierfit.losses.objective import Objective
from hierfit.methods.base import Method
from hierfit.methods.objective import objective_for


class Baseline(Method):
    """A classifier over frozen features, trained by an objective; the rate falls to 0 by a cosine over the run.

    A subclass says what the classifier is and which optimiser trains it. Its hyper-parameters hold ``objective``;
    None is cross-entropy at every level, ``{level_ce: 1}``, so that inner nodes are trained as well. The papers
    train leaves only: ``{leaf_ce: 1}``.
    """

    needs = "features"

    classifier: nn.Module
    objective: Objective

    @abstractmethod
    def make_classifier(self, task: Task) -> nn.Module:
        """The module that gives logits ``[B, N]`` of L2-normalised features ``[B, d]``."""

    @abstractmethod
    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """The optimiser of its trained parameters, at the peak learning rate."""

    def build(self, task: Task) -> None:
        """Creates classifier and objective."""
        hparams: Any = self.hparams
        # Lightning makes new tensors on the accelerator here, while the task's are still on the CPU.
        with task.text.device:
            self.classifier = self.make_classifier(task)
        self.objective = objective_for(task, hparams.objective or {"level_ce": 1.0})

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``[B, N]`` of L2-normalised features ``[B, d]``."""
        logits: Tensor = self.classifier(inputs)
        return logits

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The objective's terms."""
        terms: dict[str, Tensor] = self.objective(self(batch.inputs), batch.paths)
        return terms

    def configure_optimizers(self) -> Any:
        """The optimiser, with a cosine to 0 over the run's steps."""
        optimizer = self.make_optimizer([p for p in self.parameters() if p.requires_grad])
        schedule = CosineAnnealingLR(optimizer, T_max=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def trained_nodes(task: Task) -> Tensor:
    """Ids ``[M]`` of the nodes with a training image at or below them, without those held back from training.

    Only they get weights of their own: softmax would push those of the others away from every image.
    """
    found = torch.zeros_like(task.seen)
    found[task.train_paths[task.train_paths >= 0]] = True
    return (found & task.seen).nonzero()[:, 0]
