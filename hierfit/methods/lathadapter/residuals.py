"""How a node comes by its residual: its own, its ancestors' along the tree, or its neighbours' by text."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierfit.methods.nodes import Nodes
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.shuffle import shuffled_places

Residual = Literal["class", "tree", "text"]


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
        scale: s, of ``text``.
        shuffle: Of ``tree``: seed of `shuffled_places`; None shares along the tree as it is.
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
        place = shuffled_places(taxonomy, shuffle) if kind == "tree" and shuffle is not None else None
        occupant = None if place is None else place.argsort()
        if place is not None and occupant is not None:
            # A vector is trained where images lie below it on the way its vector is shared.
            trained = _with_ancestors(trained[occupant], taxonomy)[place]
        self.register_buffer("place", place, persistent=False)
        self.register_buffer("occupant", occupant, persistent=False)
        self.kind = kind
        self.taxonomy = taxonomy
        self.vectors = nn.Parameter(torch.zeros_like(text))
        self.register_buffer("trained", trained[:, None].to(text.dtype), persistent=False)
        gain = taxonomy.num_leaves_below[:, None].to(text.dtype) ** -0.5
        self.register_buffer("gain", gain, persistent=False)
        kernel = _kernel(text, trained, taxonomy, scale) if kind == "text" else None
        self.register_buffer("kernel", kernel, persistent=False)

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
        levels = list((self.gain * placed).split(self.taxonomy.level_sizes))
        for depth, nodes in enumerate(self.taxonomy.level_slices[1:], 1):
            above = self.taxonomy.level_slices[depth - 1]
            parent = self.taxonomy.parent[nodes] - above.start
            levels[depth] = levels[depth] + levels[depth - 1].index_select(0, parent)
        sums = torch.cat(levels)
        return sums if self.place is None else sums.index_select(0, self.place)


class ResidualNodes(Nodes):
    """Text through an adapter, and residuals on it: zero-shot before the first step.

    Args:
        text: L2-normalised node features ``[N, d]``.
        adapter: Carries to nodes that get no residual, too.
        residuals: None for none.
        ratio: Their weight.
    """

    def __init__(self, text: Tensor, adapter: nn.Module, residuals: Residuals | None, ratio: float) -> None:
        super().__init__(text, adapter=adapter)
        self.residuals, self.ratio = residuals, ratio

    @property
    def inherits(self) -> bool:
        """Along the tree."""
        return self.residuals is not None and self.residuals.kind == "tree"

    def added(self) -> Tensor | None:
        """The weighted residuals ``[N, d]``."""
        return None if self.residuals is None else self.ratio * self.residuals()

    def forward(self) -> Tensor:
        """Adapted node features ``t′ [N, d]``, L2-normalised."""
        assert self.adapter is not None
        adapted: Tensor = self.adapter(self.text)
        added = self.added()
        return adapted if added is None else F.normalize(adapted + added, dim=-1)


def _with_ancestors(nodes: Tensor, taxonomy: Taxonomy) -> Tensor:
    """These nodes ``[N]`` bool and all above them."""
    paths = taxonomy.paths(nodes.nonzero()[:, 0])
    found = torch.zeros_like(nodes)
    found[paths[paths >= 0]] = True
    return found


def _kernel(text: Tensor, trained: Tensor, taxonomy: Taxonomy, scale: float) -> Tensor:
    same_level = taxonomy.level[:, None] == taxonomy.level
    likeness = (scale * text @ text.T).masked_fill(~(same_level & trained), -torch.inf)
    # A level without a trained node has nothing to give.
    return likeness.softmax(dim=1).nan_to_num(0.0)
