"""A step of LoRA against a bare loop of transformers and peft; what keeping frozen blocks saves.

    python tests/bench/bench_lora.py [--rounds 3] [--steps 6]

The bundled tiny CLIP on the drawn butterflies: 48 pictures of 64 pixels and the texts of 98 nodes a step, q, k and v of
both towers, one CPU thread. The bare loop reads the same pictures from memory; its loss is torch's cross-entropy at
each level.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from harness import Claim, clock, in_turns, program, ratio, spread
from peft import LoraConfig, get_peft_model
from torch.optim.lr_scheduler import CosineAnnealingLR
from toy import StepClock, session
from transformers import CLIPModel

WARM = 2
LORA = ["--config=experiments/hier_lora.yaml", "--data.shots=4", "--data.num_workers=0", "--data.augment=none"]
LORA += ['--model.objective={"level_ce": 1}', "--model.dropout=0", "--data.batch_size=48"]


def ours(keys: Sequence[str], steps: int, warm: int = WARM) -> Callable[[], float]:
    """Seconds of a step of ``hierfit fit``."""

    def way() -> float:
        watch = StepClock()
        session([*LORA, *keys], warm + steps, watch)
        return (watch.ends[-1] - watch.ends[-steps - 1]) / steps

    return way


def bare(steps: int) -> Callable[[], float]:
    """Seconds of a step of the loop anyone would write."""
    made = session(LORA, 1)
    task, loader = made.data.task, made.data.train_dataloader()
    batches = list(loader)
    encoder = made.method.classifier.nodes.encoder
    ids = torch.cat([getattr(encoder, f"ids{i}") for i in range(encoder.num_chunks)])
    mask = torch.cat([getattr(encoder, f"mask{i}") for i in range(encoder.num_chunks)])
    folder = Path(__file__).parents[2] / "hierfit" / "backbone" / "tiny_clip"
    settings = {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "k_proj", "v_proj"]}
    model = get_peft_model(CLIPModel.from_pretrained(folder, dtype=torch.float32), LoraConfig(**settings))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    schedule = CosineAnnealingLR(optimizer, 1000)
    levels = task.taxonomy.level_slices
    scale = model.logit_scale.detach().exp()

    def step(pixels: torch.Tensor, paths: torch.Tensor) -> None:
        images = F.normalize(model.get_image_features(pixel_values=pixels).pooler_output, dim=-1)
        texts = F.normalize(model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output, dim=-1)
        texts = texts[encoder.text]
        logits = scale * images @ texts.T
        loss = sum(F.cross_entropy(logits[:, nodes], paths[:, i] - nodes.start) for i, nodes in enumerate(levels))
        optimizer.zero_grad()
        (loss / len(levels)).backward()
        optimizer.step()
        schedule.step()

    def way() -> float:
        model.train()
        started = 0.0
        for number in range(WARM + steps):
            if number == WARM:
                started = clock()
            batch = batches[number % len(batches)]
            step(batch.inputs, batch.paths)
        return (clock() - started) / steps

    return way


def measure(rounds: int, steps: int) -> list[Claim]:
    """Steps of LoRA, ours and bare, and of the last block alone."""
    epoch = 6  # steps, none of a smaller batch, after which every picture of the draw has been decoded
    # From a file: on a command line YAML takes "-1:" for a mapping.
    chosen = Path(tempfile.mkdtemp()) / "last.yaml"
    chosen.write_text('model: {init_args: {layers: "-1:"}}')
    last = [f"--config={chosen}"]
    ways = {
        "LoRA": ours([], steps, epoch),
        "bare": bare(steps),
        "last block": ours(last, steps, epoch),
        "last block, frozen blocks kept": ours([*last, "--model.keep_frozen_mib=256"], steps, epoch),
    }
    taken = in_turns(ways, rounds, warmup=0)
    kept = ratio(taken["last block"], taken["last block, frozen blocks kept"])
    return [
        Claim("LoRA step ÷ bare transformers + peft loop", ratio(taken["LoRA"], taken["bare"]), 1.05),
        Claim("LoRA in the last block: computed anew ÷ frozen blocks kept", kept, 1.0, "×", "more"),
        *(Claim(f"  step: {way}", spread([1e3 * t for t in times]), unit="ms") for way, times in taken.items()),
    ]


if __name__ == "__main__":
    program(measure, __doc__, rounds=3, steps=6)
