"""A backbone as a folder that transformers, and `Backbone.load`, open: updates merged into the weights."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

from hierfit.atomic import whole_folder
from hierfit.backbone.loading import quiet
from hierfit.backbone.model import Backbone
from hierfit.backbone.source import find_folder
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
