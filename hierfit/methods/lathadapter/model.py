"""LatHAdapter's maths: a cosine classifier over adapted features, and the hierarchy that regularises it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hierfit.geometry.manifold import ManifoldPoints
from hierfit.losses.latent_hierarchy import LatentHierarchyLoss
from hierfit.methods.adapters import ResidualAdapter
from hierfit.methods.cosine import scaled_cosine
from hierfit.methods.lathadapter.attributes import SoftPrompts, spread_points
from hierfit.methods.lathadapter.residuals import Residuals

START_NORM = 1.2
"""Mean norm of projected features at the start: inside the clip radius, so radii can grow and shrink."""


class AdaptedClassifier(nn.Module):
    """Cosine logits between adapted images and adapted nodes; zero-shot CLIP before the first step.

    Args:
        text: L2-normalised node features ``[N, d]``.
        residuals: Gives what is added to each node's feature; None for nothing. Where nodes without images get none,
            the text adapter alone carries to them.
        logit_scale: s, frozen.
        hidden: Width of the adapters' bottleneck.
        image_ratio: Weight of the image adapter.
        text_ratio: Weight of the text adapter.
        residual_ratio: Weight of the residuals.
    """

    text: Tensor

    def __init__(
        self,
        text: Tensor,
        residuals: Residuals | None,
        logit_scale: float,
        *,
        hidden: int = 128,
        image_ratio: float = 0.2,
        text_ratio: float = 0.5,
        residual_ratio: float = 0.5,
    ) -> None:
        super().__init__()
        self.register_buffer("text", text, persistent=False)
        self.logit_scale = logit_scale
        self.residual_ratio = residual_ratio
        self.image_adapter = ResidualAdapter(text.shape[1], hidden, image_ratio)
        self.text_adapter = ResidualAdapter(text.shape[1], hidden, text_ratio)
        self.residuals = residuals

    def nodes(self) -> Tensor:
        """Adapted node features ``t′ [N, d]``, L2-normalised."""
        adapted: Tensor = self.text_adapter(self.text)
        if self.residuals is None:
            return adapted
        return F.normalize(adapted + self.residual_ratio * self.residuals(), dim=-1)

    def logits(self, images: Tensor, nodes: Tensor) -> Tensor:
        """``s·cos`` of adapted images ``[B, d]`` and nodes ``[N, d]`` → ``[B, N]``."""
        return scaled_cosine(images, nodes, self.logit_scale)

    def forward(self, features: Tensor) -> Tensor:
        """L2-normalised image features ``[B, d]`` to logits ``[B, N]``."""
        return self.logits(self.image_adapter(features), self.nodes())


class LatentHierarchy(nn.Module):
    """Images, categories and attributes in one space, and the loss over them.

    Image and text features are centred on their own means (CLIP's two modalities lie in narrow, separate
    cones), share a learned projection W, and enter the space by clip and exponential map.

    Args:
        loss: The regulariser; its space is where the points live.
        images: Training image features ``[n, d]``, for the start.
        text: Features of the training nodes ``[n, d]``, for the start.
        width: Dimension m of the space.
        attributes: M learnable points, or soft prompts, or ``None``.
        known: Ids of taxonomy nodes that join the candidates as fixed ancestors, or ``None``.
        riemannian: Whether the gradient into features is HIER's, see `Space.embed`. Attributes that are points have the
            metric in their optimiser.
    """

    image_centre: Tensor
    text_centre: Tensor
    known: Tensor | None

    def __init__(
        self,
        loss: LatentHierarchyLoss,
        images: Tensor,
        text: Tensor,
        width: int = 128,
        attributes: SoftPrompts | int | None = 64,
        known: Tensor | None = None,
        riemannian: bool = True,
    ) -> None:
        super().__init__()
        self.loss = loss
        self.riemannian = riemannian
        self.register_buffer("image_centre", images.mean(0))
        self.register_buffer("text_centre", text.mean(0))
        self.register_buffer("known", known, persistent=False)
        self.project = nn.Linear(text.shape[1], width, bias=False)
        nn.init.orthogonal_(self.project.weight)
        with torch.no_grad():
            norms = [self.project(x - x.mean(0)).norm(dim=-1).mean() for x in (images, text)]
            self.project.weight *= START_NORM / torch.stack(norms).mean().clamp_min(1e-6)
        self.attributes: ManifoldPoints | SoftPrompts | None
        if isinstance(attributes, int):
            with torch.no_grad():
                start = self._points(spread_points(text, attributes), self.text_centre)
            self.attributes = ManifoldPoints(start, loss.space)
        else:
            self.attributes = attributes

    def forward(self, images: Tensor, nodes: Tensor, labels: Tensor) -> Tensor:
        """The regulariser for one batch.

        Args:
            images: Adapted image features ``[B, d]``.
            nodes: Adapted node features ``[N, d]``.
            labels: Deepest known node of each image ``[B]``, −1 for none. The categories are the nodes named
                here, so that cost does not grow with the taxonomy.
        """
        named = labels.unique()
        named = named[named >= 0]
        own = named if self.known is None else torch.cat([named, self.known])
        # All in one pass: at this size each step of it costs more than its arithmetic.
        features = torch.cat([images - self.image_centre, nodes.index_select(0, own) - self.text_centre])
        points = self.loss.space.embed(self.project(features), self.riemannian)
        of_images, of_named, known = points.split([len(images), len(named), len(own) - len(named)])
        return self.loss(
            of_images, labels, of_named, named, self.attribute_points(), None if self.known is None else known
        )

    def image_points(self, images: Tensor) -> Tensor:
        """Adapted image features ``[B, d]`` as points of the space."""
        return self._points(images, self.image_centre)

    def node_points(self, nodes: Tensor) -> Tensor:
        """Adapted node features ``[N, d]`` as points of the space."""
        return self._points(nodes, self.text_centre)

    @torch.no_grad()
    def health(self, images: Tensor, nodes: Tensor) -> dict[str, Tensor]:
        """Figures to log: mean radius of images, nodes and attributes, and the share of images at the cap."""
        space = self.loss.space
        of_images = space.health(self.image_points(images))
        figures = {
            "image_radius": of_images["mean_radius"],
            "image_share_at_cap": of_images["share_at_cap"],
            "node_radius": space.radius(self.node_points(nodes)).mean(),
        }
        attributes = self.attribute_points()
        if attributes is not None:
            figures["attribute_radius"] = space.radius(attributes).mean()
        return figures

    def attribute_points(self) -> Tensor | None:
        """The attributes as points of the space ``[M, m]``."""
        if isinstance(self.attributes, SoftPrompts):
            return self._points(self.attributes(), self.text_centre)
        return None if self.attributes is None else self.attributes()

    def attribute_parameters(self) -> list[nn.Parameter]:
        """What is trained of the attributes: points or contexts, not the frozen text tower."""
        return [p for p in self.attributes.parameters() if p.requires_grad] if self.attributes else []

    def _points(self, features: Tensor, centre: Tensor) -> Tensor:
        return self.loss.space.embed(self.project(features - centre), self.riemannian)
