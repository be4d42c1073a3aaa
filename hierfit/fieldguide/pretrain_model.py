"""The untrained tiny CLIP and its tokenizer, and how its vision tower is trained cheaply."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hierfit.fieldguide.captions import FAMILY, GENUS, PARTIAL, caption, partial_caption
from hierfit.fieldguide.species import OUTLINES, PATTERNS, training_species

MEAN, STD = (0.5, 0.48, 0.45), (0.25, 0.24, 0.25)  # of the pool, rounded


@dataclass(frozen=True)
class Size:
    """Of the towers, their tokenizer and the pool; ``seed`` is of the pool, the captions and the weights."""

    image_size: int = 64
    patch_size: int = 8
    vision_width: int = 128
    vision_layers: int = 5
    text_width: int = 128
    text_layers: int = 2
    embed_dim: int = 128
    context_length: int = 48
    vocab_size: int = 1400
    images: int = 30_000
    seed: int = 0


def make_tokenizer(size: Size) -> Any:
    """A CLIP tokenizer whose byte-pair merges are learnt from our own captions; any text can be encoded."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    rng = np.random.default_rng(size.seed)
    sentences = []
    for outline in OUTLINES:
        for pattern in PATTERNS:
            every = training_species(outline, pattern)
            for i in rng.integers(len(every), size=40):
                sentences.append(caption(every[i], rng))
                told = (FAMILY, GENUS, *PARTIAL)[rng.integers(2 + len(PARTIAL))]
                sentences.append(partial_caption(every[i], told, rng))
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"""'s|'t|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size.vocab_size, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    bpe.train_from_iterator(sentences, trainer)
    merges = [
        tuple(m) if not isinstance(m, str) else tuple(m.split(" ")) for m in json.loads(bpe.to_str())["model"]["merges"]
    ]
    # CLIP's vocabulary order: the bytes, the bytes that end a word, the merges, then start and end of text.
    words = [*alphabet, *(a + "</w>" for a in alphabet), *("".join(m) for m in merges)]
    words = [*dict.fromkeys(words), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=merges)  # type: ignore[arg-type]  # tuples are what it takes; its hint is older
    tokenizer.model_max_length = size.context_length
    return tokenizer


def make_model(size: Size, tokenizer: Any) -> Any:
    """An untrained ``CLIPModel``."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(size.seed)
    vision = {
        "hidden_size": size.vision_width, "intermediate_size": 4 * size.vision_width,
        "num_hidden_layers": size.vision_layers, "num_attention_heads": size.vision_width // 32,
        "image_size": size.image_size, "patch_size": size.patch_size,
    }  # fmt: skip
    text = {
        "hidden_size": size.text_width, "intermediate_size": 4 * size.text_width,
        "num_hidden_layers": size.text_layers, "num_attention_heads": size.text_width // 32,
        "vocab_size": len(tokenizer), "max_position_embeddings": size.context_length,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    return CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=size.embed_dim))


def encode_patches(model: Any, pixels: Tensor, kept: float) -> Tensor:
    """Image features ``[B, d]`` from a random share of the patches (all of them at ``kept`` 1)."""
    if kept >= 1.0:
        return model.get_image_features(pixel_values=pixels).pooler_output
    tower = model.vision_model
    tokens = tower.embeddings(pixels)
    patches = tokens.shape[1] - 1
    # The same patches for the whole batch: cheap, and as good a regulariser over thousands of steps.
    rows = 1 + torch.randperm(patches, device=tokens.device)[: round(kept * patches)]
    tokens = torch.cat([tokens[:, :1], tokens[:, rows]], dim=1)
    hidden = tower.encoder(inputs_embeds=tower.pre_layrnorm(tokens)).last_hidden_state
    return model.visual_projection(tower.post_layernorm(hidden[:, 0]))


def save(model: Any, tokenizer: Any, size: Size, folder: Path) -> None:
    """Writes a Hugging Face ``CLIPModel`` folder, weights in half precision."""
    from transformers import CLIPImageProcessorPil

    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        model.logit_scale.clamp_(max=math.log(100.0))
    model.cpu().half().save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    crop = {"height": size.image_size, "width": size.image_size}
    CLIPImageProcessorPil(
        size={"shortest_edge": size.image_size}, crop_size=crop, image_mean=list(MEAN), image_std=list(STD)
    ).save_pretrained(folder)
