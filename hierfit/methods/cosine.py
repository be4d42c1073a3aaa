"""Scaled cosine logits, what every CLIP-like classifier ends in."""

from __future__ import annotations

from torch import Tensor, nn

from hierfit.tensors import fp32_island


@fp32_island
def scaled_cosine(images: Tensor, nodes: Tensor, scale: float | Tensor) -> Tensor:
    """``s·⟨x, t⟩`` of L2-normalised images ``[B, d]`` and nodes ``[N, d]`` → ``[B, N]``, never below fp32.

    In bf16 a cosine has 8 bits; times 100, that is an error of ±0.2 in every logit.
    """
    return scale * images @ nodes.T


class CosineClassifier(nn.Module):
    """Scaled cosines of adapted images and nodes that are fixed.

    Args:
        image: Adapter of the images.
        nodes: L2-normalised node features ``[N, d]``.
        scale: Logit scale.
    """

    nodes: Tensor

    def __init__(self, image: nn.Module, nodes: Tensor, scale: float) -> None:
        super().__init__()
        self.image, self.scale = image, scale
        self.register_buffer("nodes", nodes, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``[B, N]`` of L2-normalised features ``[B, d]``."""
        return scaled_cosine(self.image(features), self.nodes, self.scale)
