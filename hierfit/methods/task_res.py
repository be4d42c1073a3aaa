"""TaskRes: a residual on the text feature of each node."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import Adam, Optimizer

from hierfit.data.batch import Task
from hierfit.methods.base import Method
from hierfit.methods.head import Head
from hierfit.methods.keys import NotNegative, Positive
from hierfit.methods.nodes import OwnNodes
from hierfit.methods.tasks import trained_nodes


class TaskRes(Method):
    """TaskRes (Yu et al., arXiv 2211.10277, CVPR 2023); before the first step it is zero-shot.

    Args:
        objective: Losses and their weights or options (see ``hierfit.losses.objective``); cross-entropy at every
            level, ``{level_ce: 1}``, if None, and of the leaves where labels are coarse. Published is ``{leaf_ce: 1}``,
            which leaves inner nodes untrained.
        alpha: Weight of the residuals.
        lr: Peak learning rate of Adam; cosine to 0 over the run.
        weight_decay: L2 penalty, inside Adam as published.
        whiten: Whiten features within the classes first (`hierfit.methods.whiten`); fine-grained classes gain most.
    """

    checkpoint_names: ClassVar = {"classifier.nodes.own": "classifier.residual"}

    def __init__(
        self,
        objective: dict[str, Any] | None = None,
        alpha: Positive = 0.5,
        lr: Positive = 2e-3,
        weight_decay: NotNegative = 5e-4,
        whiten: bool = False,
    ) -> None:
        super().__init__()

    def head(self, task: Task) -> Head:
        """``s·⟨x, norm(t_v + α·r_v)⟩`` with r_v = 0 at the start; nodes without training images keep t_v."""
        trained = trained_nodes(task)
        start = torch.zeros_like(task.text[trained])
        return Head(OwnNodes(task.text, trained, start, self.keys.alpha), task.logit_scale)

    def make_optimizer(self, parameters: list[nn.Parameter]) -> Optimizer:
        return Adam(parameters, lr=self.keys.lr, weight_decay=self.keys.weight_decay)
