"""What cells will take, in hours and memory, before they start.

Counted from settings and cards: pictures that are encoded once and kept, pictures and texts that pass through the
towers at every step. Timed here and now, on the device they will run on: a picture and a text through the towers,
forwards alone and with the way back to LoRA's weights, whose kept activations are weighed; and a picture decoded.
Stated: what a cell and a step take beside the towers.
"""

from __future__ import annotations

import io
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from rich.console import Console
from rich.text import Text
from torch import Tensor
from torch.utils.benchmark import Timer

from hierfit.backbone import Backbone, ImageTransform
from hierfit.backbone.config import dual_config
from hierfit.backbone.loading import load_text
from hierfit.backbone.source import BUNDLED
from hierfit.backbone.towers import DualEncoder
from hierfit.config.signature import class_at
from hierfit.data.card import DataCard, load_card
from hierfit.data.encode import available_cores
from hierfit.results.table import NAME, Column, Table
from hierfit.results.writers import print_table
from hierfit.search.runner import RunCell

SECONDS_A_CELL, SECONDS_A_STEP = 6.0, 0.025
"""Beside the towers, on one core of 2.1 GHz: 120 cells of the grid `fewshot` in 11 minutes; 400 steps of LatHAdapter on
FGVC-Aircraft's features (200 nodes, 32 pictures a step) in 10 s."""
PROCESS = 0.9
"""GiB of a process with its imports, before any towers."""
_TEXT_EACH_STEP = ("CoOp", "HierLoRA")

_card = cache(load_card)


class Passes(NamedTuple):
    """What a cell does."""

    encoded: dict[tuple[str, ...], int]  # pictures through the frozen towers, by the data set and draw that share them
    images: int  # pictures forwards, on pixels, in validations and tests
    image_steps: int  # pictures forwards and back
    text_steps: int  # texts forwards and back
    steps: int
    batch: int  # pictures whose activations are kept in a step
    chunk: int  # texts of which they are


def passes(cell: RunCell) -> Passes:
    """Counted from the cell's settings and the numbers its cards state."""
    settings = cell.config.settings
    data, trainer, keys = settings["data"], settings["trainer"], settings["model"].get("init_args") or {}
    card, backbone = _card(data["card"]), str(data["backbone"])
    method: Any = class_at(cell.config.method)
    sizes = [size or 0 for size in card.levels.values()]
    leaves = max([sizes[-1], *(split.leaves or 0 for split in card.splits.values())])
    nodes = sum(sizes) if all(sizes) else leaves + leaves // 2  # where only the data can tell
    seen = math.ceil(leaves / 2) if data["novel"] else leaves
    train, val, test = (_count(card, name) for name in ("train", "val", "test"))
    if data["shots"]:
        train, val = min(data["shots"] * seen, train or math.inf), min(val, min(data["shots"], 4) * seen)
    targets = {name: _count(_card(name), "test") for name in data["targets"] or {}}
    steps = validations = 0
    if method.trains:
        an_epoch = math.ceil(train / data["batch_size"])
        steps = trainer["max_steps"] if trainer["max_steps"] > 0 else an_epoch * (trainer["max_epochs"] or 1)
        every, epochs = trainer["val_check_interval"] or 1.0, trainer["check_val_every_n_epoch"]
        interval = every if isinstance(every, int) and not epochs else every * an_epoch * (epochs or 1)
        validations = math.ceil(steps / max(interval, 1))
    reads = method.__name__ in _TEXT_EACH_STEP and keys.get("towers") != "image"
    reads = reads or keys.get("attributes") == "prompts"
    text_steps, chunk = steps * nodes * reads, min(nodes, keys.get("text_chunk", 256)) * reads
    if method.needs == "pixels":
        images, batch = validations * val + test + sum(targets.values()), min(data["batch_size"], train)
        return Passes({}, images, steps * batch, text_steps, steps, batch, chunk)
    draw = (card.name, backbone, *cell.draw, str(data["novel"]))
    encoded = {draw: train + val, (card.name, backbone): test} | {(name, backbone): n for name, n in targets.items()}
    return Passes(encoded, 0, 0, text_steps, steps, 0, chunk)


def _count(card: DataCard, split: str) -> int:
    return (card.splits[split].images or 0) if split in card.splits else 0


class Pace(NamedTuple):
    """Seconds of one pass, and bytes that it keeps for the way back."""

    image: float
    image_step: float
    text_step: float
    decode: float
    weights: int
    image_bytes: int
    text_bytes: int
    width: int


def timed_pace(backbone: Backbone, device: torch.device) -> Pace:
    """Times towers on a device for a few seconds."""
    backbone = backbone.to(device)
    count = 64 if device.type == "cuda" else 2
    pixels = torch.rand(count, 3, backbone.image_size, backbone.image_size, device=device)
    (ids,) = backbone.token_chunks(["a photo of " + "a " * 11] * count, count)[1]  # 16 tokens, as a usual prompt
    picture = io.BytesIO()
    Image.effect_noise((500, 375), 64).convert("RGB").save(picture, "JPEG")
    decode = _seconds(lambda: backbone.preprocess(Image.open(picture)), 1)
    cores = available_cores()
    with torch.no_grad():
        image = _seconds(lambda: backbone.encode_image(pixels), cores) / count
    for tower in (backbone.model.vision_model, backbone.model.text_model):
        # Gradients pass all blocks, as on their way to LoRA's weights.
        tower.embeddings.position_embedding.weight.requires_grad_(True)
    image_step = _seconds(lambda: backbone.encode_image(pixels).sum().backward(), cores) / count
    text_step = _seconds(lambda: backbone.encode_tokens(ids).sum().backward(), cores) / count
    image_bytes = _activations(backbone, lambda: backbone.encode_image(pixels)) // count
    text_bytes = _activations(backbone, lambda: backbone.encode_tokens(ids)) // count
    weights = sum(weight.nbytes for weight in backbone.parameters())
    return Pace(image, image_step, text_step, decode, weights, image_bytes, text_bytes, backbone.embed_dim)


def _seconds(run: Callable[[], Any], threads: int) -> float:
    return float(Timer("run()", globals={"run": run}, num_threads=threads).blocked_autorange(min_run_time=0.5).median)


def _stand_in(source: str) -> Backbone:
    """Random towers of the size of CLIP's ViT-B/16, or ViT-L/14 where a name says large."""
    large = "large" in source.lower()
    wide = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    narrow = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
    given = {
        "model_type": "clip",
        "text_config": {"eos_token_id": 2, **(narrow if large else {})},
        "vision_config": {"patch_size": 14, **wide} if large else {"patch_size": 16},
        "projection_dim": 768 if large else 512,
    }
    config = dual_config(given, source, [])
    assert config is not None
    half = (0.5, 0.5, 0.5)
    model = DualEncoder(config).eval().requires_grad_(False)
    for weight in model.parameters():
        weight.normal_(std=0.02)
    return Backbone(model, load_text("tiny"), ImageTransform(224, 224, half, half), source)


def _activations(backbone: Backbone, run: Callable[[], object]) -> int:
    """Bytes of activations that a pass keeps for the way back, beside the weights."""
    weights = {weight.untyped_storage().data_ptr() for weight in backbone.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()  # held, so that no storage is given to another tensor
    del result
    return sum(size for place, size in kept.items() if place not in weights)


def print_costs(cells: Sequence[RunCell], jobs: int | None, console: Console) -> None:
    """Prints, by data set, what cells that are not done will take; nothing of those that need no towers."""
    by_backbone: dict[str, list[RunCell]] = defaultdict(list)
    for cell in cells:
        if _card(cell.config.settings["data"]["card"]).layout.name != "feature_bundle":
            by_backbone[str(cell.config.settings["data"]["backbone"])].append(cell)
    for source, own in by_backbone.items():
        cores, there = available_cores(), Path(source).expanduser().is_dir() or source in BUNDLED
        on_gpu = torch.cuda.is_available() and own[0].config.settings["trainer"]["accelerator"] != "cpu"
        devices = torch.cuda.device_count() if on_gpu else 1
        towers = Backbone.load(source) if there else _stand_in(source)
        pace = timed_pace(towers, torch.device("cuda" if on_gpu else "cpu"))
        print_table(_table(own, pace, devices, jobs or (devices if on_gpu else cores)), console)
        of = source if there else f"random towers of the size of {source}, which is not on this machine"
        how = (
            f"Counted from cards and settings, and timed just now on "
            f"{torch.cuda.get_device_name() if on_gpu else f'{cores} cores'} with {of}: a picture "
            f"{1000 * pace.image:.0f} ms, in a step of LoRA {1000 * pace.image_step:.0f} ms and "
            f"{pace.image_bytes >> 20} MiB, a text in a step {1000 * pace.text_step:.1f} ms, decoding "
            f"{1000 * pace.decode:.0f} ms; beside the towers {SECONDS_A_CELL:g} s a cell and "
            f"{1000 * SECONDS_A_STEP:g} ms a step, as measured on one core."
        )
        console.print(Text(how, "dim"))
        data = [cell.config.settings["data"] for cell in own]
        used = {name for each in data for name in (each["card"], *(each["targets"] or ()))}
        if unknown := sorted(name for name in used if not _count(_card(name), "test")):
            console.print(Text(f"Not counted, as their cards state no numbers: {', '.join(unknown)}.", "yellow"))


def _table(cells: Sequence[RunCell], pace: Pace, devices: int, jobs: int) -> Table:
    """A row a data set: what passes through towers, hours of all, and GiB of a process at most."""
    groups: dict[str, list[Passes]] = defaultdict(list)
    for cell in cells:
        groups[cell.card].append(passes(cell))
    decode, rows, done = pace.decode / available_cores(), list[tuple[Any, ...]](), set[tuple[str, ...]]()
    for card, found in groups.items():
        fresh = {key: n for each in found for key, n in each.encoded.items() if key not in done}
        done |= fresh.keys()
        once, back = sum(fresh.values()) + sum(each.images for each in found), sum(each.image_steps for each in found)
        seconds = once * max(pace.image, decode) + back * max(pace.image_step, decode)
        seconds = (seconds + sum(each.text_steps for each in found) * pace.text_step) / devices
        seconds += sum(SECONDS_A_CELL + SECONDS_A_STEP * each.steps for each in found) / min(jobs, len(found))
        kept = max(each.batch * pace.image_bytes + each.chunk * pace.text_bytes for each in found)
        features = max(sum(each.encoded.values()) for each in found) * pace.width * 4
        gib = PROCESS + (2 * pace.weights + features + kept) / (1 << 30)
        rows.append((card, len(found), once, back, seconds / 3600, gib))
    rows.append(("all", *(sum(row[i] for row in rows) for i in range(1, 5)), max(row[5] for row in rows)))
    columns = [Column(name, "count") for name in ("cells", "pictures read", "trained on")]
    return Table.of("What is to come", [NAME, *columns, Column("hours", "", 2), Column("GiB a process", "", 1)], rows)
