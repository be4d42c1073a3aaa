"""TaskRes: a residual on the text feature of each node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from hierfit.data.batch import Task
from hierfit.methods.baseline import Baseline, trained_nodes
from hierfit.methods.cosine import scaled_cosine
from hierfit.methods.head import Head
from hierfit.methods.values import check_values


class ResidualClassifier(nn.Module):
    """``s·⟨x, norm(t_v + α·r_v)⟩`` with r_v = 0 at the start; nodes without training images keep t_v.

    Args:
        text: L2-normalised node features ``[N, d]``.
        trained: Ids of the nodes that get a residual ``[M]``.
        scale: s.
        alpha: α.
    """

    text: Tensor
    trained: Tensor

    def __init__(self, text: Tensor, trained: Tensor, scale: float, alpha: float) -> None:
        super().__init__()
        self.register_buffer("text", text, persistent=False)
        self.register_buffer("trained", trained, persistent=False)
        self.scale, self.alpha = scale, alpha
        self.residual = nn.Parameter(torch.zeros_like(text[trained]))

    def nodes(self) -> Tensor:
        """Node features ``[N, d]``, L2-normalised."""
        return F.normalize(self.text.index_add(0, self.trained, self.residual, alpha=self.alpha), dim=-1)

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``[B, N]`` of L2-normalised features ``[B, d]``."""
        return scaled_cosine(features, self.nodes(), self.scale)


class TaskRes(Baseline):
    """TaskRes (Yu et al., arXiv 2211.10277, CVPR 2023); before the first step it is zero-shot.

    Args:
        objective: Losses and their weights or options (see ``hierfit.losses.objective``); cross-entropy at every
            level, ``{level_ce: 1}``, if None. Published is ``{leaf_ce: 1}``, which leaves inner nodes untrained.
        alpha: Weight of the residuals.
        lr: Peak learning rate of Adam; cosine to 0 over the run.
        weight_decay: L2 penalty, inside Adam as published.

    Raises:
        UserError: Names every value out of range.
    """

    def __init__(
        self,
        objective: dict[str, Any] | None = None,
        alpha: float = 0.5,
        lr: float = 2e-3,
        weight_decay: float = 5e-4,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_values("TaskRes", self.hparams, ("alpha", "lr"), {"weight_decay": 0})

    def make_classifier(self, task: Task) -> ResidualClassifier:
        """Text with residuals."""
        hparams: Any = self.hparams
        return ResidualClassifier(task.text, trained_nodes(task), task.logit_scale, hparams.alpha)

    def head(self) -> Head:
        """Nodes with their residuals."""
        own = self.classifier
        assert isinstance(own, ResidualClassifier)
        return Head(own.nodes(), own.scale)

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """Adam."""
        hparams: Any = self.hparams
        return Adam(parameters, lr=hparams.lr, weight_decay=hparams.weight_decay)
