"""Folders that open_clip wrote (BioCLIP, LAION, MetaCLIP, DFN, SigLIP): settings and weights under transformers' names.

Only names and a few conventions differ. What has no counterpart there is refused by its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from hierfit.backbone.source import OPEN_CLIP, OPEN_CLIP_WEIGHTS
from hierfit.backbone.transform import CLIP_MEAN, CLIP_STD

# Settings that are read; with any other value than one of the second entry the towers compute something else.
_VISION_KNOWN: dict[str, tuple[Any, ...]] = {
    "attentional_pool": (False,), "final_ln_after_pool": (False,), "global_average_pool": (False,),
    "input_patchnorm": (False,), "ls_init_value": (None,), "no_ln_pre": (False,), "pool_type": ("tok",),
    "pos_embed_type": ("learnable",), "act_kwargs": (None, {}), "norm_kwargs": (None, {}),
    "timm_proj": (None, "none", ""), "timm_pool": ("map",), "timm_proj_bias": (False,), "block_type": (None, "default"),
}  # fmt: skip
_TEXT_KNOWN: dict[str, tuple[Any, ...]] = {
    "embed_cls": (False,), "hf_model_name": (None,), "ls_init_value": (None,), "act_kwargs": (None, {}),
    "norm_kwargs": (None, {}), "no_causal_mask": (False,), "pool_type": ("argmax",), "proj_bias": (False,),
    "proj_type": ("linear",), "block_type": (None, "default"),
}  # fmt: skip
_SIGLIP_TEXT_KNOWN = _TEXT_KNOWN | {
    "no_causal_mask": (True,), "pool_type": ("last",), "proj_bias": (True,),
    "norm_kwargs": ({"eps": 1e-6},), "act_kwargs": (None, {}, {"approximate": "tanh"}),
}  # fmt: skip
_FREE = {
    "image_size", "layers", "width", "patch_size", "head_width", "heads", "mlp_ratio", "patch_dropout",
    "context_length", "vocab_size", "hf_tokenizer_name", "tokenizer_kwargs", "timm_model_name", "timm_model_pretrained",
    "timm_drop", "timm_drop_path", "output_tokens", "pad_id", "eos_id", "bos_id", "hf_proj_type", "hf_pooler_type",
}  # fmt: skip

_TIMM_SIGLIP = re.compile(r"vit_(?P<size>base|large|so400m|giantopt)_patch(?P<patch>\d+)_siglip_(?P<side>\d+)")
_TIMM_HEADS = {"base": 12, "large": 16, "so400m": 16, "giantopt": 16}
_TANH = re.compile(r"vit_(base_patch32_siglip_256|large_patch16_siglip_512|so400m_patch16_siglip_.*|giantopt_.*)")
"""timm's SigLIP towers with the approximate GELU (as of 1.0.31); the others take the exact one."""


def config_problems(config: Mapping[str, Any]) -> list[str]:
    """Everything in the content of an `open_clip_config.json` that keeps its towers from being built."""
    model = config.get("model_cfg")
    if not isinstance(model, dict):
        return [f"{OPEN_CLIP}: no model_cfg"]
    vision, text = model.get("vision_cfg"), model.get("text_cfg")
    if not isinstance(vision, dict) or not isinstance(text, dict):
        return [f"{OPEN_CLIP}: model_cfg needs vision_cfg and text_cfg"]
    timm, problems = vision.get("timm_model_name"), []
    if timm is not None and not _TIMM_SIGLIP.fullmatch(str(timm)):
        problems.append(f"{OPEN_CLIP}: the image tower {timm!r} of timm has no counterpart in transformers")
    if isinstance(vision.get("layers"), list):
        problems.append(f"{OPEN_CLIP}: the image tower is a residual network; vision transformers load")
    if "multimodal_cfg" in model:
        problems.append(f"{OPEN_CLIP}: a text decoder (CoCa) has no counterpart in transformers' CLIP")
    of_text = _TEXT_KNOWN if timm is None else _SIGLIP_TEXT_KNOWN
    for name, settings, known in (("vision_cfg", vision, _VISION_KNOWN), ("text_cfg", text, of_text)):
        problems += [
            f"{OPEN_CLIP}: {name}.{key}: {value!r} is not supported"
            for key, value in settings.items()
            if key not in _FREE and value not in known.get(key, ())
        ]
        problems += [
            f"{OPEN_CLIP}: {name}.{key} is {settings.get(key)!r}, no whole number"
            for key in (("width", "layers") if timm is None or name == "text_cfg" else ())
            if type(settings.get(key)) not in (int, list)
        ]
    return problems


def translated(
    config: Mapping[str, Any], weights: Mapping[str, Tensor], tokenizer: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sound settings as a ``config.json`` of transformers says them, and those of pictures as its image processors' do.

    Of timm's towers the weights alone, as `read_weights` gives them, tell the size; a tokenizer the special tokens.
    """
    settings = config["model_cfg"]
    vision, text, timm = settings["vision_cfg"], settings["text_cfg"], settings["vision_cfg"].get("timm_model_name")
    tokens = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    if timm is None:
        shared = {"hidden_act": "quick_gelu" if settings.get("quick_gelu") else "gelu", "layer_norm_eps": 1e-5}
        of_vision = {
            **_size_of(vision, vision["width"] // vision.get("head_width", 64)),
            "patch_size": vision.get("patch_size", 16),
        }
        heads, side = text.get("heads", text["width"] // 64), vision.get("image_size", 224)
        of_pictures: dict[str, Any] = {"mean": CLIP_MEAN, "std": CLIP_STD, "resize_mode": "shortest"}
    else:
        found = _TIMM_SIGLIP.fullmatch(timm)
        assert found is not None
        patches = weights["vision_model.embeddings.patch_embedding.weight"]
        shared = {"hidden_act": "gelu_pytorch_tanh" if text.get("act_kwargs") else "gelu", "layer_norm_eps": 1e-6}
        of_vision = {
            "hidden_size": len(patches),
            "intermediate_size": len(weights["vision_model.encoder.layers.0.mlp.fc1.bias"]),
            "num_hidden_layers": len({key.split(".")[3] for key in weights if key.startswith(_LAYERS)}),
            "num_attention_heads": _TIMM_HEADS[found["size"]],
            "patch_size": patches.shape[-1],
            "hidden_act": "gelu_pytorch_tanh" if _TANH.fullmatch(timm) else "gelu",
        }
        heads, side = text["heads"], vision.get("image_size", int(found["side"]))
        of_pictures = {"mean": 0.5, "std": 0.5, "resize_mode": "squash"}
    given = {"size": side, **of_pictures, **(config.get("preprocess_cfg") or {})}
    whole = _one_side(given["size"])
    pictures = {
        "size": {"height": whole, "width": whole} if given["resize_mode"] == "squash" else {"shortest_edge": whole},
        "crop_size": whole,
        "do_center_crop": True,
        "image_mean": given["mean"],
        "image_std": given["std"],
        "resample": 2 if given.get("interpolation") == "bilinear" else 3,
    }
    of_text = {
        "vocab_size": text.get("vocab_size", 49408),
        "max_position_embeddings": text.get("context_length", 77),
        "projection_size": settings["embed_dim"],
    }
    return {
        "model_type": "clip" if timm is None else "siglip",
        "projection_dim": settings["embed_dim"],
        "text_config": {**shared, **tokens, **_size_of(text, heads), **of_text},
        "vision_config": {**shared, **of_vision, "image_size": _one_side(side)},
    }, pictures


def _one_side(size: Any) -> int:
    return int(size[0] if isinstance(size, list) else size)


def _size_of(settings: Mapping[str, Any], heads: int) -> dict[str, int]:
    width = settings["width"]
    return {
        "hidden_size": width,
        "intermediate_size": int(width * settings.get("mlp_ratio", 4.0)),
        "num_hidden_layers": settings["layers"],
        "num_attention_heads": heads,
    }


_LAYERS = "vision_model.encoder.layers."
_RENAMED = {
    r"^(module\.)?(text\.)?": "",
    r"^visual\.(transformer\.resblocks|trunk\.blocks)\.": "vision_model.encoder.layers.",
    r"^transformer\.resblocks\.": "text_model.encoder.layers.",
    r"^visual\.class_embedding$": "vision_model.embeddings.class_embedding",
    r"^visual\.(conv1|trunk\.patch_embed\.proj)\.": "vision_model.embeddings.patch_embedding.",
    r"^visual\.(positional_embedding|trunk\.pos_embed)$": "vision_model.embeddings.position_embedding.weight",
    r"^visual\.ln_pre\.": "vision_model.pre_layrnorm.",
    r"^visual\.(ln_post|trunk\.norm)\.": "vision_model.post_layernorm.",
    r"^visual\.proj$": "visual_projection",
    r"^visual\.trunk\.attn_pool\.latent$": "vision_model.head.probe",
    r"^visual\.trunk\.attn_pool\.norm\.": "vision_model.head.layernorm.",
    r"^visual\.trunk\.attn_pool\.mlp\.": "vision_model.head.mlp.",
    r"^visual\.trunk\.attn_pool\.proj\.": "vision_model.head.attention.out_proj.",
    r"^visual\.trunk\.attn_pool\.(q|kv)\.": r"vision_model.head.attention.\1.",
    r"^token_embedding\.": "text_model.embeddings.token_embedding.",
    r"^positional_embedding$": "text_model.embeddings.position_embedding.weight",
    r"^ln_final\.": "text_model.final_layer_norm.",
    r"(\.layers\.\d+)\.(?:ln_|norm)([12])\.": r"\1.layer_norm\2.",
    r"(\.layers\.\d+)\.attn\.(?:out_)?proj\.": r"\1.self_attn.out_proj.",
    r"(\.layers\.\d+)\.attn\.(?:in_proj_|qkv\.)": r"\1.self_attn.qkv.",
    r"(\.layers\.\d+)\.mlp\.c_fc\.": r"\1.mlp.fc1.",
    r"(\.layers\.\d+)\.mlp\.c_proj\.": r"\1.mlp.fc2.",
}
"""What of a weight's name becomes what, of open_clip's towers and timm's; applied in this order."""


def read_weights(folder: Path, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """All tensors of the file under transformers' names; one that no rule knows keeps its own.

    A pickled file is read as tensors alone, so that no code can hide in it.
    """
    path = next(folder / name for name in OPEN_CLIP_WEIGHTS if (folder / name).is_file())
    if path.suffix == ".safetensors":
        given: Any = load_file(path)
    else:
        given = torch.load(path, map_location="cpu", weights_only=True)
        given = given.get("state_dict", given)
    siglip, found = "timm_model_name" in config["model_cfg"]["vision_cfg"], dict[str, Tensor]()
    for name, tensor in given.items():
        for pattern, new in _RENAMED.items():
            name = re.sub(pattern, new, name)
        if name in ("visual_projection", "text_projection"):  # parameters there, turned round
            name, tensor = f"{name}.weight", tensor.T
        if siglip and name.startswith("text_projection."):
            name = name.replace("text_projection", "text_model.head")
        before, fused, last = name.partition(".qkv.")
        if fused:
            found |= {f"{before}.{x}_proj.{last}": part for x, part in zip("qkv", tensor.chunk(3), strict=True)}
        elif not name.endswith("attn_mask"):
            found[name] = tensor
    for last in ("weight", "bias"):
        q, kv = (f"vision_model.head.attention.{part}.{last}" for part in ("q", "kv"))
        if q in found and kv in found:
            found[f"vision_model.head.attention.in_proj_{last}"] = torch.cat([found.pop(q), found.pop(kv)])
    if siglip:
        found.setdefault("logit_bias", torch.zeros(1))
    return {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in found.items()}
