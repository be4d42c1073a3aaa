"""What only a GPU can tell, in one command of some minutes: ``make bench-gpu``; ``--cpu`` is a tiny try without one.

ViT-B/16 LoRA in bf16: images a second and share of the peak; what keeping texts saves; sharding (two GPUs at least);
TreeGDA at 10 000 classes; the unit tests of devices on the real one. Weights and pictures are random. A part that
cannot run here (a package is missing, too few GPUs) says so in its line and does not end the others.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from harness import ROOT, Claim, peak_bytes, program, timed
from torch.nn import functional as F
from toy import skewed_tree

PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L4": 121e12}
"""Dense bf16 operations a second, from the vendor's data sheets."""


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Of one call; the first two are not counted."""
    for _ in range(2):
        work()
    return timed(work, repeats)()


def peak(device: torch.device) -> tuple[float, str]:
    """Operations a second that are possible, and where that is known from."""
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    if (known := next((value for key, value in PEAKS.items() if key in name), None)) is not None:
        return known, f"{name}'s data sheet"
    n = 8192 if device.type == "cuda" else 512
    x = torch.randn(n, n, device=device, dtype=torch.bfloat16)
    return 2 * n**3 / seconds(lambda: x @ x, 10), f"a product of {n}×{n} matrices"


def lora(device: torch.device, tiny: bool) -> Iterator[Claim]:
    """A step of HierLoRA on ViT-B/16, with LoRA in both towers and in the image tower alone."""
    from hierfit.backbone import Backbone, encode_nodes, node_texts
    from hierfit.backbone.towers import DualEncoder
    from hierfit.data.batch import Batch, Task
    from hierfit.methods import HierLoRA

    small = Backbone.load("tiny")
    config = small.model.config
    if not tiny:
        narrow = {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8, "num_hidden_layers": 12}
        wide = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
        text, vision = replace(config.text_config, **narrow), replace(config.vision_config, **wide)
        vision = replace(vision, image_size=224, patch_size=16)
        config = replace(config, projection_dim=512, text_config=text, vision_config=vision)
    tree = skewed_tree([2, 4, 6] if tiny else [8, 30, 162])
    batch, repeats = (4, 2) if tiny else (256, 10)
    vision = config.vision_config
    side, width, layers = vision.image_size, vision.hidden_size, vision.num_hidden_layers
    pixels = torch.randn(batch, 3, side, side, device=device)
    paths = tree.leaf_paths[torch.arange(batch) % tree.num_leaves]
    taken = {}
    for towers in ("both", "image"):
        torch.manual_seed(0)
        model = DualEncoder(config).eval().requires_grad_(False)
        for weight in model.parameters():
            weight.normal_(std=0.02)
        backbone = Backbone(model, small._text, small.preprocess, "random").to(device)
        with torch.no_grad():
            nodes = encode_nodes(backbone, tree, {}).to(device)
        prompts = tuple(map(tuple, node_texts(tree, {})))
        seen = torch.ones(tree.num_nodes, dtype=torch.bool)
        method = HierLoRA(rank=8, towers=towers, dropout=0.0)
        method.build(Task(tree, nodes.cpu(), "prompts", prompts, seen, 20.0, backbone, None, paths))
        method.to(device).train()
        optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=1e-3)
        here = Batch(pixels, paths.to(device), torch.arange(batch, device=device))

        def step(method: HierLoRA = method, optimizer: torch.optim.Optimizer = optimizer, here: Batch = here) -> None:
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16):
                loss = method.loss(here)["loss"]
            loss.backward()
            optimizer.step()

        taken[towers] = seconds(step, repeats)
        yield Claim(f"LoRA step, {towers}: images a second", [batch / taken[towers]], unit="/s")
        yield Claim(f"LoRA step, {towers}: memory", [peak_bytes(step) / 2**20], unit="MiB")
    tokens = (side // vision.patch_size) ** 2 + 1
    forward = layers * (24 * width**2 * tokens + 4 * tokens**2 * width)
    # Frozen weights get no gradients: the way back costs as much as the way there.
    share, source = 2 * forward * batch / taken["image"], peak(device)
    what = f"LoRA step, image: share of the peak ({source[0] / 1e12:.3g}e12/s, {source[1]})"
    yield Claim(what, [100 * share / source[0]], unit="%")
    yield Claim("LoRA step: texts read at every step ÷ read once", [taken["both"] / taken["image"]])


def sharding(device: torch.device, tiny: bool) -> Iterator[Claim]:
    """A run of HierLoRA with the frozen weights spread over two devices."""
    if torch.cuda.device_count() < 2:
        raise RuntimeError("skipped: it takes two GPUs")
    command = [sys.executable, "-m", "hierfit", "fit", "hier_lora", "--model.shard=true", "--trainer.devices=2"]
    started = time.perf_counter()
    subprocess.run([*command, "--trainer.max_steps=20", "--wandb=disabled"], cwd=ROOT, check=True, timeout=120)
    yield Claim("sharded run of 20 steps, start to end", [time.perf_counter() - started], unit="s")


def tree_gda(device: torch.device, tiny: bool) -> Iterator[Claim]:
    """The closed form from features on the device, and its scores."""
    from hierfit.closed import Statistics, fit_tree

    leaves, width = (100, 32) if tiny else (10_000, 512)
    tree = skewed_tree([leaves // 40, leaves // 9, leaves])
    labels = torch.arange(leaves).repeat(4).to(device)
    features = F.normalize(torch.randn(4 * leaves, width), dim=1).to(device)

    def fit() -> object:
        return fit_tree(Statistics.of(features, labels, leaves), tree.to(device))

    yield Claim(f"TreeGDA, {leaves} classes, {4 * leaves} images", [1e3 * seconds(fit, 3)], unit="ms")
    yield Claim(f"TreeGDA, {leaves} classes: memory", [peak_bytes(fit) / 2**20], unit="MiB")


def tests(device: torch.device, tiny: bool) -> Iterator[Claim]:
    """The unit tests of devices, which take a real one where there is one."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/test_devices.py"]
    command += ["-k", "LinearProbe"] if tiny else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    print(done.stdout[-2000:] + done.stderr[-500:] if done.returncode else done.stdout.strip().splitlines()[-1])
    yield Claim("unit tests of devices: exit status", [done.returncode], 0, "")


def measure(cpu: bool) -> Iterator[Claim]:
    """Every part, on a GPU; or all of them at a tiny size without one, where the figures mean nothing."""
    if not cpu and not torch.cuda.is_available():
        sys.exit("There is no GPU here. --cpu tries the script itself, at a tiny size.")
    device = torch.device("cpu" if cpu else "cuda")
    print(f"{'CPU' if cpu else torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    for part in (lora, tree_gda, sharding, tests):
        started = time.perf_counter()
        try:
            yield from part(device, cpu)
        except (ImportError, RuntimeError, subprocess.SubprocessError) as error:
            print(f"{part.__name__}: {type(error).__name__}: {error}", flush=True)
        print(f"== {part.__name__}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    program(measure, __doc__, cpu=False)
