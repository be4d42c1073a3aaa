"""The two towers of CLIP and of SigLIP, in plain torch.

Settings and weights have transformers' names, so that its folders load here and ours load there; features and gradients
are its own, bit for bit. It is not imported: that takes three seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from hierfit.backbone.config import DualConfig, TowerConfig, VisionConfig

_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "gelu": F.gelu,
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
}


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.head_width, self.dropout = width // config.num_attention_heads, config.attention_dropout
        self.k_proj, self.v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.q_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, hidden: Tensor, causal: bool) -> Tensor:
        """``[B, S, w]`` of ``[B, S, w]``."""
        q, k, v = (
            project(hidden).unflatten(-1, (-1, self.head_width)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=causal)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out


class MLP(nn.Module):
    """Two layers, the inner one wider."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.act = config.hidden_act
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[…, w]`` of ``[…, w]``."""
        hidden = self.fc2(_ACTIVATIONS[self.act](self.fc1(hidden)))
        return hidden


class TransformerBlock(nn.Module):
    """One block of a transformer, normalised before each half."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = MLP(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor, causal: bool) -> Tensor:
        """``[B, S, w]`` of ``[B, S, w]``."""
        hidden = hidden + self.self_attn(self.layer_norm1(hidden), causal)
        hidden = hidden + self.mlp(self.layer_norm2(hidden))
        return hidden


class Encoder(nn.Module):
    """The blocks; with ``checkpoints`` training keeps their inputs alone, and computes the rest a second time."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerBlock(config) for _ in range(config.num_hidden_layers))
        self.checkpoints = False

    def forward(self, hidden: Tensor, causal: bool, blocks: slice = slice(None)) -> Tensor:
        """``[B, S, w]`` of ``[B, S, w]``, through some of the blocks."""
        for block in list(self.layers)[blocks]:
            if self.checkpoints and self.training:
                hidden = checkpoint(block, hidden, causal, use_reentrant=False)
            else:
                hidden = block(hidden, causal)
        return hidden


class Kept:
    """Outputs of the frozen blocks below the ``first`` trained one, at least 1, under the hash of each input row.

    The key is the content, so nothing can be stale while these blocks stay frozen, and a row that never comes again (an
    augmented picture) is only never found. Where the budget of bytes is spent, rows are computed as they come. Costs a
    hash of each row: on a GPU that copies the batch back to the host, so it pays where the tower is the slow part.
    """

    def __init__(self, first: int, budget: int) -> None:
        self.first, self._left = first, budget
        self._rows: dict[bytes, Tensor] = {}

    @torch.inference_mode(False)  # what is made in a validation is trained on later
    @torch.no_grad()
    def outputs(self, rows: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        """What the frozen blocks make of rows ``[B, …]``; ``run`` computes it of those that are not known yet."""
        half = b"half" if torch.is_autocast_enabled(rows.device.type) else b""  # the blocks then give other numbers
        keys = [
            hashlib.blake2b(row.contiguous().flatten().view(torch.uint8).numpy().data, digest_size=16, person=half)
            .digest()
            for row in rows.detach().cpu()
        ]  # fmt: skip
        missing = {key: number for number, key in enumerate(keys) if key not in self._rows}
        fresh: dict[bytes, Tensor] = {}
        if missing:
            fresh = dict(zip(missing, run(rows[torch.tensor(list(missing.values()), device=rows.device)]), strict=True))
        found = torch.stack([fresh[key] if key in fresh else self._rows[key] for key in keys])
        for key, hidden in fresh.items():
            if hidden.nbytes <= self._left:
                self._left -= hidden.nbytes
                self._rows[key] = hidden.clone()  # a view would keep its whole batch
        return found


class Tower(nn.Module):
    """What both towers share: rows are embedded, and go through the blocks."""

    encoder: Encoder
    kept: Kept | None = None

    def hidden(self, rows: Tensor, embed: Callable[[Tensor], Tensor], causal: bool) -> Tensor:
        """Last hidden states ``[B, S, w]`` of rows ``[B, …]``."""
        if (kept := self.kept) is None:
            last: Tensor = self.encoder(embed(rows), causal)
        else:
            below = kept.outputs(rows, lambda some: self.encoder(embed(some), causal, slice(kept.first)))
            last = self.encoder(below, causal, slice(kept.first, None))
        return last


def _embedding(rows: int, width: int) -> nn.Embedding:
    # Not drawn: all weights come from a folder, and to draw normal numbers on the device `meta` imports a compiler.
    return nn.Embedding.from_pretrained(torch.empty(rows, width), freeze=False)


class TextTower(Tower):
    """Token ids to one vector a text: CLIP's at its end, of a causal transformer; SigLIP's at the last position."""

    def __init__(self, config: DualConfig) -> None:
        super().__init__()
        own = config.text_config
        self.embeddings: Any = nn.Module()
        self.embeddings.token_embedding = _embedding(own.vocab_size, own.hidden_size)
        self.embeddings.position_embedding = _embedding(own.max_position_embeddings, own.hidden_size)
        self.encoder = Encoder(own)
        self.final_layer_norm = nn.LayerNorm(own.hidden_size, eps=own.layer_norm_eps)
        self.causal, self.end = config.model_type == "clip", own.eos_token_id
        self.head = nn.Identity() if self.causal else nn.Linear(own.hidden_size, config.embed_dim)

    def forward(self, ids: Tensor, context: Tensor | None = None, start: int = 0) -> Tensor:
        """``[T, w]`` of token ids ``[T, S]``; vectors ``context [T, n, w]`` stand in the place of tokens start … ."""

        def embed(ids: Tensor) -> Tensor:
            tokens: Tensor = self.embeddings.token_embedding(ids)
            if context is not None:
                tokens = torch.cat(
                    [tokens[:, :start], context.to(tokens), tokens[:, start + context.shape[1] :]], dim=1
                )
            return tokens + self.embeddings.position_embedding.weight[: ids.shape[1]]

        hidden = self.final_layer_norm(self.hidden(ids, embed, self.causal))
        if not self.causal:
            pooled: Tensor = self.head(hidden[:, -1])
            return pooled
        # The first conversions said 2 whatever the token was; its id is the highest.
        ends = (ids if self.end == 2 else (ids == self.end).int()).argmax(dim=-1)
        pooled = hidden[torch.arange(len(ids), device=ids.device), ends]
        return pooled


class Pooling(nn.Module):
    """SigLIP's: attention of a learned probe over the patches."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.probe = nn.Parameter(torch.zeros(1, 1, width))
        self.attention = nn.MultiheadAttention(width, config.num_attention_heads, batch_first=True)
        self.layernorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.mlp = MLP(config)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[B, w]`` of ``[B, S, w]``."""
        pooled = self.attention(self.probe.repeat(hidden.shape[0], 1, 1), hidden, hidden)[0]
        pooled = pooled + self.mlp(self.layernorm(pooled))
        return pooled[:, 0]


class VisionTower(Tower):
    """Pictures to one vector each: CLIP's at a token of its own, SigLIP's pooled over the patches."""

    def __init__(self, config: DualConfig) -> None:
        super().__init__()
        own, clip = config.vision_config, config.model_type == "clip"
        width, patch = own.hidden_size, own.patch_size
        self.embeddings: Any = nn.Module()
        self.embeddings.register_parameter("class_embedding", nn.Parameter(torch.zeros(width)) if clip else None)
        self.embeddings.patch_embedding = nn.Conv2d(3, width, patch, stride=patch, bias=not clip)
        self.embeddings.position_embedding = _embedding((own.image_size // patch) ** 2 + clip, width)
        self.pre_layrnorm = nn.LayerNorm(width, eps=own.layer_norm_eps) if clip else nn.Identity()  # so they spell it
        self.encoder = Encoder(own)
        self.post_layernorm = nn.LayerNorm(width, eps=own.layer_norm_eps)
        self.head = None if clip else Pooling(own)

    def embed(self, pixels: Tensor) -> Tensor:
        """What enters the first block ``[B, S, w]``, of ``[B, 3, S, S]``."""
        parts = self.embeddings
        patches = parts.patch_embedding(pixels.to(parts.patch_embedding.weight.dtype)).flatten(2).transpose(1, 2)
        if parts.class_embedding is not None:
            patches = torch.cat([parts.class_embedding.expand(pixels.shape[0], 1, -1), patches], dim=1)
        hidden: Tensor = self.pre_layrnorm(patches + parts.position_embedding.weight)
        return hidden

    def forward(self, pixels: Tensor) -> Tensor:
        """``[B, w]`` of ``[B, 3, S, S]``."""
        hidden = self.hidden(pixels, self.embed, causal=False)
        pooled: Tensor = (
            self.post_layernorm(hidden[:, 0]) if self.head is None else self.head(self.post_layernorm(hidden))
        )
        return pooled


class DualEncoder(nn.Module):
    """Both towers, and what takes them into the space they share."""

    def __init__(self, config: DualConfig) -> None:
        super().__init__()
        self.config, clip = config, config.model_type == "clip"
        self.text_model, self.vision_model = TextTower(config), VisionTower(config)
        wide, narrow = config.vision_config.hidden_size, config.text_config.hidden_size
        self.visual_projection = nn.Linear(wide, config.embed_dim, bias=False) if clip else nn.Identity()
        self.text_projection = nn.Linear(narrow, config.embed_dim, bias=False) if clip else nn.Identity()
        self.logit_scale = nn.Parameter(torch.zeros(() if clip else 1))
        self.logit_bias = None if clip else nn.Parameter(torch.zeros(1))

    def image_features(self, pixels: Tensor) -> Tensor:
        """``[B, d]`` of ``[B, 3, S, S]``, of any length."""
        features: Tensor = self.visual_projection(self.vision_model(pixels))
        return features

    def text_features(self, ids: Tensor, context: Tensor | None = None, start: int = 0) -> Tensor:
        """``[T, d]`` of token ids ``[T, S]``, of any length; `context` as in `TextTower`."""
        features: Tensor = self.text_projection(self.text_model(ids, context, start))
        return features
