"""Records what open_clip itself gives for small random towers; run by hand, where open_clip_torch is installed.

    python tests/unit/backbone/open_clip/record.py

The files beside this one were made by open_clip_torch 3.3.0, timm 1.0.31, torch 2.13.0 on a CPU.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from open_clip.model import CLIP, CustomTextCLIP
from safetensors.torch import save_file

HERE = Path(__file__).parent
VISION = {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8}
TEXT = {"context_length": 12, "vocab_size": 40, "width": 16, "heads": 2, "layers": 2}
SIGLIP = {
    "context_length": 10, "vocab_size": 40, "width": 16, "heads": 2, "layers": 2, "no_causal_mask": True,
    "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}, "act_kwargs": {"approximate": "tanh"},
    "tokenizer_kwargs": {"clean": "canonicalize"}, "hf_tokenizer_name": "timm/ViT-B-16-SigLIP2",
}  # fmt: skip
TIMM = {
    "image_size": 32, "timm_model_name": "vit_base_patch16_siglip_224", "timm_model_pretrained": False,
    "timm_pool": "map", "timm_proj": "none",
}  # fmt: skip
MODELS: dict[str, tuple[type, dict[str, Any]]] = {
    "quick": (CLIP, {"embed_dim": 8, "quick_gelu": True, "vision_cfg": VISION, "text_cfg": TEXT}),
    "custom": (CustomTextCLIP, {"embed_dim": 8, "vision_cfg": VISION | {"mlp_ratio": 3.0}, "text_cfg": TEXT}),
    "siglip": (
        CustomTextCLIP,
        {"embed_dim": 24, "init_logit_bias": -10, "vision_cfg": TIMM, "text_cfg": SIGLIP},
    ),
}


def record(name: str, kind: type, settings: dict[str, Any]) -> None:
    """Writes settings, weights, inputs and features of one model."""
    torch.manual_seed(len(name))
    model = kind(**{k: v for k, v in settings.items() if k != "custom_text"}).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3) if weight.ndim else None
    text = settings["text_cfg"]
    pixels = torch.randn(3, 3, 32, 32)
    ids = torch.randint(4, text["vocab_size"] - 1, (4, text["context_length"]))
    if name != "siglip":  # the end-of-text token is the highest id; what stands behind it has no say
        for row, end in enumerate((3, 5, 8, text["context_length"] - 1)):
            ids[row, end] = text["vocab_size"] - 1
            ids[row, end + 1 :] = 0
    with torch.inference_mode():
        found = {
            "pixels": pixels,
            "ids": ids,
            "image": model.encode_image(pixels, normalize=True),
            "text": model.encode_text(ids, normalize=True),
        }
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    weights = {k: v.contiguous() for k, v in model.state_dict().items()}
    if name == "quick":
        torch.save(weights, folder / "open_clip_pytorch_model.bin")
    else:
        save_file(weights, folder / "open_clip_model.safetensors")
    save_file({k: v.contiguous() for k, v in found.items()}, folder / "recorded.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": settings}, indent=1) + "\n")


def main() -> None:
    """Records all."""
    create = timm.create_model

    def small(name: str, *args: Any, **kwargs: Any) -> Any:
        return create(name, *args, **kwargs, embed_dim=24, depth=2, patch_size=8, img_size=32)

    timm.create_model = open_clip.timm_model.timm.create_model = small
    for name, (kind, settings) in MODELS.items():
        record(name, kind, settings)


if __name__ == "__main__":
    main()
