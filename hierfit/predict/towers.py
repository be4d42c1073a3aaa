"""Which towers a model learnt on, and how they are had again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hierfit.backbone import Backbone
from hierfit.errors import UserError


@dataclass(frozen=True)
class Towers:
    """The towers of a model.

    Attributes:
        source: Name or folder they were loaded from.
        fingerprint: Hash of their weights and preprocessing before any adapter; None where features came from a file,
            which tells the name alone.
        folder: Folder of an exported model that holds them, with what was trained merged in; None for none.
        adapter: Folder of a LoRA adapter that belongs on them.
        stated: Whether they are those of training; False where the user names others.
    """

    source: str
    fingerprint: str | None
    folder: Path | None = None
    adapter: Path | None = None
    stated: bool = True


def load_towers(towers: Towers, width: int) -> Backbone:
    """Loads towers, a LoRA adapter merged into them, as `hierfit export` writes them.

    Args:
        towers: Which.
        width: d of the features that the model takes.

    Raises:
        UserError: They cannot be had, or are others than the model learnt on.
    """
    if towers.stated and towers.folder is None and towers.fingerprint is None:
        raise UserError(
            f"this model learnt from a file of features ({towers.source}); which towers made them, it cannot know",
            hint="Name them (--backbone, or load(…, backbone=…)), or predict from a feature bundle.",
        )
    backbone = Backbone.load(str(towers.folder or towers.source))
    problems = []
    if backbone.embed_dim != width:
        problems.append(f"their features are {backbone.embed_dim} wide, the model takes {width}")
    elif towers.stated and towers.fingerprint is not None and backbone.fingerprint != towers.fingerprint:
        problems.append("their weights or preprocessing are not those the model learnt on")
    if problems:
        raise UserError(f"the towers {backbone.source!r} do not go with this model", problems)
    if towers.adapter is not None:
        from hierfit.methods.hier_lora.adapter import open_adapter

        open_adapter(backbone, towers.adapter)
        backbone.model = backbone.model.merge_and_unload(safe_merge=True)
    return backbone
