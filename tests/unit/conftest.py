"""Tiny CLIP and SigLIP folders, as `save_pretrained` writes them: random weights, small tokenizers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hierfit.backbone import Backbone

CONTEXT = {"clip": 48, "siglip": 12}
TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def _save_clip(folder: Path) -> None:
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    alphabet = sorted(ByteLevel.alphabet())
    merges = [("p", "h"), ("ph", "o"), ("pho", "t"), ("phot", "o</w>"), ("o", "f</w>"), ("c", "a"), ("ca", "t</w>")]
    words = [*alphabet, *(letter + "</w>" for letter in alphabet), *(a + b for a, b in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges)  # type: ignore[arg-type]  # wants pairs
    special = {"bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1, "pad_token_id": len(words) - 1}
    torch.manual_seed(0)
    text = {**TOWER, **special, "vocab_size": len(words), "max_position_embeddings": CONTEXT["clip"]}
    vision = {**TOWER, "image_size": 32, "patch_size": 8}
    model = CLIPModel(CLIPConfig(projection_dim=8, text_config=text, vision_config=vision))
    # transformers' own initial weights are so small that texts hardly differ.
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3) if weight.ndim else None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)


def _save_siglip(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipImageProcessorPil, SiglipModel

    # The end of text has the id soft prompts would otherwise take as placeholder.
    words = ["</s>", "<unk>", "<pad>", "a", "photo", "of", "cat", "dog", "bird", "blue", "kind", "crane", "."]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 0)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    torch.manual_seed(1)
    text = {**TOWER, "vocab_size": len(words), "max_position_embeddings": CONTEXT["siglip"]}
    vision = {**TOWER, "image_size": 32, "patch_size": 8}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)


_SAVE: dict[str, Callable[[Path], None]] = {"clip": _save_clip, "siglip": _save_siglip}


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for kind, save in _SAVE.items():
        made[kind] = tmp_path_factory.mktemp("backbone") / kind
        save(made[kind])
    return made


@pytest.fixture(params=["clip", "siglip"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(folders: dict[str, Path], kind: str) -> Path:
    return folders[kind]


@pytest.fixture
def backbone(folder: Path) -> Backbone:
    return Backbone.load(str(folder))


@pytest.fixture
def clip(folders: dict[str, Path]) -> Backbone:
    return Backbone.load(str(folders["clip"]))


@pytest.fixture
def clip_copy(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A CLIP folder of one's own, to break."""
    return Path(shutil.copytree(folders["clip"], tmp_path / "clip"))


@pytest.fixture
def siglip_copy(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A SigLIP folder of one's own, to break."""
    return Path(shutil.copytree(folders["siglip"], tmp_path / "siglip"))
