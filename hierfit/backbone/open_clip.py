"""Folders that open_clip wrote (BioCLIP, LAION, MetaCLIP, DFN, SigLIP), read into the classes of transformers.

Only the weights' names and a few conventions differ; so LoRA, soft prompts, sharding and export work as they do
with any other tower. What has no counterpart there is refused by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hierfit.errors import UserError

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin")

# Settings that are read; with any other value than one of the second entry the towers compute something else.
_VISION: dict[str, tuple[Any, ...]] = {
    "attentional_pool": (False,), "final_ln_after_pool": (False,), "global_average_pool": (False,),
    "input_patchnorm": (False,), "ls_init_value": (None,), "no_ln_pre": (False,), "pool_type": ("tok",),
    "pos_embed_type": ("learnable",), "act_kwargs": (None, {}), "norm_kwargs": (None, {}),
    "timm_proj": (None, "none", ""), "timm_pool": ("map",), "timm_proj_bias": (False,), "block_type": (None, "default"),
}  # fmt: skip
_TEXT: dict[str, tuple[Any, ...]] = {
    "embed_cls": (False,), "hf_model_name": (None,), "ls_init_value": (None,), "act_kwargs": (None, {}),
    "norm_kwargs": (None, {}), "no_causal_mask": (False,), "pool_type": ("argmax",), "proj_bias": (False,),
    "proj_type": ("linear",), "block_type": (None, "default"),
}  # fmt: skip
_SIGLIP_TEXT = _TEXT | {
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

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def is_open_clip(folder: Path) -> bool:
    """Whether a folder holds a model as open_clip writes it, and none as transformers does."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").is_file()


def config_problems(config: Mapping[str, Any]) -> list[str]:
    """Everything in the content of an `open_clip_config.json` that keeps its towers from being built."""
    model = config.get("model_cfg")
    if not isinstance(model, dict):
        return [f"{CONFIG}: no model_cfg"]
    vision, text = model.get("vision_cfg"), model.get("text_cfg")
    if not isinstance(vision, dict) or not isinstance(text, dict):
        return [f"{CONFIG}: model_cfg needs vision_cfg and text_cfg"]
    timm, problems = vision.get("timm_model_name"), []
    if timm is not None and not _TIMM_SIGLIP.fullmatch(str(timm)):
        problems.append(f"{CONFIG}: the image tower {timm!r} of timm has no counterpart in transformers")
    if isinstance(vision.get("layers"), list):
        problems.append(f"{CONFIG}: the image tower is a residual network; vision transformers load")
    if "multimodal_cfg" in model:
        problems.append(f"{CONFIG}: a text decoder (CoCa) has no counterpart in transformers' CLIP")
    of_text = _TEXT if timm is None else _SIGLIP_TEXT
    for name, settings, known in (("vision_cfg", vision, _VISION), ("text_cfg", text, of_text)):
        problems += [
            f"{CONFIG}: {name}.{key}: {value!r} is not supported"
            for key, value in settings.items()
            if key not in _FREE and value not in known.get(key, ())
        ]
        numbers = ("width", "layers") if timm is None or name == "text_cfg" else ()
        problems += [
            f"{CONFIG}: {name}.{key} is {settings.get(key)!r}, no whole number"
            for key in numbers
            if not (type(settings.get(key)) is int and 0 < settings[key] < 10_000)
            and not isinstance(settings.get(key), list)
        ]
    return problems


def load_model(folder: Path, config: Mapping[str, Any], tokenizer: Any, where: str) -> Any:
    """The towers, in fp32.

    Args:
        folder: That of the weights.
        config: Its settings, in which `config_problems` finds nothing.
        tokenizer: Of transformers, for the ids of special tokens.
        where: Shown in errors.

    Raises:
        UserError: Weights are missing, unknown or of another shape.
    """
    import transformers

    settings = config["model_cfg"]
    siglip = "timm_model_name" in settings["vision_cfg"]
    weights = dict(renamed(read_weights(folder), siglip))
    if siglip:
        model: Any = transformers.SiglipModel(_siglip_config(settings, weights, tokenizer))
    else:
        model = transformers.CLIPModel(_clip_config(settings, tokenizer))
    own = model.state_dict()
    problems = [f"{name} is unknown" for name in sorted(weights.keys() - own.keys())]
    problems += [f"{name} is missing" for name in sorted(own.keys() - weights.keys() - {"logit_bias"})]
    problems += [
        f"{name} is {tuple(weights[name].shape)}, but {CONFIG} says {tuple(own[name].shape)}"
        for name in sorted(own.keys() & weights.keys())
        # Scalars and a batch of one are written both ways.
        if weights[name].squeeze().shape != own[name].squeeze().shape
    ]
    if problems:
        raise UserError(f"{where}: the weights do not fit {CONFIG}", problems)
    model.load_state_dict({k: w.float().reshape(own[k].shape) for k, w in weights.items()}, strict=False)
    return model


def preprocessing(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `ImageTransform`, from the same settings."""
    given, vision = config.get("preprocess_cfg") or {}, config["model_cfg"]["vision_cfg"]
    side = _side(given.get("size", vision.get("image_size", 224)))
    siglip, half = "timm_model_name" in vision, (0.5, 0.5, 0.5)
    squash = given.get("resize_mode", "squash" if siglip else "shortest") == "squash"
    return {
        "size": side,
        "shortest_edge": None if squash else side,
        "mean": tuple(given.get("mean", half if siglip else _MEAN)),
        "std": tuple(given.get("std", half if siglip else _STD)),
        "resample": {"bilinear": 2}.get(given.get("interpolation", "bicubic"), 3),
    }


def is_canonical(config: Mapping[str, Any]) -> bool:
    """Whether its tokenizer takes texts without punctuation."""
    text = config.get("model_cfg", {}).get("text_cfg", {})
    return (text.get("tokenizer_kwargs") or {}).get("clean") == "canonicalize"


def _clip_config(settings: Mapping[str, Any], tokenizer: Any) -> Any:
    import transformers

    act = "quick_gelu" if settings.get("quick_gelu") else "gelu"
    vision, text = settings["vision_cfg"], settings["text_cfg"]
    shared = {"hidden_act": act, "layer_norm_eps": 1e-5, "projection_dim": settings["embed_dim"]}
    return transformers.CLIPConfig(
        projection_dim=settings["embed_dim"],
        text_config={
            **shared,
            **_tower(text, text.get("heads", text["width"] // 64)),
            "vocab_size": text.get("vocab_size", 49408),
            "max_position_embeddings": text.get("context_length", 77),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.eos_token_id,
        },
        vision_config={
            **shared,
            **_tower(vision, vision["width"] // vision.get("head_width", 64)),
            "image_size": _side(vision.get("image_size", 224)),
            "patch_size": vision.get("patch_size", 16),
        },
    )


def _siglip_config(settings: Mapping[str, Any], weights: Mapping[str, Tensor], tokenizer: Any) -> Any:
    import transformers

    text, name = settings["text_cfg"], settings["vision_cfg"]["timm_model_name"]
    found = _TIMM_SIGLIP.fullmatch(name)
    assert found is not None
    patches = weights["vision_model.embeddings.patch_embedding.weight"]
    layers = {key.split(".")[3] for key in weights if key.startswith("vision_model.encoder.layers.")}
    return transformers.SiglipConfig(
        text_config={
            **_tower(text, text["heads"]),
            "hidden_act": "gelu_pytorch_tanh" if text.get("act_kwargs") else "gelu",
            "layer_norm_eps": 1e-6,
            "vocab_size": text["vocab_size"],
            "max_position_embeddings": text["context_length"],
            "projection_size": settings["embed_dim"],
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "hidden_size": len(patches),
            "intermediate_size": len(weights["vision_model.encoder.layers.0.mlp.fc1.bias"]),
            "num_hidden_layers": len(layers),
            "num_attention_heads": _TIMM_HEADS[found["size"]],
            "hidden_act": "gelu_pytorch_tanh" if _TANH.fullmatch(name) else "gelu",
            "layer_norm_eps": 1e-6,
            "image_size": settings["vision_cfg"].get("image_size", int(found["side"])),
            "patch_size": patches.shape[-1],
        },
    )


def _side(size: Any) -> int:
    return int(size[0] if isinstance(size, list) else size)


def _tower(settings: Mapping[str, Any], heads: int) -> dict[str, int]:
    width = settings["width"]
    return {
        "hidden_size": width,
        "intermediate_size": int(width * settings.get("mlp_ratio", 4.0)),
        "num_hidden_layers": settings["layers"],
        "num_attention_heads": heads,
    }


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
    r"(?P<tower>visual\.(?:trunk|transformer)|transformer)\.(?:res)?blocks\.(?P<layer>\d+)\.(?P<rest>.+)"
)
_IN_BLOCK = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2", "norm1": "layer_norm1", "norm2": "layer_norm2", "attn.proj": "self_attn.out_proj",
    "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2",
}  # fmt: skip
_FUSED = {f"attn.{name}": last for last in ("weight", "bias") for name in (f"in_proj_{last}", f"qkv.{last}")}


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of the file. A pickled one is read as tensors alone, so that no code can hide in it."""
    path = next(folder / name for name in WEIGHTS if (folder / name).is_file())
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
