"""Reads the parts of a backbone from a folder, refuses what would load only in part, and writes a folder again."""

from __future__ import annotations

import copy
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from hierfit.atomic import whole_folder
from hierfit.backbone.open_clip import CONFIG, is_canonical, is_open_clip, load_model, preprocessing
from hierfit.backbone.source import SUPPORTED, find_folder, read_json
from hierfit.backbone.text import TextInput
from hierfit.backbone.transform import ImageTransform
from hierfit.errors import UserError
from hierfit.tensors import as_os_error

if TYPE_CHECKING:
    from hierfit.backbone.model import Backbone


class Parts(NamedTuple):
    """A model of transformers, and how pictures and texts are made ready for it."""

    model: Any
    text: TextInput
    preprocess: ImageTransform


def load_parts(folder: Path, source: str) -> Parts:
    """Loads a folder that `find_folder` has found to be whole.

    Weights are safetensors only, held in fp32 whatever they are stored in, frozen, in eval mode. No code that
    comes with a model is ever run.

    Args:
        folder: Where the files are.
        source: Name the user gave, shown in errors.

    Raises:
        UserError: A file is damaged, weights are missing or of another shape, or the parts do not fit
            together.
    """
    import transformers

    where = f"backbone {source!r} in {folder}"
    if is_open_clip(folder):
        return _load_open_clip(folder, where)
    kind = read_json(folder / "config.json")[0]["model_type"]
    local: dict[str, Any] = {"local_files_only": True}
    with _as_user_error(where, "weights or config.json"), quiet(transformers):
        model, report = getattr(transformers, SUPPORTED[kind]).from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, ignore_mismatched_sizes=True,
            output_loading_info=True, **local,
        )  # fmt: skip
    problems = [f"{name} is missing" for name in sorted(report["missing_keys"])]
    problems += [f"{name} is {tuple(stored)}, but config.json says {tuple(expected)}"
                 for name, stored, expected in sorted(report["mismatched_keys"])]  # fmt: skip
    if problems:
        raise UserError(f"{where}: the weights do not fit the config", problems)
    if getattr(model.config.vision_config, "vision_use_head", True) is False:
        raise UserError(f"{where}: this SigLIP has no pooling head, so it gives no image feature")
    text = _load_text(folder, model.config, where)
    processor_class = {"clip": "CLIPImageProcessorPil", "siglip": "SiglipImageProcessorPil"}[kind]
    with _as_user_error(where, "image preprocessing"):
        processor = getattr(transformers, processor_class).from_pretrained(folder, **local)
        preprocess = ImageTransform.from_processor(processor, model.config.vision_config.image_size, where)
    return Parts(model.eval().requires_grad_(False), text, preprocess)


def _load_open_clip(folder: Path, where: str) -> Parts:
    import transformers

    settings = read_json(folder / CONFIG)[0]
    with _as_user_error(where, "tokenizer"), quiet(transformers):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    with _as_user_error(where, "weights or settings"):
        model = load_model(folder, settings, tokenizer, where)
    text = TextInput(tokenizer, model.config, where, plain=is_canonical(settings))
    return Parts(model.eval().requires_grad_(False), text, ImageTransform(**preprocessing(settings)))


def load_text(source: str) -> TextInput:
    """The tokeniser of a backbone alone, without its weights; raises `UserError` as `load_parts` does."""
    import transformers

    folder = find_folder(source)
    where = f"backbone {source!r} in {folder}"
    if is_open_clip(folder):
        return _load_open_clip(folder, where).text
    with _as_user_error(where, "config.json"), quiet(transformers):
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    return _load_text(folder, config, where)


def _load_text(folder: Path, config: Any, where: str) -> TextInput:
    import transformers

    with _as_user_error(where, "tokenizer"), quiet(transformers):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        # A folder of open_clip's whose towers were trained on and merged keeps its settings.
        settings = read_json(folder / CONFIG)[0] if (folder / CONFIG).is_file() else {}
        return TextInput(tokenizer, config, where, plain=is_canonical(settings))


@contextmanager
def _as_user_error(where: str, part: str) -> Iterator[None]:
    # A damaged file shows as whatever the parser below happens to raise: ValueError, OSError, KeyError,
    # SafetensorError, a validation error of huggingface_hub, a plain Exception from Rust.
    try:
        yield
    except UserError:
        raise
    except ImportError as error:
        needed = "sentencepiece protobuf" if "entencepiece" in str(error).lower() else ""
        hint = f"pip install {needed}" if needed else ""
        raise UserError(f"{where}: the {part} needs a package that is not installed", [_first(error)], hint) from error
    except Exception as error:
        raise UserError(
            f"{where}: the {part} cannot be read", [_first(error)], "The file may be damaged; copy it again."
        ) from error


def _first(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


class _Hide(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        # The table of missing and misshapen weights becomes a UserError. SigLIP's configs name special-token
        # ids beyond their vocabulary, which its towers never look at.
        return "LOAD REPORT" not in message and not (
            message.startswith("Model config:") and "_token_id must be" in message
        )


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """Hides the progress bar of reading and writing local weights, and two notes known to be harmless here."""
    bars = transformers.utils.logging
    loggers = [logging.getLogger(f"transformers.{name}") for name in ("modeling_utils", "configuration_utils")]
    hide, had_bars = _Hide(), bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    for logger in loggers:
        logger.addFilter(hide)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(hide)
        if had_bars:
            bars.enable_progress_bar()


_REPLACED = [
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "*.bin",
    "*.pt",
    "*.h5",
    "*.msgpack",
    "*.onnx",
    "*.md",
]


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
        shutil.copytree(source, draft, ignore=shutil.ignore_patterns(*_REPLACED))
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
