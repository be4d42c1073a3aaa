"""LatHAdapter's parts: the residuals of its nodes, and the latent hierarchy of images, categories and attributes."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierfit.backbone import Backbone
from hierfit.errors import UserError
from hierfit.geometry import Space
from hierfit.geometry.manifold import ManifoldPoints
from hierfit.losses.latent_hierarchy import LatentHierarchyLoss
from hierfit.methods.nodes import Nodes
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.upward import sums_along_paths

Residual = Literal["class", "tree", "text"]
START_NORM = 1.2
"""Mean norm of projected features at the start: inside the clip radius, so radii can grow and shrink."""


class Residuals(nn.Module):
    """One learnable vector ``r_a`` for every node with training images, zero at the start.

    ``class``: a node takes its own (TaskRes, Yu et al., CVPR 2023); one without images takes none.
    ``tree``: TreeRes, ours: node k takes Σ g_a·r_a over itself and its ancestors, with g_a = (leaves below a)^−½. A
    class never seen inherits what its seen ancestors have learnt; a wide ancestor is held back, for its vector gets
    the gradients of all its leaves. With a ``shuffle`` its ancestors are strangers: those of the place where the
    shuffle puts it.
    ``text``: the control without a tree: node k takes the vectors of its level's trained nodes in the parts
    softmax(s·⟨t_k, t_a⟩), its own among them.

    Args:
        kind: Which of these.
        text: L2-normalised node features ``[N, d]``.
        trained: Nodes with images at or below them ``[N]`` bool.
        taxonomy: The tree.
        scale: s.
        shuffle: Seed of `shuffled_places`; None shares along the tree as it is.
    """

    trained: Tensor
    gain: Tensor
    kernel: Tensor | None
    place: Tensor | None
    occupant: Tensor | None

    def __init__(
        self,
        kind: Residual,
        text: Tensor,
        trained: Tensor,
        taxonomy: Taxonomy,
        scale: float,
        shuffle: int | None = None,
    ) -> None:
        super().__init__()
        self.kind, self.taxonomy = kind, taxonomy
        place = occupant = kernel = None
        if kind == "tree" and shuffle is not None:
            from hierfit.taxonomy.shuffle import shuffled_places

            place = shuffled_places(taxonomy, shuffle)
            occupant = place.argsort()
            # A vector is trained where images lie below it on the way its vector is shared.
            paths = taxonomy.paths(trained[occupant].nonzero()[:, 0])
            trained = torch.zeros_like(trained).index_fill_(0, paths[paths >= 0], True)[place]
        if kind == "text":
            same_level = taxonomy.level[:, None] == taxonomy.level
            likeness = (scale * text @ text.T).masked_fill(~(same_level & trained), -torch.inf)
            kernel = likeness.softmax(dim=1).nan_to_num(0.0)  # a level without a trained node has nothing to give
        self.vectors = nn.Parameter(torch.zeros_like(text))
        gain = taxonomy.num_leaves_below[:, None].to(text.dtype) ** -0.5
        buffers = {"trained": trained[:, None].to(text.dtype), "gain": gain, "kernel": kernel}
        for name, tensor in {**buffers, "place": place, "occupant": occupant}.items():
            self.register_buffer(name, tensor, persistent=False)

    def forward(self) -> Tensor:
        """What is added to each node's feature ``[N, d]``. O(N·d); ``text`` O(N²·d)."""
        # The mask is not idle: softmax pushes nodes without images away from every image.
        own = self.trained * self.vectors
        if self.kind == "class":
            return own
        if self.kernel is not None:
            return self.kernel @ own
        self.taxonomy = self.taxonomy.to(own.device)
        placed = own if self.occupant is None else own.index_select(0, self.occupant)
        sums = sums_along_paths(self.gain * placed, self.taxonomy, dim=0)
        return sums if self.place is None else sums.index_select(0, self.place)


class ResidualNodes(Nodes):
    """L2-normalised text ``[N, d]`` through an adapter, and weighted residuals on it: zero-shot at the start."""

    def __init__(self, text: Tensor, adapter: nn.Module, residuals: Residuals | None, ratio: float) -> None:
        super().__init__(text, adapter=adapter)
        self.residuals, self.ratio = residuals, ratio

    @property
    def inherits(self) -> bool:
        return self.residuals is not None and self.residuals.kind == "tree"

    def added(self) -> Tensor | None:
        return None if self.residuals is None else self.ratio * self.residuals()

    def forward(self) -> Tensor:
        assert self.adapter is not None
        adapted: Tensor = self.adapter(self.text)
        added = self.added()
        return adapted if added is None else F.normalize(adapted + added, dim=-1)


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
    """M learnable contexts of some length, class-agnostic, read by the frozen text tower."""

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

    It is made from LatHAdapter's keys, features of the training images and nodes ``[n, d]`` for the start, ids of the
    nodes that may join the candidates as fixed ancestors, and the towers that read ``prompts``.

    Raises:
        UserError: There is no text tower to read them.
    """

    image_centre: Tensor
    text_centre: Tensor
    known: Tensor | None

    def __init__(self, keys: Any, images: Tensor, text: Tensor, known: Tensor, backbone: Backbone | None) -> None:
        super().__init__()
        alike = ("hierarchy", "lca", "temperature", "margin", "neighbours", "max_anchors")
        options = {name: keys[name] for name in alike}
        space = Space(keys.geometry, keys.curvature, keys.clip_radius)
        self.loss = LatentHierarchyLoss(space, **options, per_anchor=keys.triplets_per_anchor)
        self.attributes: ManifoldPoints | SoftPrompts | None = None
        if keys.attributes == "prompts":
            if backbone is None:
                raise UserError(
                    "attributes: prompts needs a text tower, and a feature bundle has none",
                    hint="Use attributes: vectors, or a data card with images and a backbone.",
                )
            self.attributes = SoftPrompts(backbone, keys.num_attributes, keys.context_length)
        self.riemannian = keys.riemannian_features  # points have the metric in their optimiser
        self.register_buffer("image_centre", images.mean(0))
        self.register_buffer("text_centre", text.mean(0))
        self.register_buffer("known", known if keys.known_tree else None, persistent=False)
        self.project = nn.Linear(text.shape[1], keys.dimension, bias=False)
        nn.init.orthogonal_(self.project.weight)
        with torch.no_grad():
            norms = [self.project(x - x.mean(0)).norm(dim=-1).mean() for x in (images, text)]
            self.project.weight *= START_NORM / torch.stack(norms).mean().clamp_min(1e-6)
            if keys.attributes == "vectors":
                start = self._points(spread_points(text, keys.num_attributes), self.text_centre)
                self.attributes = ManifoldPoints(start, self.loss.space)

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

    def _points(self, features: Tensor, centre: Tensor) -> Tensor:
        return self.loss.space.embed(self.project(features - centre), self.riemannian)
