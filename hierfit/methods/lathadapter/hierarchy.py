"""LatHAdapter's latent hierarchy: images, categories and attributes in one space, and where attributes start."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hierfit.backbone import Backbone
from hierfit.geometry.manifold import ManifoldPoints
from hierfit.losses.latent_hierarchy import LatentHierarchyLoss

START_NORM = 1.2
"""Mean norm of projected features at the start: inside the clip radius, so radii can grow and shrink."""


def spread_points(points: Tensor, count: int, iterations: int = 20) -> Tensor:
    """``count`` starting points spread over ``points [n, d]``: the centres of Lloyd's k-means.

    With no more points than centres, k-means has nothing to do: all points are taken, and the rest are
    midpoints of random pairs of them, as a common ancestor lies between its children. Random choices follow
    torch's global seed.
    """
    n, device = len(points), points.device
    if n <= count:
        pairs = torch.randint(n, (2, count - n), device=device)
        return torch.cat([points, points[pairs].mean(0)])
    centres = points[torch.randperm(n, device=device)[:count]]
    for _ in range(iterations):
        nearest = torch.cdist(points, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        sizes = nearest.bincount(minlength=count)[:, None]
        centres = torch.where(sizes > 0, sums / sizes.clamp_min(1), centres)
    return centres


def named_nodes(labels: Tensor) -> Tensor:
    """The nodes that occur in labels ``[B]``, ascending, without −1."""
    named = labels.unique()
    return named[named >= 0]


class SoftPrompts(nn.Module):
    """M learnable contexts, class-agnostic, read by the frozen text tower.

    Args:
        backbone: The towers; frozen.
        count: M.
        length: Context vectors a prompt.
    """

    def __init__(self, backbone: Backbone, count: int, length: int) -> None:
        super().__init__()
        self.backbone = backbone
        # CoOp's random start; the deviation is that of CLIP's own token embeddings.
        self.context = nn.Parameter(0.02 * torch.randn(count, length, backbone.text_width))

    def forward(self) -> Tensor:
        """L2-normalised text features ``[M, d]``; gradients flow to the contexts. One text tower pass."""
        return self.backbone.encode_context(self.context)


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

    def forward(self, images: Tensor, nodes: Tensor, labels: Tensor, named: Tensor | None = None) -> Tensor:
        """The regulariser for one batch.

        Args:
            images: Adapted image features ``[B, d]``.
            nodes: Adapted node features ``[N, d]``.
            labels: Deepest known node of each image ``[B]``, −1 for none. The categories are the nodes named
                here, so that cost does not grow with the taxonomy.
            named: These nodes, see `named_nodes`; an accelerator has to be waited for to find them.
        """
        named = named_nodes(labels) if named is None else named
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
