"""CLIP-Adapter: a bottleneck on frozen features, blended with them."""

from __future__ import annotations

from typing import Any, ClassVar

from hierfit.data.batch import Task
from hierfit.methods.base import Method
from hierfit.methods.head import Blend, Head
from hierfit.methods.keys import Count, NotNegative, Positive, Share
from hierfit.methods.nodes import AdaptedNodes


class CLIPAdapter(Method):
    """CLIP-Adapter (Gao et al., arXiv 2110.04544, 2021). It starts near zero-shot, not at it.

    Args:
        objective: Losses and their weights or options (see ``hierfit.losses.objective``); cross-entropy at every
            level, ``{level_ce: 1}``, if None, and of the leaves where labels are coarse. Published is ``{leaf_ce: 1}``.
        image_ratio: Share of the adapter in the image features; 0 leaves them as they are.
        text_ratio: Share of the adapter in the node features; the published code has none.
        reduction: Width of the features over that of the bottleneck.
        lr: Peak learning rate of AdamW; cosine to 0 over the run.
        weight_decay: Decoupled decay.
        whiten: Whiten features within the classes first (`hierfit.methods.whiten`); fine-grained classes gain most.
    """

    checkpoint_names: ClassVar = {"classifier.nodes.adapter": "classifier.node"}

    def __init__(
        self,
        objective: dict[str, Any] | None = None,
        image_ratio: Share = 0.2,
        text_ratio: Share = 0.0,
        reduction: Count = 4,
        lr: Positive = 3e-3,
        weight_decay: NotNegative = 1e-2,
        whiten: bool = False,
    ) -> None:
        idle = not image_ratio and not text_ratio
        super().__init__(["image_ratio and text_ratio are both 0; nothing would be trained"] if idle else [])

    def head(self, task: Task) -> Head:
        width = task.text.shape[1]
        hidden = max(width // self.keys.reduction, 1)
        image, text = (
            Blend(width, hidden, ratio) if ratio else None for ratio in (self.keys.image_ratio, self.keys.text_ratio)
        )
        return Head(AdaptedNodes(task.text, adapter=text), task.logit_scale, image)
