"""Linear probe: one weight vector a node on frozen features."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch

from hierfit.data.batch import Task
from hierfit.methods.base import Method
from hierfit.methods.head import Bias, Head
from hierfit.methods.keys import NotNegative, Positive
from hierfit.methods.nodes import OwnNodes
from hierfit.methods.tasks import trained_nodes


class LinearProbe(Method):
    """Linear probe (Radford et al., 2021), started from the nodes' text: before the first step it is zero-shot.

    Args:
        objective: Losses and their weights or options (see ``hierfit.losses.objective``); cross-entropy at every
            level, ``{level_ce: 1}``, if None, and of the leaves where labels are coarse. Published is ``{leaf_ce: 1}``,
            which leaves inner nodes untrained.
        init: Start from the nodes' ``text``, or from ``zero`` as a probe without a text tower would. With ``zero``,
            nodes held back from training still score by their text, on another footing than the rest.
        bias: Give each node a bias.
        scale: Multiplier of the logits; null is the backbone's own. It sets how far a step of ``lr`` reaches.
        lr: Peak learning rate of AdamW; cosine to 0 over the run.
        weight_decay: Decoupled decay.
        whiten: Whiten features within the classes first (`hierfit.methods.whiten`); fine-grained classes gain most.
    """

    checkpoint_names: ClassVar = {"classifier.nodes.own": "classifier.weight", "classifier.bias.own": "classifier.bias"}

    def __init__(
        self,
        objective: dict[str, Any] | None = None,
        init: Literal["text", "zero"] = "text",
        bias: bool = False,
        scale: Positive | None = None,
        lr: Positive = 1e-3,
        weight_decay: NotNegative = 1e-2,
        whiten: bool = False,
    ) -> None:
        super().__init__()

    def head(self, task: Task) -> Head:
        """``s·(⟨x, w_v⟩ + b_v)``; w_v is not normalised. Nodes without training images keep their text, and no bias."""
        trained = trained_nodes(task)
        start = task.text[trained] if self.keys.init == "text" else torch.zeros_like(task.text[trained])
        scale = task.logit_scale if self.keys.scale is None else self.keys.scale
        bias = Bias(trained, len(task.text), scale) if self.keys.bias else None
        return Head(OwnNodes(task.text, trained, start), scale, bias=bias)
