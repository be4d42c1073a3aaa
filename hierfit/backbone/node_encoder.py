"""Text features of all nodes: tokenised once, encoded as often as the tower changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from hierfit.backbone.prompts import node_texts
from hierfit.distributed import gather_work, processes, share_of_work

if TYPE_CHECKING:
    from hierfit.backbone.model import Backbone
    from hierfit.taxonomy import Taxonomy


class NodeEncoder(nn.Module):
    """One feature for each node: the mean of its prompts' normalised features, normalised again.

    Prompts that several nodes share are encoded once. Texts of like length share a chunk and are padded to its
    longest. With more than one chunk, training keeps the activations of one chunk at a time and computes the others
    again on the way back: memory is O(chunk) however many nodes there are, for one more forward pass.

    Args:
        backbone: Tokenises; it is not kept.
        prompts: One group of texts for each of the N nodes.
        chunk: Texts that go through the tower at once.
        shared: Each process encodes its share of the texts, and has the others' from them; all must then call it
            together.
    """

    text: Tensor
    node: Tensor

    def __init__(
        self, backbone: Backbone, prompts: Sequence[Sequence[str]], chunk: int = 256, shared: bool = False
    ) -> None:
        super().__init__()
        unique = list(dict.fromkeys(text for group in prompts for text in group))
        self.num_shared = len(unique) if shared else None
        # All but the last of these chunks divide evenly, so texts dealt out chunk by chunk are dealt out in turn.
        order, chunks = backbone.token_chunks(unique, chunk * processes() if shared else chunk)
        if shared:
            chunks = [ids[share_of_work(len(ids))] for ids in chunks]
        position = {unique[row]: place for place, row in enumerate(order)}
        groups = torch.tensor([len(group) for group in prompts])
        self.num_nodes, self.num_chunks = len(prompts), len(chunks)
        for i, ids in enumerate(chunks):
            self.register_buffer(f"ids{i}", ids, persistent=False)
        places = torch.tensor([position[text] for group in prompts for text in group], device=backbone.device)
        self.register_buffer("text", places, persistent=False)
        nodes = torch.arange(len(prompts)).repeat_interleave(groups).to(backbone.device)
        self.register_buffer("node", nodes, persistent=False)

    def forward(self, backbone: Backbone) -> Tensor:
        """L2-normalised features ``[N, d]``, fp32, in node order; gradients reach what is trained of the tower."""
        chunks = [getattr(self, f"ids{i}") for i in range(self.num_chunks)]
        if self.num_chunks > 1 and torch.is_grad_enabled():
            parts = [checkpoint(backbone.encode_tokens, ids, use_reentrant=False) for ids in chunks]
        else:
            parts = [backbone.encode_tokens(ids) for ids in chunks]
        features = torch.cat(parts)
        if self.num_shared is not None:
            features = gather_work(features, self.num_shared)
        sums = features.new_zeros(self.num_nodes, features.shape[1])
        # A sum points where the mean points, and the length is normalised away.
        return F.normalize(sums.index_add(0, self.node, features[self.text]), dim=-1)


def encode_nodes(
    backbone: Backbone, taxonomy: Taxonomy, templates: Mapping[str, Sequence[str]], batch_size: int = 256
) -> Tensor:
    """One text feature for each node: the mean of its prompts' normalised features, normalised again.

    Args:
        backbone: The towers; no gradient reaches them.
        taxonomy: The tree.
        templates: As in `node_texts`.
        batch_size: Texts that go through the tower at once.

    Returns:
        L2-normalised features `[N, d]`, on the backbone's device.
    """
    return encode_texts(backbone, node_texts(taxonomy, templates), batch_size)


@torch.no_grad()
def encode_texts(backbone: Backbone, texts: Sequence[Sequence[str]], batch_size: int = 256) -> Tensor:
    """As `encode_nodes`, of texts that are written already: a group of at least one a node."""
    features: Tensor = NodeEncoder(backbone, texts, batch_size)(backbone)
    return features
