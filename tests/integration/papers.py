"""Data sets as CoOp's DATASETS.md lays them out, in miniature, and small random towers in place of CLIP's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import CLIPConfig, CLIPModel

from hierfit.backbone.source import BUNDLED

from ..unit.data.miniature import miniature


def official_folder(names: Sequence[str], folder: Path) -> Path:
    """Copies of the data sets of some cards in ``folder/data``; their cards, cut down to fit, in ``folder/cards``."""
    data, cards = folder / "data", folder / "cards"
    data.mkdir(parents=True)
    cards.mkdir()
    for name in names:
        copy = miniature(name, folder / "made" / name)
        shutil.move(copy.root, data / copy.root.name)
        for file in Path(copy.card).parent.iterdir():
            shutil.copy(file, cards)
    for part in ("train", "val") if "imagenet" in names else ():
        shutil.move(data / "imagenet" / part, data / "imagenet" / "images" / part)
    return data


def random_clip(folder: Path) -> Path:
    """A CLIP of one block a tower with random weights and the bundled tokenizer, as transformers saves one."""
    shutil.copytree(BUNDLED["tiny"], folder, ignore=shutil.ignore_patterns("model.safetensors", "*.md", "pretraining*"))
    config = json.loads((folder / "config.json").read_text())
    for tower in ("text_config", "vision_config"):
        config[tower] |= {"num_hidden_layers": 1}
    config |= {"dtype": "float32", "logit_scale_init_value": 4.6}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(**config)).save_pretrained(folder)
    return folder
