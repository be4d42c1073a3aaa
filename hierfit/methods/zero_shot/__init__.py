"""Zero-shot classification: cosine to the text of every node."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hierfit.data.batch import Batch, Task
from hierfit.methods.base import Method
from hierfit.methods.cosine import CosineClassifier, scaled_cosine
from hierfit.methods.head import Growth, Head


class ZeroShot(Method):
    """The backbone as it came: logits are scaled cosines between image and node text (CLIP, Radford et al. 2021)."""

    trains = False

    text: Tensor

    def build(self, task: Task) -> None:
        """Keeps the text features."""
        self.register_buffer("text", task.text, persistent=False)
        self.scale = task.logit_scale

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``[B, N]`` of features ``[B, d]``."""
        return scaled_cosine(inputs, self.text, self.scale)

    def transfer(self, task: Task) -> nn.Module:
        """Cosines to the text of the other classes."""
        return CosineClassifier(nn.Identity(), task.text, task.logit_scale)

    def head(self) -> Head:
        """The text of the nodes, and of new ones."""
        return Head(self.text, self.scale, growth=Growth())

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Nothing is trained.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("ZeroShot has nothing to train; use `hierfit test`")

    def configure_optimizers(self) -> Any:
        """No optimiser."""
        return None
