"""The weights of an open_clip model under the names that transformers gives them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

WEIGHTS = ("open_clip_model.safetensors", "model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin")

_WHOLE = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.trunk.pos_embed": "vision_model.embeddings.position_embedding.weight",
    "visual.trunk.attn_pool.latent": "vision_model.head.probe",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "logit_scale": "logit_scale",
    "logit_bias": "logit_bias",
}
_BEFORE = {
    "visual.conv1": "vision_model.embeddings.patch_embedding",
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
    "visual.trunk.patch_embed.proj": "vision_model.embeddings.patch_embedding",
    "visual.trunk.norm": "vision_model.post_layernorm",
    "visual.trunk.attn_pool.proj": "vision_model.head.attention.out_proj",
    "visual.trunk.attn_pool.norm": "vision_model.head.layernorm",
    "visual.trunk.attn_pool.mlp.fc1": "vision_model.head.mlp.fc1",
    "visual.trunk.attn_pool.mlp.fc2": "vision_model.head.mlp.fc2",
    "token_embedding": "text_model.embeddings.token_embedding",
    "ln_final": "text_model.final_layer_norm",
}
_BLOCK = re.compile(
    r"(?P<tower>visual\.trunk|visual\.transformer|transformer)\.(?:res)?blocks\.(?P<layer>\d+)\.(?P<rest>.+)"
)
_IN_BLOCK = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2", "norm1": "layer_norm1", "norm2": "layer_norm2", "attn.proj": "self_attn.out_proj",
    "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2",
}  # fmt: skip
_FUSED = {
    "attn.in_proj_weight": "weight",
    "attn.in_proj_bias": "bias",
    "attn.qkv.weight": "weight",
    "attn.qkv.bias": "bias",
}


def weights_of(folder: Path) -> Path | None:
    """The file of the weights: safetensors where there is one."""
    return next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of the file. A pickled one is read as tensors alone, so that no code can hide in it."""
    path = weights_of(folder)
    assert path is not None
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    found: Any = torch.load(path, map_location="cpu", weights_only=True)
    return dict(found.get("state_dict", found))


def renamed(weights: Mapping[str, Tensor], siglip: bool) -> Iterator[tuple[str, Tensor]]:
    """Weights under transformers' names; an unknown one keeps its own."""
    pooled: dict[str, dict[str, Tensor]] = {"weight": {}, "bias": {}}
    for name, tensor in weights.items():
        bare = name.removeprefix("module.").removeprefix("text.")
        head, _, last = bare.rpartition(".")
        block = _BLOCK.fullmatch(bare)
        if bare.endswith("attn_mask"):
            continue
        if bare in _WHOLE:
            yield _WHOLE[bare], tensor
        elif bare == "visual.proj":
            yield "visual_projection.weight", tensor.T
        elif head == "text_projection" or bare == "text_projection":
            to = "text_model.head" if siglip else "text_projection"
            yield f"{to}.{last if head else 'weight'}", tensor if head else tensor.T
        elif head in _BEFORE:
            yield f"{_BEFORE[head]}.{last}", tensor
        elif head in ("visual.trunk.attn_pool.q", "visual.trunk.attn_pool.kv"):
            pooled[last][head.rpartition(".")[2]] = tensor
        elif block is not None:
            yield from _in_block(block, tensor)
        else:
            yield name, tensor
    for last, parts in pooled.items():
        if parts.keys() == {"q", "kv"}:
            yield f"vision_model.head.attention.in_proj_{last}", torch.cat([parts["q"], parts["kv"]])


def _in_block(block: re.Match[str], tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    tower = "text_model" if block["tower"] == "transformer" else "vision_model"
    before, rest = f"{tower}.encoder.layers.{block['layer']}", block["rest"]
    head, _, last = rest.rpartition(".")
    if rest in _FUSED:
        for part, third in zip(("q", "k", "v"), tensor.chunk(3), strict=True):
            yield f"{before}.self_attn.{part}_proj.{_FUSED[rest]}", third
    else:
        yield f"{before}.{_IN_BLOCK.get(head, head)}.{last}", tensor
