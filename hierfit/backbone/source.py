"""From a name to a folder that holds a whole model: config, weights, tokenizer and preprocessing."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from hierfit.backbone.config import dual_config
from hierfit.errors import UserError

REAL = "openai/clip-vit-base-patch32"
"""A tower for pictures of any kind, where an example is wanted."""
TINY_NOTE = (
    "The backbone `tiny` has seen drawn butterflies only: on other pictures its figures say nothing of a method. "
    f"--data.backbone {REAL} names a real one."
)

_BEFORE = re.compile(r"(?:https?://)?(?:(?:www\.)?huggingface\.co/|hf[-_]hub:|hub:|open_?clip:|clip:)", re.IGNORECASE)
_VIT = re.compile(
    r"(?:openai[/_-])?(?:clip[/_ -]?)?vit[/_ -]?(?P<size>b|l|h|g|bigg|so400m)[/_ -]?(?P<patch>14|16|32)"
    r"(?P<siglip>[/_ -]?siglip)?(?:[@/_ -]?(?P<side>\d{3})(?:px)?)?(?:-quickgelu)?(?:[/,:].*)?",
    re.IGNORECASE,
)
_RESNET = re.compile(r"(?:clip[/_ -]?)?(?:rn|resnet-?)(?:50|101)(?:x\d+)?(?:-quickgelu)?", re.IGNORECASE)
_OPENAI = {
    ("b", "32", None): REAL,
    ("b", "16", None): "openai/clip-vit-base-patch16",
    ("l", "14", None): "openai/clip-vit-large-patch14",
    ("l", "14", "336"): "openai/clip-vit-large-patch14-336",
    ("h", "14", None): "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    ("g", "14", None): "laion/CLIP-ViT-g-14-laion2B-s12B-b42K",
    ("bigg", "14", None): "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
}
_SIGLIP = {"b": "base", "l": "large", "so400m": "so400m"}

BUNDLED = {"tiny": Path(__file__).parent / "tiny_clip"}

_TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",), ("tokenizer.model",))
PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
OPEN_CLIP = "open_clip_config.json"
"""What open_clip describes the towers in."""
OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "model.safetensors", "open_clip_pytorch_model.bin",
                     "pytorch_model.bin")  # fmt: skip
_WEIGHTS, _SHARDS = "model.safetensors", "model.safetensors.index.json"
_SHARED = (
    *(name for files in _TOKENIZERS for name in files),
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
_DOWNLOADED = ("config.json", _WEIGHTS, _SHARDS, "model-*.safetensors", *PREPROCESSING, *_SHARED)
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")
_SECONDS_TO_ANSWER = 3.0


def find_folder(source: str) -> Path:
    """Finds the folder of a backbone, downloading it first where needed.

    Args:
        source: `tiny`, a local folder, or a Hugging Face hub name `owner/name`, `owner/name@revision`.

    Returns:
        A folder that holds every file a backbone needs. A hub model already in the local cache is used as it
        is, without asking the network.

    Raises:
        UserError: Nothing there, files missing, a model type we cannot load, or the hub is out of reach.
    """
    path = BUNDLED.get(source) or Path(source).expanduser()
    if path.is_dir():
        if path.name.startswith("models--") and not (path / "config.json").is_file():
            inside = sorted(path.glob("snapshots/*"))
            raise UserError(
                f"backbone {source!r} is a folder of the hub's cache, which holds the model in a folder below",
                hint=f"Pass {inside[-1]}" if inside else "Its snapshots are missing: download it again.",
            )
        if problems := folder_problems(path):
            whole = "save_pretrained of a model, of its tokenizer and of its image processor together write all of it."
            if settings_file(path) == OPEN_CLIP:
                whole = (
                    "A folder of open_clip needs open_clip_config.json, its weights and its tokenizer; most of its "
                    f"CLIPs share the tokenizer.json of {REAL}."
                )
            raise UserError(f"backbone {source!r}: the folder {path.resolve()} cannot be used", problems, whole)
        return path
    if path.is_file():
        raise UserError(f"backbone {source!r} is a file", hint=f"Pass the folder that holds it: {path.parent}")
    if source in BUNDLED:
        raise UserError(f"the bundled backbone is missing: {path}", hint="Install hierfit again, or `make pretrain`.")
    if meant := hub_name(source):
        raise UserError(
            f"no backbone {source!r} – did you mean {meant!r}?",
            hint="Towers are named as on the Hugging Face hub, where transformers finds them; or by their folder.",
        )
    if is_residual(source):
        raise UserError(
            f"no backbone {source!r}: transformers has CLIP's vision transformers, but no residual networks",
            hint=f"The nearest is {REAL}.",
        )
    if not _HUB_NAME.fullmatch(source):
        raise UserError(
            f"no backbone {source!r}: there is no such folder, and it is not a hub name",
            hint="Use tiny; a folder; or owner/name, like openai/clip-vit-base-patch16.",
        )
    return _from_hub(source)


def settings_file(folder: Path) -> str:
    """Name of the file that describes the towers: open_clip's, where it wrote the folder and transformers did not."""
    return OPEN_CLIP if (folder / OPEN_CLIP).is_file() and not (folder / "config.json").is_file() else "config.json"


def folder_problems(folder: Path) -> list[str]:
    """Everything that keeps a folder from being loaded; empty if it is whole."""
    if settings_file(folder) == OPEN_CLIP:
        from hierfit.backbone.open_clip import config_problems

        config, fault = read_object(folder / OPEN_CLIP)
        problems = [fault] if fault else config_problems(config)
        if not any((folder / name).is_file() for name in OPEN_CLIP_WEIGHTS):
            problems.append("no weights: " + ", or ".join(OPEN_CLIP_WEIGHTS))
        return problems + _tokenizer_problems(folder)
    config, fault = read_object(folder / "config.json")
    problems = [fault] if fault else []
    if not fault:
        dual_config(config, "config.json", problems)
    problems += _weight_problems(folder) + _tokenizer_problems(folder)
    if not any((folder / name).is_file() for name in PREPROCESSING):
        problems.append("no image preprocessing: " + ", or ".join(PREPROCESSING))
    return problems


def _tokenizer_problems(folder: Path) -> list[str]:
    if any(all((folder / name).is_file() for name in files) for files in _TOKENIZERS):
        return []
    return ["no tokenizer: " + ", or ".join(" with ".join(files) for files in _TOKENIZERS)]


def read_object(path: Path) -> tuple[dict[str, Any], str]:
    """Reads a JSON object; the second value says what is wrong with the file, if anything."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, f"no {path.name}"
    except OSError as error:
        return {}, f"{path.name} cannot be opened: {error.strerror}"
    except (ValueError, RecursionError) as error:  # broken JSON, broken UTF-8, or a nest without end
        return {}, f"{path.name} is not valid JSON: {error}"
    return (content, "") if isinstance(content, dict) else ({}, f"{path.name} does not hold a JSON object")


def _weight_problems(folder: Path) -> list[str]:
    if (folder / _SHARDS).is_file():
        index, fault = read_object(folder / _SHARDS)
        if fault or not isinstance(index.get("weight_map"), dict):
            return [fault or f"{_SHARDS} has no weight_map"]
        # Names alone: a path would lead out of the folder.
        return [f"no {name}" for name in weight_files(folder) if name not in os.listdir(folder)]
    if (folder / _WEIGHTS).is_file():
        return []
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
        return [f"no {_WEIGHTS}; pickled weights can run code when opened, so they are not loaded"]
    return [f"no {_WEIGHTS}"]


def weight_files(folder: Path) -> list[str]:
    """Names of the files that hold the weights of transformers' towers."""
    if not (folder / _SHARDS).is_file():
        return [_WEIGHTS]
    return sorted({str(name) for name in read_object(folder / _SHARDS)[0]["weight_map"].values()})


def _from_hub(source: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    name, _, revision = source.partition("@")
    model: dict[str, Any] = {"repo_id": name, "revision": revision or None}
    try:
        patterns = [*_DOWNLOADED, OPEN_CLIP, *OPEN_CLIP_WEIGHTS]
        cached = Path(snapshot_download(**model, allow_patterns=patterns, local_files_only=True))
        if not folder_problems(cached):
            return cached
    except (OSError, ValueError):
        pass  # not in the cache, or only in part; or no valid name, which the hub library explains below
    # What goes wrong on the network raises whatever the HTTP library below huggingface_hub raises, and that
    # library has changed between its versions; so every exception is caught, and shown.
    try:
        # One short question first: a download retries for minutes before it says that there is no network.
        about = HfApi().model_info(name, revision=revision or None, timeout=_SECONDS_TO_ANSWER)
        files = {file.rfilename for file in about.siblings or ()}
        folder = Path(snapshot_download(**model, allow_patterns=_needed(files)))
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or "no answer"
        to = name.rpartition("/")[2]
        raise UserError(
            f"no backbone {source!r}: it is no folder here, not in the hub cache, and cannot be downloaded",
            [f"{type(error).__name__}: {reason}"],
            f"Without network: on another machine run `hf download {name} --local-dir {to}`, copy the folder "
            "here and pass its path. `tiny` is bundled and needs no network.",
        ) from error
    if problems := folder_problems(folder):
        hint = f"If a pull request of the repository adds what is missing, name it: {name}@refs/pr/<number>."
        raise UserError(f"backbone {source!r} cannot be used", problems, hint)
    return folder


def _needed(files: set[str]) -> list[str]:
    """Which of a repository's files to download: one model, where it is there for transformers and for open_clip."""
    if OPEN_CLIP not in files or ("config.json" in files and not files.isdisjoint((_WEIGHTS, _SHARDS))):
        return list(_DOWNLOADED)
    return [OPEN_CLIP, *[name for name in OPEN_CLIP_WEIGHTS if name in files][:1], *_SHARED]


def hub_name(name: str) -> str:
    """The hub's name of a tower: ``ViT-B/32`` is ``openai/clip-vit-base-patch32``; empty where none is known.

    ``hf-hub:owner/name`` and a link lose their beginning; a name without its owner gets it.
    """
    bare = name.strip()
    if before := _BEFORE.match(bare):
        bare = bare[before.end() :].strip("/")
        return hub_name(bare) or bare
    if f"openai/{bare}" in _OPENAI.values():
        return f"openai/{bare}"
    found = _VIT.fullmatch(bare.replace("bigG", "bigg"))
    if found is None:
        return ""
    size, patch, side = found["size"].lower(), found["patch"], found["side"]
    if found["siglip"]:
        return f"google/siglip-{_SIGLIP[size]}-patch{patch}-{side or 224}" if size in _SIGLIP else ""
    return _OPENAI.get((size, patch, side), "")


def is_residual(name: str) -> bool:
    """Whether a name is one of CLIP's residual networks, which have no form in transformers."""
    return bool(_RESNET.fullmatch(name.strip()))
