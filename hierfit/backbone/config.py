"""What decides how towers compute, from the settings that come with their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

from hierfit.config.schema import Place, build

_Size = Annotated[int, Ge(1), Le(1 << 20)]

TRANSFORMERS = {"clip": "CLIPModel", "siglip": "SiglipModel"}
"""Model types that load, and their classes there. A SigLIP 2 of fixed resolution calls itself siglip."""


@dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """What the blocks of a tower are."""

    hidden_size: _Size
    intermediate_size: _Size
    num_hidden_layers: Annotated[int, Ge(1), Le(200)]
    num_attention_heads: _Size
    hidden_act: Literal["quick_gelu", "gelu", "gelu_pytorch_tanh"]
    layer_norm_eps: Annotated[float, Gt(0)]
    attention_dropout: Annotated[float, Ge(0), Lt(1)] = 0.0


@dataclass(frozen=True, kw_only=True)
class TextConfig(TowerConfig):
    """The text tower; a SigLIP's features are ``projection_size`` wide, or else as its tokens are."""

    vocab_size: _Size
    max_position_embeddings: _Size
    bos_token_id: int | None = None
    eos_token_id: int
    pad_token_id: int | None = None
    projection_size: _Size | None = None


@dataclass(frozen=True, kw_only=True)
class VisionConfig(TowerConfig):
    """The image tower."""

    image_size: _Size
    patch_size: _Size


@dataclass(frozen=True, kw_only=True)
class DualConfig:
    """Both towers; ``projection_dim`` is the width of a CLIP's features, and idle in a SigLIP."""

    model_type: Literal["clip", "siglip"]
    text_config: TextConfig
    vision_config: VisionConfig
    projection_dim: _Size = 512

    @property
    def embed_dim(self) -> int:
        """Width d of a feature."""
        if self.model_type == "clip":
            return self.projection_dim
        return self.text_config.projection_size or self.text_config.hidden_size


# What a config.json leaves out, as transformers fills it in.
_BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
_BASE_TEXT = {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 1}
_OF_CLIP = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
_OF_SIGLIP = {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6}
_LEFT_OUT: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "clip": {
        "text_config": {
            **_BASE, **_BASE_TEXT, **_OF_CLIP, "hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8,
            "vocab_size": 49408, "max_position_embeddings": 77,
        },
        "vision_config": {**_BASE, **_OF_CLIP, "image_size": 224, "patch_size": 32},
    },
    "siglip": {
        "text_config": {**_BASE, **_BASE_TEXT, **_OF_SIGLIP, "vocab_size": 32000, "max_position_embeddings": 64},
        "vision_config": {**_BASE, **_OF_SIGLIP, "image_size": 224, "patch_size": 16},
    },
}  # fmt: skip


def dual_config(given: Mapping[str, Any], file: str, problems: list[str]) -> DualConfig | None:
    """The settings in the content of a transformers ``config.json``; None, and every fault added to ``problems`` with
    the file's name, where they keep towers from being built."""
    kind, before = given.get("model_type"), len(problems)
    if not isinstance(kind, str) or kind not in TRANSFORMERS:
        problems.append(f"{file}: model_type {kind!r:.60} is not supported; these are: {', '.join(TRANSFORMERS)}")
        return None
    if given.get("quantization_config"):
        problems.append(f"{file}: its weights are quantised")
    settings: dict[str, Any] = {"model_type": kind, "projection_dim": given.get("projection_dim", 512)}
    owners: dict[str, type[TowerConfig]] = {"text_config": TextConfig, "vision_config": VisionConfig}
    for name, owner in owners.items():
        parts = [given.get(key) or {} for key in (name, f"{name}_dict")]  # old files have both, and the second decides
        if not all(isinstance(part, dict) for part in parts):
            problems.append(f"{file}: {name} does not hold keys and values")
            return None
        whole = {**_LEFT_OUT[kind][name], **parts[0], **parts[1]}
        settings[name] = {field.name: whole[field.name] for field in fields(owner) if field.name in whole}
        if whole.get("vision_use_head", True) is False:
            problems.append(f"{file}: this SigLIP has no pooling head, so it gives no image feature")
    found = build(DualConfig, settings, Place(Path(file)), problems)
    for name in owners if found else ():
        tower: TowerConfig = getattr(found, name)
        if tower.hidden_size % tower.num_attention_heads:
            problems.append(f"{file}: {name}: {tower.num_attention_heads} heads do not divide {tower.hidden_size}")
    return found if len(problems) == before else None
