"""Zero-shot classification: cosine to the text of every node."""

from __future__ import annotations

from hierfit.data.batch import Task
from hierfit.methods.base import Method
from hierfit.methods.head import Head
from hierfit.methods.nodes import Nodes


class ZeroShot(Method):
    """The backbone as it came: logits are scaled cosines between image and node text (CLIP, Radford et al. 2021)."""

    trains = False

    def __init__(self) -> None:
        super().__init__()

    def head(self, task: Task) -> Head:
        """The text of the nodes."""
        return Head(Nodes(task.text), task.logit_scale)
