"""Pre-trains the bundled tiny CLIP on captioned butterflies: ``make pretrain``.

Contrastive training (CLIP, Radford et al. 2021) on species that no guide holds (``Species.reserved_for_guides``), in
which every caption that is true of a picture is a positive of it (as in UniCL, Yang et al. 2022). Pictures are drawn
once and seen many times, half of the patches left out but for the last steps (FLIP, Li et al. 2023): so two CPU cores
are enough. The first stage learns to see colours, which nearly always tell the pictures of a batch apart, so that
outline and pattern are neglected. The other two take that shortcut away: their pictures share a few palettes, and
families and genera are told in every batch. The last one sees whole pictures, as outlines are more than their parts.

``pretrain_batches`` is what is seen. Recipe and loss curves are left in ``pretraining.json``; the README beside the
bundled towers is written by hand.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.atomic import whole_file
from hierfit.config.command import Say, call
from hierfit.fieldguide import pretrain_batches as seen
from hierfit.fieldguide.guide import OUTLINES, PATTERNS, training_species
from hierfit.fieldguide.pretrain_batches import Pool, Size, Stage

MEAN, STD = (0.5, 0.48, 0.45), (0.25, 0.24, 0.25)  # of the pool, rounded
WEIGHT_DECAY, WARMUP = 0.05, 0.06  # of matrices; share of the steps until the peak

STAGES = (
    Stage("mixed", {"whole": 1.0, "group": 0.5, "partial": 0.5}, pairs=210_000, batch_size=256, learning_rate=1.5e-3),
    Stage(
        "palettes", {"family": 3.0, "genus": 2.0, "partial": 1.0, "whole": 0.5},
        pairs=144_000, batch_size=96, learning_rate=7e-4, unmasked_tail=0.3, half=True,
    ),
    Stage(
        "palettes", {"family": 4.0, "genus": 2.0, "partial": 0.5, "whole": 0.25},
        pairs=86_400, batch_size=96, learning_rate=7e-4, patches_kept=1.0, half=True,
    ),
)  # fmt: skip
"""The recipe: with `Size`, everything that decides which weights are left behind."""


def make_tokenizer(size: Size) -> Any:
    """A CLIP tokenizer whose byte-pair merges are learnt from our own captions; any text can be encoded."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    rng, sentences = np.random.default_rng(size.seed), []
    told = (seen.FAMILY, seen.GENUS, *seen.PARTIAL)
    for genus in product(OUTLINES, PATTERNS):
        every = training_species(*genus)
        for i in rng.integers(len(every), size=40):
            sentences.append(seen.caption(every[i], rng))
            sentences.append(seen.partial_caption(every[i], told[rng.integers(len(told))], rng))
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    words = Regex(r"""'s|'t|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""")
    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(words, "removed", invert=True), bytes_of])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size.vocab_size, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    bpe.train_from_iterator(sentences, trainer)
    learnt = json.loads(bpe.to_str())["model"]["merges"]
    merges = [tuple(m.split(" ") if isinstance(m, str) else m) for m in learnt]
    # CLIP's vocabulary order: the bytes, the bytes that end a word, the merges, then start and end of text.
    vocabulary = [*alphabet, *(a + "</w>" for a in alphabet), *("".join(m) for m in merges)]
    vocabulary = [*dict.fromkeys(vocabulary), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={w: i for i, w in enumerate(vocabulary)}, merges=merges)  # type: ignore[arg-type]  # tuples are what it takes; its hint is older
    tokenizer.model_max_length = size.context_length
    return tokenizer


def make_model(size: Size, tokenizer: Any) -> Any:
    """An untrained ``CLIPModel``."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(size.seed)
    vision, text = (
        {
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": width // 32,
        }
        for width, layers in ((size.vision_width, size.vision_layers), (size.text_width, size.text_layers))
    )
    vision |= {"image_size": size.image_size, "patch_size": size.patch_size}
    text |= {"vocab_size": len(tokenizer), "max_position_embeddings": size.context_length}
    text |= {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
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


def contrast(image: Tensor, text: Tensor, scale: Tensor, fits: Tensor) -> Tensor:
    """Symmetric cross-entropy in which every caption that is true of a picture is a positive.

    Args:
        image: Normalised picture features ``[B, d]``.
        text: Normalised caption features ``[T, d]``.
        scale: Logit scale.
        fits: Whether a caption is true of a picture ``[B, T]``; a picture that none is true of counts in no row, and
            each caption must be true of some picture.

    Returns:
        Loss in nats: the mean over pictures and the mean over captions, halved.
    """
    logits, target = scale * image @ text.T, fits.to(image.dtype)
    told = fits.any(1)
    rows = target[told] / target[told].sum(1, keepdim=True)
    columns = (target / target.sum(0)).T
    return (F.cross_entropy(logits[told], rows) + F.cross_entropy(logits.T, columns)) / 2


def train_stage(
    model: Any, stage: Stage, pool: Pool, tokenizer: Any, device: str, seed: int, number: int
) -> tuple[Any, list[dict[str, float]]]:
    """Trains a model for stage ``number``, from 1, and returns it with its loss curve."""
    model = model.to(device).train()
    half = stage.half or device != "cpu"
    # In half precision, the fused kernel's backward pass takes as long on the CPU as all the rest.
    model.set_attn_implementation("eager" if half and device == "cpu" else "sdpa")
    mean, std = (torch.tensor(x, device=device).view(1, 3, 1, 1) for x in (MEAN, STD))
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}],
        lr=stage.learning_rate, betas=(0.9, 0.98),
    )  # fmt: skip
    steps = stage.steps
    warmup = max(int(WARMUP * steps), 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / warmup, 0.5 * (1 + math.cos(math.pi * min(s / steps, 1.0))) + 1e-3)
    )
    curve: list[dict[str, float]] = []
    start, recent = time.monotonic(), []
    for step, (images, captions) in enumerate(seen.caption_batches(pool, stage, seed, number), 1):
        texts = list(dict.fromkeys(text for kind in captions for text in kind.texts))
        tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(device)
        kept = stage.patches_kept if step <= (1.0 - stage.unmasked_tail) * steps else 1.0
        with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
            image = encode_patches(model, (images.to(device) - mean) / std, kept)
            text = model.get_text_features(**tokens).pooler_output
        image, scale = F.normalize(image.float(), dim=-1), model.logit_scale.exp().clamp(max=100.0)
        text_of = dict(zip(texts, text, strict=True))
        losses = []
        for kind in captions:
            told = F.normalize(torch.stack([text_of[t] for t in kind.texts]).float(), dim=-1)
            losses.append(contrast(image, told, scale, kind.fits.to(device)))
        optimizer.zero_grad(set_to_none=True)
        torch.stack([kind.weight * loss for kind, loss in zip(captions, losses, strict=True)]).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent.append([loss.item() for loss in losses])
        if step % 50 == 0 or step == steps:
            means = torch.tensor(recent).mean(0).tolist()
            curve.append({"step": step, **dict(zip((kind.kind for kind in captions), means, strict=True))})
            recent.clear()
            shown = "  ".join(f"{kind.kind} {mean:.3f}" for kind, mean in zip(captions, means, strict=True))
            left = (time.monotonic() - start) / step * (steps - step) / 60
            print(f"step {step}/{steps}  {shown}  {left:.1f} min left", flush=True)
    model.set_attn_implementation("sdpa")
    return model.eval(), curve


def pretrain(
    *,
    out: Annotated[Path, Say("folder to write")] = Path(__file__).parents[1] / "backbone" / "tiny_clip",
    images: Annotated[int, Say("pictures in the pool")] = Size.images,
    seed: Annotated[int, Say("of the pool, the captions and the weights")] = Size.seed,
    device: Annotated[str, Say("where to train")] = "cuda" if torch.cuda.is_available() else "cpu",
) -> None:
    """Pre-train the tiny CLIP from scratch on drawn butterflies (``make pretrain``)."""
    size = Size(images=images, seed=seed)
    used, started = sum(os.times()[:4]), time.monotonic()
    print(f"drawing {size.images} pictures …", flush=True)
    pool = seen.draw_pool(size)
    tokenizer = make_tokenizer(size)
    model = make_model(size, tokenizer)
    records: list[dict[str, Any]] = []
    for number, stage in enumerate(STAGES, 1):
        print(f"stage {number} of {len(STAGES)}", flush=True)
        if number > 1:  # the patches that a stage leaves out do not depend on those before it
            torch.manual_seed(number - 1)
        model, curve = train_stage(model, stage, pool, tokenizer, device, size.seed, number)
        records.append(
            {
                "recipe": asdict(stage),
                "seconds": round(time.monotonic() - started),
                "processor_seconds": round(sum(os.times()[:4]) - used),
                "device": device,
                "torch": torch.__version__,
                "curve": [{k: round(v, 4) for k, v in row.items()} for row in curve],
            }
        )
        used, started = sum(os.times()[:4]), time.monotonic()
    save(model, tokenizer, size, out)
    facts = {"parameters": sum(p.numel() for p in model.parameters()), "size": asdict(size), "stages": records}
    with whole_file(out / "pretraining.json") as draft:
        draft.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(f"Saved to {out}, with loss curves in pretraining.json. What the towers can do without training:")
    print(f"  hierfit fit --config experiments/base.yaml --model ZeroShot --data.card fieldguide --data.backbone {out}")


if __name__ == "__main__":
    call(pretrain, sys.argv[1:], "pretrain")
