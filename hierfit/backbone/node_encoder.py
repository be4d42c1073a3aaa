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
        n_context: Vectors of a soft prompt before each text.
        own: Whether each text has a soft prompt of its own; texts that are alike are then different ones.
    """

    text: Tensor
    node: Tensor

    def __init__(
        self,
        backbone: Backbone,
        prompts: Sequence[Sequence[str]],
        chunk: int = 256,
        shared: bool = False,
        n_context: int = 0,
        own: bool = False,
    ) -> None:
        super().__init__()
        texts = [text for group in prompts for text in group]
        unique = texts if own else list(dict.fromkeys(texts))
        self.num_shared = len(unique) if shared else None
        # All but the last of these chunks divide evenly, so texts dealt out chunk by chunk are dealt out in turn.
        order, chunks = backbone.token_chunks(unique, chunk * processes() if shared else chunk, n_context)
        places = torch.tensor(order, device=backbone.device)
        self.num_nodes, self.num_chunks = len(prompts), len(chunks)
        for i, (ids, rows) in enumerate(zip(chunks, places.split(list(map(len, chunks))), strict=True)):
            mine = share_of_work(len(ids)) if shared else slice(None)
            self.register_buffer(f"ids{i}", ids[mine], persistent=False)
            self.register_buffer(f"rows{i}", rows[mine] if own else None, persistent=False)
        at = {unique[row]: place for place, row in enumerate(order)}
        where = places.argsort() if own else torch.tensor([at[text] for text in texts], device=backbone.device)
        self.register_buffer("text", where, persistent=False)
        groups = torch.tensor([len(group) for group in prompts])
        nodes = torch.arange(len(prompts)).repeat_interleave(groups).to(backbone.device)
        self.register_buffer("node", nodes, persistent=False)

    def forward(self, backbone: Backbone, context: Tensor | None = None) -> Tensor:
        """L2-normalised features ``[N, d]``, fp32, in node order; gradients reach what is trained of the tower, and the
        soft prompts ``[1, n, w]``, or ``[T, n, w]`` of T texts of their own."""
        parts, again = [], self.num_chunks > 1 and torch.is_grad_enabled()
        for i in range(self.num_chunks):
            ids, rows = getattr(self, f"ids{i}"), getattr(self, f"rows{i}")
            vectors = context if context is None or rows is None else context.index_select(0, rows)
            if again:
                parts.append(checkpoint(backbone.encode_tokens, ids, vectors, use_reentrant=False))
            else:
                parts.append(backbone.encode_tokens(ids, vectors))
        features = torch.cat(parts)
        if self.num_shared is not None:
            features = gather_work(features, self.num_shared)
        sums = features.new_zeros(self.num_nodes, features.shape[1])
        # A sum points where the mean points, and the length is normalised away.
        return F.normalize(sums.index_add(0, self.node, features[self.text]), dim=-1)


def encode_nodes(
    backbone: Backbone, taxonomy: Taxonomy, templates: Mapping[str, Sequence[str]], batch_size: int = 256
) -> Tensor:
    """L2-normalised text features `[N, d]` of the nodes of a tree, from templates as in `node_texts`."""
    return encode_texts(backbone, node_texts(taxonomy, templates), batch_size)


@torch.no_grad()
def encode_texts(backbone: Backbone, texts: Sequence[Sequence[str]], batch_size: int = 256) -> Tensor:
    """L2-normalised features `[N, d]`, on the backbone's device: of each group of texts the mean of their normalised
    features, normalised again. No gradient reaches the towers."""
    features: Tensor = NodeEncoder(backbone, texts, batch_size)(backbone)
    return features
