"""Linear probe: one weight vector a node on frozen features."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from hierfit.data.batch import Task
from hierfit.methods.baseline import Baseline, trained_nodes
from hierfit.methods.cosine import scaled_cosine
from hierfit.methods.head import Head
from hierfit.methods.values import check_values


class Probe(nn.Module):
    """``s·(⟨x, w_v⟩ + b_v)``; w_v is not normalised. Nodes without training images keep their text, and no bias.

    Args:
        text: L2-normalised node features ``[N, d]``.
        trained: Ids of the nodes that get weights ``[M]``.
        scale: s.
        from_text: Start the weights from the text, else from zero.
        bias: Give each trained node a bias, 0 at the start.
    """

    text: Tensor
    trained: Tensor

    def __init__(self, text: Tensor, trained: Tensor, scale: float, from_text: bool, bias: bool) -> None:
        super().__init__()
        self.register_buffer("text", text, persistent=False)
        self.register_buffer("trained", trained, persistent=False)
        self.scale = scale
        self.weight = nn.Parameter(text[trained] if from_text else torch.zeros_like(text[trained]))
        self.bias = nn.Parameter(torch.zeros(len(trained))) if bias else None

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``[B, N]`` of L2-normalised features ``[B, d]``."""
        logits = scaled_cosine(features, self.text.index_copy(0, self.trained, self.weight), self.scale)
        if self.bias is None:
            return logits
        return logits + self.scale * self.text.new_zeros(len(self.text)).index_copy(0, self.trained, self.bias)


class LinearProbe(Baseline):
    """Linear probe (Radford et al., 2021), started from the nodes' text: before the first step it is zero-shot.

    Args:
        objective: Losses and their weights or options (see ``hierfit.losses.objective``); cross-entropy at every
            level, ``{level_ce: 1}``, if None. Published is ``{leaf_ce: 1}``, which leaves inner nodes untrained.
        init: Start from the nodes' ``text``, or from ``zero`` as a probe without a text tower would. With ``zero``,
            nodes held back from training still score by their text, on another footing than the rest.
        bias: Give each node a bias.
        scale: Multiplier of the logits; null is the backbone's own. It sets how far a step of ``lr`` reaches.
        lr: Peak learning rate of AdamW; cosine to 0 over the run.
        weight_decay: Decoupled decay.

    Raises:
        UserError: Names every value out of range.
    """

    def __init__(
        self,
        objective: dict[str, Any] | None = None,
        init: Literal["text", "zero"] = "text",
        bias: bool = False,
        scale: float | None = None,
        lr: float = 1e-3,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        positive = ("lr",) if scale is None else ("lr", "scale")
        check_values("LinearProbe", self.hparams, positive, {"weight_decay": 0})

    def make_classifier(self, task: Task) -> Probe:
        """The probe."""
        hparams: Any = self.hparams
        scale = task.logit_scale if hparams.scale is None else hparams.scale
        return Probe(task.text, trained_nodes(task), scale, hparams.init == "text", hparams.bias)

    def head(self) -> Head:
        """The weights as nodes, of whatever length they are; there are none for new ones."""
        own = self.classifier
        assert isinstance(own, Probe)
        bias = (
            None
            if own.bias is None
            else own.scale * own.text.new_zeros(len(own.text)).index_copy(0, own.trained, own.bias)
        )
        return Head(own.text.index_copy(0, own.trained, own.weight), own.scale, bias=bias)

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """AdamW."""
        hparams: Any = self.hparams
        return AdamW(parameters, lr=hparams.lr, weight_decay=hparams.weight_decay)
