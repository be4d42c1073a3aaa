"""A backbone as a folder that transformers, and `Backbone.load`, open: updates merged into the weights."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

from hierfit.atomic import whole_folder
from hierfit.backbone.loading import quiet
from hierfit.backbone.model import Backbone
from hierfit.backbone.open_clip import is_open_clip
from hierfit.backbone.source import find_folder
from hierfit.backbone.transform import ImageTransform
from hierfit.errors import UserError
from hierfit.tensors import as_os_error

_WEIGHTS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "*.bin",
    "*.pt",
    "*.h5",
    "*.msgpack",
    "*.onnx",
    "*.md",
)


def save_merged(backbone: Backbone, folder: Path) -> None:
    """Writes the towers with their LoRA updates merged in, and the tokenizer and preprocessing they came with.

    The features equal the adapted towers' up to rounding (below 1e-5). The backbone itself stays as it is.

    Raises:
        UserError: The folder exists already, or what the backbone was loaded from is gone.
    """
    import transformers

    if folder.exists():
        raise UserError(f"{folder} exists already", hint="Name a new folder.")
    source = find_folder(backbone.source)
    with whole_folder(folder) as draft:
        shutil.copytree(source, draft, ignore=shutil.ignore_patterns(*_WEIGHTS))
        model = copy.deepcopy(backbone.model)
        if hasattr(model, "merge_and_unload"):
            model = model.merge_and_unload(safe_merge=True)
        with quiet(transformers), as_os_error(folder):
            model.save_pretrained(draft, safe_serialization=True)
            if is_open_clip(source):
                _processor(backbone.preprocess, model.config.model_type).save_pretrained(draft)


def _processor(transform: ImageTransform, kind: str) -> Any:
    """What prepares pictures in transformers, of a model that open_clip wrote."""
    import transformers

    square = {"height": transform.size, "width": transform.size}
    shared: dict[str, Any] = {
        "image_mean": list(transform.mean), "image_std": list(transform.std), "resample": int(transform.resample)
    }  # fmt: skip
    if transform.shortest_edge is None:
        crop: dict[str, Any] = {"do_center_crop": False} if kind == "clip" else {}
        shared |= {"size": square, **crop}
    else:
        shared |= {"size": {"shortest_edge": transform.shortest_edge}, "crop_size": square}
    name = {"clip": "CLIPImageProcessorPil", "siglip": "SiglipImageProcessorPil"}[kind]
    return getattr(transformers, name)(**shared)
