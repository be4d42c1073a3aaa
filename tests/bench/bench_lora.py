"""A step of LoRA against a bare loop of transformers and peft; what keeping frozen blocks saves.

    python tests/bench/bench_lora.py [--rounds 3] [--steps 6]

The bundled tiny CLIP on the drawn butterflies: 48 pictures of 64 pixels and the texts of 98 nodes a step, q, k and v of
both towers, one CPU thread. The bare loop reads the same pictures from memory; its loss is torch's cross-entropy at
each level.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from harness import Claim, in_milliseconds, in_turns, program, ratio
from peft import LoraConfig, get_peft_model
from torch.optim.lr_scheduler import CosineAnnealingLR
from toy import lightning_way, loop_way, session
from transformers import CLIPModel

from hierfit.backbone.source import BUNDLED
from hierfit.data.batch import Batch

WARM = 2
LORA = ["--config=experiments/hier_lora.yaml", "--data.shots=4", "--data.num_workers=0", "--data.augment=none"]
LORA += ['--model.objective={"level_ce": 1}', "--model.dropout=0", "--data.batch_size=48"]


def bare(steps: int) -> Callable[[], float]:
    """Seconds of a step of the loop anyone would write."""
    made = session(LORA, 1)
    task = made.data.task
    encoder = made.method.classifier.nodes.encoder
    ids = torch.cat([getattr(encoder, f"ids{i}") for i in range(encoder.num_chunks)])
    ends = (ids == task.backbone.model.config.text_config.eos_token_id).int().argmax(dim=1, keepdim=True)
    mask = (torch.arange(ids.shape[1]) <= ends).long()
    settings = {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "k_proj", "v_proj"]}
    model = get_peft_model(CLIPModel.from_pretrained(BUNDLED["tiny"], dtype=torch.float32), LoraConfig(**settings))
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    schedule = CosineAnnealingLR(optimizer, 1000)
    levels = task.taxonomy.level_slices
    scale = model.logit_scale.detach().exp()

    def step(batch: Batch) -> None:
        images = F.normalize(model.get_image_features(pixel_values=batch.inputs).pooler_output, dim=-1)
        texts = F.normalize(model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output, dim=-1)
        logits = scale * images @ texts[encoder.text].T
        paths = batch.paths
        loss = sum(F.cross_entropy(logits[:, nodes], paths[:, i] - nodes.start) for i, nodes in enumerate(levels))
        optimizer.zero_grad()
        (loss / len(levels)).backward()
        optimizer.step()
        schedule.step()

    return loop_way(step, list(made.data.train_dataloader()), steps, WARM)


def measure(rounds: int, steps: int) -> Iterator[Claim]:
    """Steps of LoRA, ours and bare, and of the last block alone."""
    epoch = 6  # steps, none of a smaller batch, after which every picture of the draw has been decoded
    # From a file: on a command line YAML takes "-1:" for a mapping.
    chosen = Path(tempfile.mkdtemp()) / "last.yaml"
    chosen.write_text('model: {init_args: {layers: "-1:"}}')
    last = [*LORA, f"--config={chosen}"]
    ways = {
        "LoRA": lightning_way(LORA, steps, epoch),
        "bare": bare(steps),
        "last block": lightning_way(last, steps, epoch),
        "last block, frozen blocks kept": lightning_way([*last, "--model.keep_frozen_mib=256"], steps, epoch),
    }
    taken = in_turns(ways, rounds, warmup=0)
    kept = ratio(taken["last block"], taken["last block, frozen blocks kept"])
    yield Claim("LoRA step ÷ bare transformers + peft loop", ratio(taken["LoRA"], taken["bare"]), 1.05)
    yield Claim("LoRA in the last block: computed anew ÷ frozen blocks kept", kept, 1.0, "×", "more")
    yield from in_milliseconds(taken)


if __name__ == "__main__":
    program(measure, __doc__, rounds=3, steps=6)
