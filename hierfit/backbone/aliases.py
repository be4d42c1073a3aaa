"""What OpenAI's CLIP, CoOp and open_clip call towers, and their names on the Hugging Face hub."""

from __future__ import annotations

import re

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
