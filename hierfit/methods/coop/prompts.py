"""CoOp's maths: nodes scored by learned words before their names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hierfit.backbone import Backbone
from hierfit.distributed import gather_work, share_of_work
from hierfit.methods.cosine import scaled_cosine


class PromptClassifier(nn.Module):
    """Scaled cosines of images and "context, name" read by the frozen text tower.

    Of several processes each reads its share of the prompts, and has the others' from them.

    Args:
        backbone: The towers; frozen.
        text: L2-normalised node features ``[N, d]`` of nodes that get no context.
        prompted: Ids of the nodes that do ``[M]``.
        names: What follows the context, for each of those M nodes.
        context: Vectors at the start ``[1, n, w]``, shared, or ``[M, n, w]``, one context a node.
        scale: Logit scale.
        chunk: Prompts that go through the text tower at once. With more than one chunk, training keeps the
            activations of one at a time and computes the others again on the way back.
    """

    text: Tensor
    prompted: Tensor

    def __init__(
        self,
        backbone: Backbone,
        text: Tensor,
        prompted: Tensor,
        names: Sequence[str],
        context: Tensor,
        scale: float,
        chunk: int,
    ) -> None:
        super().__init__()
        self.backbone, self.scale = backbone, scale
        self.register_buffer("text", text, persistent=False)
        self.register_buffer("prompted", prompted, persistent=False)
        self.context = nn.Parameter(context)
        own = share_of_work(len(names))
        self._chunks = [own[start : start + chunk] for start in range(0, len(own), chunk)]
        self._names = names
        self._kept: tuple[object, Tensor] | None = None

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``[B, N]`` of L2-normalised features ``[B, d]``."""
        return scaled_cosine(features, self.nodes(), self.scale)

    def nodes(self) -> Tensor:
        """L2-normalised text features ``[N, d]``, encoded once a step, or once until the context changes."""
        if torch.is_grad_enabled():
            return self._encoded()
        state = self.context.data_ptr(), self.context._version
        if self._kept is None or self._kept[0] != state:
            self._kept = state, self._encoded()
        return self._kept[1]

    def _encoded(self) -> Tensor:
        shared = len(self.context) == 1
        parts = []
        for rows in self._chunks:
            context, names = self.context if shared else self.context[rows], [self._names[row] for row in rows]
            if len(self._chunks) > 1 and torch.is_grad_enabled():
                parts.append(checkpoint(self.backbone.encode_context, context, names, use_reentrant=False))
            else:
                parts.append(self.backbone.encode_context(context, names))
        return self.text.index_copy(0, self.prompted, gather_work(torch.cat(parts), len(self._names)))
