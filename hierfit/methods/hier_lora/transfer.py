"""Other classes through towers that HierLoRA has trained."""

from __future__ import annotations

from torch import Tensor, nn

from hierfit.backbone import Backbone
from hierfit.backbone.node_encoder import NodeEncoder
from hierfit.methods.cosine import scaled_cosine


class TextClassifier(nn.Module):
    """Scaled cosines of images and of prompts, both read by towers that no longer change: prompts are encoded once.

    Args:
        backbone: The towers.
        nodes: The nodes' prompts; or their features ``[N, d]``, where the text tower is as it came.
        log_scale: Logarithm of the logit scale, a scalar.
    """

    text: Tensor | None
    log_scale: Tensor

    def __init__(self, backbone: Backbone, nodes: NodeEncoder | Tensor, log_scale: Tensor) -> None:
        super().__init__()
        self.backbone = backbone
        self.encoder: NodeEncoder | None = nodes if isinstance(nodes, NodeEncoder) else None
        self.register_buffer("text", nodes if isinstance(nodes, Tensor) else None, persistent=False)
        self.register_buffer("log_scale", log_scale, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[B, N]`` of preprocessed images ``[B, 3, S, S]``."""
        text = self.text
        if text is None:
            assert self.encoder is not None
            text = self.text = self.encoder(self.backbone)
        return scaled_cosine(self.backbone.encode_image(images), text, self.log_scale.exp())
