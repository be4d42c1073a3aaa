"""From a name to a folder that holds a whole model: config, weights, tokenizer and preprocessing."""

from __future__ import annotations

import json
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
BUNDLED = {"tiny": Path(__file__).parent / "tiny_clip"}

TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",), ("tokenizer.model",))
PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
WEIGHTS, SHARDS = "model.safetensors", "model.safetensors.index.json"
OPEN_CLIP = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = (
    "open_clip_model.safetensors", WEIGHTS, "open_clip_pytorch_model.bin", "pytorch_model.bin",
)  # fmt: skip


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
    from hierfit.backbone.hub import downloaded

    return downloaded(source)


def settings_file(folder: Path) -> str:
    """Name of the file that describes the towers: open_clip's, where it wrote the folder and transformers did not."""
    theirs = (folder / OPEN_CLIP).is_file() and not (folder / "config.json").is_file()
    return OPEN_CLIP if theirs else "config.json"


def folder_problems(folder: Path) -> list[str]:
    """Everything that keeps a folder from being loaded; empty if it is whole."""
    file, there = settings_file(folder), {path.name for path in folder.glob("*") if path.is_file()}
    settings, fault = read_object(folder / file)
    problems = [fault] if fault else []
    weights: tuple[tuple[str, ...], ...] = ((WEIGHTS,), (SHARDS,))
    if file == OPEN_CLIP:
        from hierfit.backbone.open_clip import config_problems

        problems += [] if fault else config_problems(settings)
        weights = tuple((name,) for name in OPEN_CLIP_WEIGHTS)
    else:
        if not fault:
            dual_config(settings, file, problems)
        if SHARDS in there:
            index, fault = read_object(folder / SHARDS)
            if fault or not isinstance(index.get("weight_map"), dict):
                problems.append(fault or f"{SHARDS} has no weight_map")
            else:  # names alone: a path would lead out of the folder
                problems += [f"no {name}" for name in weight_files(folder) if name not in there]
        elif WEIGHTS not in there and any(name.endswith((".bin", ".pt")) for name in there):
            problems.append("pickled weights can run code when opened, so they are not loaded")
    parts = {"weights": weights, "tokenizer": TOKENIZERS}
    if file != OPEN_CLIP:
        parts["image preprocessing"] = tuple((name,) for name in PREPROCESSING)
    return problems + [
        f"no {part}: " + ", or ".join(" with ".join(files) for files in choices)
        for part, choices in parts.items()
        if not any(there.issuperset(files) for files in choices)
    ]


def weight_files(folder: Path) -> list[str]:
    """Names of the files that hold the weights of transformers' towers."""
    if not (folder / SHARDS).is_file():
        return [WEIGHTS]
    return sorted({str(name) for name in read_object(folder / SHARDS)[0]["weight_map"].values()})


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
