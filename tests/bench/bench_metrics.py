"""What metrics of a tree with 10 000 leaves cost beside a step of training.

    python tests/bench/bench_metrics.py [--rounds 5]

Per-level argmax and all twelve metrics of one batch, as after every validation batch, against a step on the same batch:
LatHAdapter on cached features (without its hierarchy, which would make the step longer), and LoRA in the image tower of
a ViT-B/32 alone (encoding the 11 000 texts would make it longer).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from harness import Claim, in_turns, ratio, report, spread, timed
from peft import LoraConfig, get_peft_model
from toy import session, skewed_tree, write_bundle
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from hierfit.decoding import DECODERS
from hierfit.metrics import hierarchy_metrics
from hierfit.taxonomy import Taxonomy

SIZES = [273, 1103, 10_000]
BATCHES = {"cached features": 256, "ViT-B/32 LoRA": 32}


def metrics_of(tree: Taxonomy, batch: int) -> Callable[[], None]:
    """Decodes a batch and counts it."""
    metrics = hierarchy_metrics(tree, prefix="val/")
    logits = torch.randn(batch, tree.num_nodes)
    paths = tree.leaf_paths[torch.randint(tree.num_leaves, (batch,))]

    def update() -> None:
        metrics.update(DECODERS["per_level"](logits, tree), paths)

    return update


def feature_step(folder: Path, tree: Taxonomy) -> Callable[[], None]:
    """A step of LatHAdapter on cached features."""
    options = [*write_bundle(folder, tree, shots=1), f"--data.batch_size={BATCHES['cached features']}"]
    made = session([*options, "--model=LatHAdapter", "--model.hierarchy_weight=0"], 1)
    method, optimizer = made.method, made.method.configure_optimizers()["optimizer"]
    batch = next(iter(made.data.train_dataloader()))

    def step() -> None:
        optimizer.zero_grad()
        method.loss(batch)["loss"].backward()
        optimizer.step()

    return step


def lora_step() -> Callable[[], None]:
    """A step of LoRA in the image tower of a ViT-B/32 with random weights."""
    shape = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    tower = CLIPVisionModelWithProjection(CLIPVisionConfig(**shape, patch_size=32, projection_dim=512))
    model = get_peft_model(tower, LoraConfig(r=8, target_modules=["q_proj", "k_proj", "v_proj"]))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    pixels = torch.randn(BATCHES["ViT-B/32 LoRA"], 3, 224, 224)

    def step() -> None:
        optimizer.zero_grad()
        model(pixel_values=pixels).image_embeds.square().mean().backward()
        optimizer.step()

    return step


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tree = skewed_tree(SIZES)
    with tempfile.TemporaryDirectory() as name:
        steps = {"cached features": feature_step(Path(name), tree), "ViT-B/32 LoRA": lora_step()}
    claims, told = [], []
    for step, batch in BATCHES.items():
        ways = {"metrics": timed(metrics_of(tree, batch), 10), "step": timed(steps[step])}
        taken = in_turns(ways, options.rounds)
        share = ratio(taken["metrics"], taken["step"])
        share = type(share)(*(100 * value for value in share))
        claims.append(Claim(f"metrics at 10 000 leaves, share of a step: {step}, batch {batch}", share, 1.0, "%"))
        told += [Claim(f"  {step}: {way}", spread([1e3 * t for t in times]), unit="ms") for way, times in taken.items()]
    return report([*claims, *told])


if __name__ == "__main__":
    sys.exit(main())
