"""Towers by their name on the Hugging Face hub, and what other names of them mean."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hierfit.backbone import source as folders
from hierfit.backbone.source import OPEN_CLIP, OPEN_CLIP_WEIGHTS, REAL, SHARDS, WEIGHTS, folder_problems
from hierfit.errors import UserError, folded

_BEFORE = re.compile(r"(?:https?://)?(?:(?:www\.)?huggingface\.co/|hf[-_]hub:|hub:|open_?clip:|clip:)", re.IGNORECASE)
_NAMES_ELSEWHERE = {
    "vitb32": REAL,
    "vitb16": "openai/clip-vit-base-patch16",
    "vitl14": "openai/clip-vit-large-patch14",
    "vitl14336": "openai/clip-vit-large-patch14-336",
    "vith14": "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    "vitg14": "laion/CLIP-ViT-g-14-laion2B-s12B-b42K",
    "vitbigg14": "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
}
"""Towers as openai and open_clip call them, without case and signs."""
_SIGLIPS = {"b": "base", "l": "large", "so400m": "so400m"}
_ON_THE_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")
_HUB_SECONDS = 3.0

_SHARED = (
    *(name for files in folders.TOKENIZERS for name in files),
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
_DOWNLOADED = ("config.json", WEIGHTS, SHARDS, "model-*.safetensors", *folders.PREPROCESSING, *_SHARED)


def downloaded(source: str) -> Path:
    """The folder of a hub name ``owner/name``, ``owner/name@revision``: in the hub's cache, or downloaded.

    Raises:
        UserError: It is no such name, out of reach, or no model that can be loaded.
    """
    if meant := hub_name(source):
        raise UserError(
            f"no backbone {source!r} – did you mean {meant!r}?",
            hint="Towers are named as on the Hugging Face hub, where transformers finds them; or by their folder.",
        )
    if re.fullmatch(r"(clip)?(rn|resnet)(50|101)(x\d+)?(quickgelu)?", folded(source)):
        raise UserError(
            f"no backbone {source!r}: transformers has CLIP's vision transformers, but no residual networks",
            hint=f"The nearest is {REAL}.",
        )
    if not _ON_THE_HUB.fullmatch(source):
        raise UserError(
            f"no backbone {source!r}: there is no such folder, and it is not a hub name",
            hint="Use tiny; a folder; or owner/name, like openai/clip-vit-base-patch16.",
        )
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
        about = HfApi().model_info(name, revision=revision or None, timeout=_HUB_SECONDS)
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
    if OPEN_CLIP not in files or ("config.json" in files and not files.isdisjoint((WEIGHTS, SHARDS))):
        return list(_DOWNLOADED)
    return [OPEN_CLIP, *[name for name in OPEN_CLIP_WEIGHTS if name in files][:1], *_SHARED]


def hub_name(name: str) -> str:
    """The hub's name of a tower: ``ViT-B/32`` is ``openai/clip-vit-base-patch32``; empty where none is known.

    ``hf-hub:owner/name`` and a link lose their beginning; a name without its owner gets it.
    """
    if before := _BEFORE.match(name.strip()):
        bare = name.strip()[before.end() :].strip("/")
        return hub_name(bare) or bare
    if f"openai/{name}" in _NAMES_ELSEWHERE.values():
        return f"openai/{name}"
    short = re.sub(r"^(openai)?(clip)?(?=vit)|(px)?(quickgelu)?$", "", folded(re.split("[,:]", name)[0]))
    if siglip := re.fullmatch(r"vit(b|l|so400m)(14|16|32)siglip(\d{3})?", short):
        return f"google/siglip-{_SIGLIPS[siglip[1]]}-patch{siglip[2]}-{siglip[3] or 224}"
    return _NAMES_ELSEWHERE.get(short, "")
