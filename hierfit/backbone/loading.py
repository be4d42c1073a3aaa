"""Reads the parts of a backbone from a folder, refuses what would load only in part, and writes a folder again."""

from __future__ import annotations

import copy
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from hierfit.atomic import whole_folder
from hierfit.backbone.config import TRANSFORMERS, DualConfig, dual_config
from hierfit.backbone.source import OPEN_CLIP, PREPROCESSING, find_folder, read_object, settings_file, weight_files
from hierfit.backbone.text import TextInput
from hierfit.backbone.towers import DualEncoder
from hierfit.backbone.transform import ImageTransform
from hierfit.errors import UserError
from hierfit.tensors import misfits, shapes, write_tensors

if TYPE_CHECKING:
    from hierfit.backbone.model import Backbone


def load_parts(source: str) -> tuple[DualEncoder, TextInput, ImageTransform]:
    """Towers, and how texts and pictures are made ready for them.

    Weights are held in fp32 whatever they are stored in, frozen, in eval mode. No code that comes with a model is ever
    run.

    Raises:
        UserError: There is no such backbone, a file is damaged, weights are missing or of another shape, or the parts
            do not fit together.
    """
    folder = find_folder(source)
    where, file = f"backbone {source!r} in {folder}", settings_file(folder)
    tokenizer, settings = _tokenizer(folder, where), read_object(folder / file)[0]
    pictures: Mapping[str, Any] | None = None
    with _as_user_error(where, f"weights or {file}"):
        if file == OPEN_CLIP:
            from hierfit.backbone import open_clip

            weights = open_clip.read_weights(folder, settings)
            settings, pictures = open_clip.translated(settings, weights, tokenizer)
        else:
            weights = {k: tensor for part in weight_files(folder) for k, tensor in load_file(folder / part).items()}
        config = _config_of(settings, file)
        model = _assembled(config, weights, where, file)
    with _as_user_error(where, "image preprocessing"):
        pictures = pictures or _preprocessing(folder)
        preprocess = ImageTransform.of(pictures, config.model_type, config.vision_config.image_size, where)
    return model, _text_input(folder, tokenizer, config, where), preprocess


def load_text(source: str) -> TextInput:
    """The tokeniser of a backbone alone, without its weights; raises `UserError` as `load_parts` does."""
    folder = find_folder(source)
    where, file = f"backbone {source!r} in {folder}", settings_file(folder)
    if file == OPEN_CLIP:
        return load_parts(source)[1]  # some of whose settings only the weights tell
    return _text_input(folder, _tokenizer(folder, where), _config_of(read_object(folder / file)[0], file), where)


def _config_of(settings: Mapping[str, Any], file: str) -> DualConfig:
    problems: list[str] = []
    found = dual_config(settings, file, problems)
    if found is None:
        raise UserError(f"{file} describes no towers that can be built", problems)
    return found


def _assembled(config: DualConfig, weights: dict[str, Tensor], where: str, file: str) -> DualEncoder:
    with torch.device("meta"):  # shapes alone: settings may ask for more than there is memory
        model = DualEncoder(config)
    own = model.state_dict()
    for name in own.keys() & weights.keys():  # scalars and a batch of one are written both ways
        if weights[name].squeeze().shape == own[name].squeeze().shape:
            weights[name] = weights[name].float().reshape(own[name].shape)
    # Other weights of a folder of transformers are of something beside the towers.
    if problems := misfits(shapes(own), shapes(weights), f"but {file} says", strict=file == OPEN_CLIP):
        raise UserError(f"{where}: the weights do not fit {file}", problems)
    model.load_state_dict({name: weights[name] for name in own}, assign=True)
    return model.eval().requires_grad_(False)


def _preprocessing(folder: Path) -> Mapping[str, Any]:
    for name in reversed(PREPROCESSING):
        if (folder / name).is_file():
            settings = json.loads((folder / name).read_text(encoding="utf-8"))
            if name == PREPROCESSING[0] or "image_processor" in settings:
                found: Mapping[str, Any] = settings.get("image_processor", settings)
                return found
    raise ValueError(f"{PREPROCESSING[1]} holds no image_processor")


def _tokenizer(folder: Path, where: str) -> Any:
    import transformers

    logger = logging.getLogger("transformers.configuration_utils")
    was, logger.disabled = logger.disabled, True  # it warns of special-token ids that nothing reads
    try:
        with _as_user_error(where, "tokenizer"):
            return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    finally:
        logger.disabled = was


def _text_input(folder: Path, tokenizer: Any, config: DualConfig, where: str) -> TextInput:
    with _as_user_error(where, "tokenizer"):
        # A folder of open_clip's whose towers were trained on and merged keeps its settings.
        text = read_object(folder / OPEN_CLIP)[0].get("model_cfg", {}).get("text_cfg", {})
        plain = (text.get("tokenizer_kwargs") or {}).get("clean") == "canonicalize"
        return TextInput(tokenizer, config, where, plain)


@contextmanager
def _as_user_error(where: str, part: str) -> Iterator[None]:
    # A damaged file shows as whatever the parser below happens to raise: ValueError, OSError, KeyError,
    # SafetensorError, a validation error of huggingface_hub, a plain Exception from Rust.
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        problem = f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
        if isinstance(error, ImportError):
            hint = "pip install sentencepiece protobuf" if "entencepiece" in str(error).lower() else ""
            raise UserError(f"{where}: the {part} needs a package that is not installed", [problem], hint) from error
        hint = "The file may be damaged; copy it again."
        raise UserError(f"{where}: the {part} cannot be read", [problem], hint) from error


_REPLACED = [
    "*.safetensors", "*.safetensors.index.json", "config.json", "*.bin", "*.pt", "*.h5", "*.msgpack", "*.onnx", "*.md",
]  # fmt: skip


def save_merged(backbone: Backbone, folder: Path) -> None:
    """Writes the towers with their LoRA updates merged in, and the tokenizer and preprocessing they came with.

    The features equal the adapted towers' up to rounding (below 1e-5). The backbone itself stays as it is.

    Raises:
        UserError: The folder exists already, or what the backbone was loaded from is gone.
    """
    if folder.exists():
        raise UserError(f"{folder} exists already", hint="Name a new folder.")
    source = find_folder(backbone.source)
    with whole_folder(folder) as draft:
        shutil.copytree(source, draft, ignore=shutil.ignore_patterns(*_REPLACED))
        model = copy.deepcopy(backbone.model)
        if hasattr(model, "merge_and_unload"):
            model = model.merge_and_unload(safe_merge=True)
        kind = model.config.model_type
        files = {"config.json": {"architectures": [TRANSFORMERS[kind]], "dtype": "float32", **asdict(model.config)}}
        if settings_file(source) == OPEN_CLIP:
            files[PREPROCESSING[0]] = backbone.preprocess.settings(kind)
        for name, content in files.items():
            (draft / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        write_tensors(draft / "model.safetensors", weights, {"format": "pt"})
