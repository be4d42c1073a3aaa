"""CLIP-Adapter: a bottleneck on frozen features, blended with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from hierfit.data.batch import Task
from hierfit.methods.adapters import Blend
from hierfit.methods.baseline import Baseline
from hierfit.methods.cosine import scaled_cosine
from hierfit.methods.head import Growth, Head
from hierfit.methods.values import check_values


class BlendedClassifier(nn.Module):
    """Scaled cosines of blended images and blended nodes.

    Args:
        text: L2-normalised node features ``[N, d]``.
        scale: Logit scale.
        image: Adapter of the images.
        node: Adapter of the nodes.
    """

    text: Tensor

    def __init__(self, text: Tensor, scale: float, image: nn.Module, node: nn.Module) -> None:
        super().__init__()
        self.register_buffer("text", text, persistent=False)
        self.scale, self.image, self.node = scale, image, node

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``[B, N]`` of L2-normalised features ``[B, d]``."""
        return scaled_cosine(self.image(features), self.node(self.text), self.scale)


class CLIPAdapter(Baseline):
    """CLIP-Adapter (Gao et al., arXiv 2110.04544, 2021). It starts near zero-shot, not at it.

    Args:
        objective: Losses and their weights or options (see ``hierfit.losses.objective``); cross-entropy at every
            level, ``{level_ce: 1}``, if None. Published is ``{leaf_ce: 1}``.
        image_ratio: Share of the adapter in the image features; 0 leaves them as they are.
        text_ratio: Share of the adapter in the node features; the published code has none.
        reduction: Width of the features over that of the bottleneck.
        lr: Peak learning rate of AdamW; cosine to 0 over the run.
        weight_decay: Decoupled decay.

    Raises:
        UserError: Names every value out of range.
    """

    def __init__(
        self,
        objective: dict[str, Any] | None = None,
        image_ratio: float = 0.2,
        text_ratio: float = 0.0,
        reduction: int = 4,
        lr: float = 3e-3,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        ratios = {"image_ratio": image_ratio, "text_ratio": text_ratio}
        problems = [f"{name} is {r}; it is a share, from 0 to 1" for name, r in ratios.items() if not 0 <= r <= 1]
        if not any(ratios.values()):
            problems.append("image_ratio and text_ratio are both 0; nothing would be trained")
        check_values("CLIPAdapter", self.hparams, ("lr",), {"reduction": 1, "weight_decay": 0}, problems)

    def make_classifier(self, task: Task) -> BlendedClassifier:
        """Adapters where their share is not 0."""
        hparams: Any = self.hparams
        width = task.text.shape[1]
        hidden = max(width // hparams.reduction, 1)
        image, node = (
            Blend(width, hidden, ratio) if ratio else nn.Identity()
            for ratio in (hparams.image_ratio, hparams.text_ratio)
        )
        return BlendedClassifier(task.text, task.logit_scale, image, node)

    def transfer(self, task: Task) -> BlendedClassifier:
        """The text of the other classes in place of its own, under the same adapters."""
        own = self.classifier
        assert isinstance(own, BlendedClassifier)
        return BlendedClassifier(task.text, own.scale, own.image, own.node)

    def head(self) -> Head:
        """Blended nodes; the text of new ones is blended as well."""
        own = self.classifier
        assert isinstance(own, BlendedClassifier)
        return Head(own.node(own.text), own.scale, image=own.image, growth=Growth(own.node))

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """AdamW."""
        hparams: Any = self.hparams
        return AdamW(parameters, lr=hparams.lr, weight_decay=hparams.weight_decay)
