"""What a step of training costs beside a loop written by hand, and what the metrics cost beside a step.

    python tests/bench/bench_step.py [--rounds 5] [--steps 200]

On cached features: 100 leaves under 30 families under 8 orders, 512-wide features, batches of 128, as `hierfit fit`
runs them, with its loggers, callbacks and schedule. The loop beside it calls the same modules, loss, optimiser,
schedule and loader. Metrics are those of a tree with 10 000 leaves: per-level argmax and all of one batch, as after
every validation batch, against LatHAdapter on cached features (without its hierarchy, which would make the step longer)
and LoRA in the image tower of a ViT-B/32 alone (encoding the 11 000 texts would make it longer).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from harness import Claim, in_milliseconds, in_turns, program, ratio, timed
from peft import LoraConfig, get_peft_model
from toy import bare_way, lightning_way, session, skewed_tree, write_bundle
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from hierfit.decoding import DECODERS
from hierfit.metrics import hierarchy_metrics
from hierfit.taxonomy import Taxonomy

METHODS = {
    "linear probe": ["--model=LinearProbe"],
    "LatHAdapter, λ=0": ["--model=LatHAdapter", "--model.hierarchy_weight=0"],
    "LatHAdapter": ["--model=LatHAdapter"],
}
BATCHES = {"cached features": 256, "ViT-B/32 LoRA": 32}


def beside_a_loop(folder: Path, rounds: int, steps: int) -> Iterator[Claim]:
    """`hierfit fit` by a loop, and with its regulariser by without."""
    data, ways = write_bundle(folder, skewed_tree([8, 30, 100])), {}
    for method, keys in METHODS.items():
        ways[method] = lightning_way([*data, *keys], steps)
        ways[f"{method}, by hand"] = bare_way([*data, *keys], steps)
    taken = in_turns(ways, rounds)
    for method in METHODS:
        beside = ratio(taken[method], taken[f"{method}, by hand"])
        yield Claim(f"step on cached features ÷ hand-written loop: {method}", beside, 1.15)
    regulariser = ratio(taken["LatHAdapter"], taken["LatHAdapter, λ=0"])
    yield Claim("LatHAdapter's step with its regulariser ÷ without", regulariser, 2.0)
    pairs = zip(taken["linear probe"], taken["linear probe, by hand"], strict=True)
    added = [1e3 * (lightning - bare) for lightning, bare in pairs]
    yield Claim("  what Lightning and hierfit's callbacks add to a step", added, unit="ms")
    yield from in_milliseconds(taken)


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


def beside_metrics(folder: Path, rounds: int) -> Iterator[Claim]:
    """Metrics by a step."""
    tree = skewed_tree([273, 1103, 10_000])
    steps = {"cached features": feature_step(folder, tree), "ViT-B/32 LoRA": lora_step()}
    for step, batch in BATCHES.items():
        taken = in_turns({"metrics": timed(metrics_of(tree, batch), 10), "step": timed(steps[step])}, rounds)
        share = [100 * value for value in ratio(taken["metrics"], taken["step"])]
        yield Claim(f"metrics at 10 000 leaves, share of a step: {step}, batch {batch}", share, 1.0, "%")


def measure(rounds: int, steps: int) -> Iterator[Claim]:
    """Steps beside a loop, metrics beside a step."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        yield from beside_a_loop(Path(one), rounds, steps)
        yield from beside_metrics(Path(other), rounds)


if __name__ == "__main__":
    program(measure, __doc__, rounds=5, steps=200)
