"""What cells will take, in hours and memory, before they start.

Counted from settings and cards: pictures that are encoded once and kept, pictures and texts that pass through the
towers at every step. Timed here and now, on the device they will run on: a picture and a text through the towers,
forwards alone and with the way back to LoRA's weights, whose kept activations are weighed; and a picture decoded.
Stated: what a cell and a step take beside the towers.
"""

from __future__ import annotations

import io
import math
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.text import Text
from torch import Tensor, nn

from hierfit.backbone import Backbone, ImageTransform
from hierfit.backbone.loading import load_text
from hierfit.backbone.source import BUNDLED
from hierfit.config.signature import class_at
from hierfit.data.card import DataCard, load_card
from hierfit.data.encode import available_cores
from hierfit.results.table import NAME, Column, Table
from hierfit.results.writers import print_table
from hierfit.search.runner import Cell

SECONDS_A_CELL, SECONDS_A_STEP = 6.0, 0.025
"""Beside the towers, on one core of 2.1 GHz: 120 cells of the grid `fewshot` in 11 minutes; 400 steps of LatHAdapter on
FGVC-Aircraft's features (200 nodes, 32 pictures a step) in 10 s."""
PROCESS = 0.9
"""GiB of a process with its imports, before any towers."""
_TEXT_EACH_STEP = ("CoOp", "HierLoRA")
_TEXT = "a photo of a red-legged kittiwake, a kind of gull, on a rock."
_GIB = 1 << 30


@dataclass
class Passes:
    """What a cell does: pictures and texts once (0) and at steps, and how many of its own at once.

    Attributes:
        encoded: Pictures through the frozen towers, by the data set and draw that share them.
        images: Pictures forwards, on pixels, in validations and tests.
        image_steps: Pictures forwards and back.
        text_steps: Texts forwards and back.
        steps: Of training.
        at_once: Pictures and texts whose activations are kept in a step.
        unknown: Data sets whose cards state no numbers.
    """

    encoded: dict[tuple[str, ...], int]
    images: int = 0
    image_steps: int = 0
    text_steps: int = 0
    steps: int = 0
    at_once: tuple[int, int] = (0, 0)
    unknown: tuple[str, ...] = ()


def passes(cell: Cell) -> Passes:
    """Counted from the cell's settings and the numbers its cards state."""
    settings = cell.config.settings
    data, trainer, keys = settings["data"], settings["trainer"], settings["model"].get("init_args") or {}
    card = _card(data["card"])
    method: Any = class_at(cell.config.method)
    leaves, texts = _sizes(card)
    seen = math.ceil(leaves / 2) if data["novel"] else leaves
    own = {name: _images(card, name) for name in ("train", "val", "test")}
    train = min(data["shots"] * seen, own["train"] or data["shots"] * seen) if data["shots"] else own["train"]
    val = min(own["val"], min(data["shots"], 4) * seen if data["shots"] else own["val"])
    targets = {name: _images(_card(name), "test") for name in data["targets"] or {}}
    steps = validations = 0
    if method.trains:
        an_epoch = math.ceil(train / data["batch_size"])
        steps = trainer["max_steps"] if trainer["max_steps"] > 0 else an_epoch * (trainer["max_epochs"] or 1)
        every = trainer["val_check_interval"] or 1.0
        epochs = trainer["check_val_every_n_epoch"]
        interval = every if isinstance(every, int) and not epochs else every * an_epoch * (epochs or 1)
        validations = math.ceil(steps / max(interval, 1))
    unknown = tuple(name for name, n in {card.name: own["test"], **targets}.items() if not n)
    batch = min(data["batch_size"], train)
    if method.needs == "pixels":
        read = keys.get("towers", "both") != "image"
        return Passes(
            {},
            images=validations * val + own["test"] + sum(targets.values()),
            image_steps=steps * batch,
            text_steps=steps * texts if read else 0,
            steps=steps,
            at_once=(batch, min(texts, keys.get("text_chunk", 256)) if read else 0),
            unknown=unknown,
        )
    backbone = str(data["backbone"])
    draw = (card.name, backbone, *cell.draw, str(data["novel"]))
    encoded = {draw: train + val, (card.name, backbone): own["test"]}
    encoded |= {(name, backbone): n for name, n in targets.items()}
    read = method.__name__ in _TEXT_EACH_STEP or keys.get("attributes") == "prompts"
    return Passes(
        encoded, text_steps=steps * texts * read, steps=steps, at_once=(0, min(texts, 256) * read), unknown=unknown
    )


_card = cache(load_card)


def _images(card: DataCard, split: str) -> int:
    expected = card.splits.get(split)
    return expected.images or 0 if expected else 0


def _sizes(card: DataCard) -> tuple[int, int]:
    """Leaves and texts of a card's tree; where only the data can tell, half as many inner nodes as leaves."""
    sizes = [size or 0 for size in card.levels.values()]
    leaves = max([sizes[-1], *(split.leaves or 0 for split in card.splits.values())])
    templates = max((len(group) for group in card.templates.values()), default=1)
    nodes = sum(sizes) if all(sizes) else leaves + leaves // 2
    return leaves, nodes * templates


@dataclass(frozen=True)
class Pace:
    """Seconds of one pass, and bytes that it keeps for the way back."""

    towers: str
    device: str
    image: float
    image_step: float
    text_step: float
    decode: float
    weights: int
    image_bytes: int
    text_bytes: int
    width: int


def measure(source: str, device: torch.device) -> Pace:
    """Times towers on a device for a few seconds; random ones in place of those that are not on this machine."""
    if there := Path(source).expanduser().is_dir() or source in BUNDLED:
        backbone = Backbone.load(source)
    else:
        backbone = _stand_in(source)
    backbone = backbone.to(device)
    count = 64 if device.type == "cuda" else 2
    pixels = torch.rand(count, 3, backbone.image_size, backbone.image_size, device=device)
    (tokens,) = backbone.token_chunks([_TEXT] * count, count)[1]
    towers = backbone.model.vision_model, backbone.model.text_model
    threads = torch.get_num_threads()
    torch.set_num_threads(available_cores())
    try:
        with torch.no_grad():
            image = _timed(lambda: backbone.encode_image(pixels), count, device)
        for tower in towers:  # gradients pass all blocks, as on their way to LoRA's weights
            tower.embeddings.position_embedding.weight.requires_grad_(True)
        image_step = _timed(lambda: backbone.encode_image(pixels).sum().backward(), count, device)
        text_step = _timed(lambda: backbone.encode_tokens(tokens).sum().backward(), count, device)
    finally:
        torch.set_num_threads(threads)
    picture = io.BytesIO()
    Image.effect_noise((500, 375), 64).convert("RGB").save(picture, "JPEG")
    return Pace(
        source if there else f"random towers of the size of {source}, which is not on this machine",
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{available_cores()} cores",
        image,
        image_step,
        text_step,
        _timed(lambda: backbone.preprocess(Image.open(picture)), 1, torch.device("cpu")) * available_cores(),
        sum(p.nbytes for p in backbone.parameters()),
        _kept(backbone, lambda: backbone.encode_image(pixels)) // count,
        _kept(backbone, lambda: backbone.encode_tokens(tokens)) // count,
        backbone.embed_dim,
    )


def _stand_in(source: str) -> Backbone:
    from transformers import CLIPConfig, CLIPModel

    text, large = load_text("tiny"), re.search(r"large|l[-/]14|huge|h[-/]14", source.lower())
    patch = re.search(r"(?:patch|[-/])(14|16|32)\b", source)
    wide = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    narrow = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
    config = CLIPConfig(
        text_config={**(narrow if large else {}), "eos_token_id": 2, "projection_dim": 768 if large else 512},
        vision_config={**(wide if large else {}), "patch_size": int(patch[1]) if patch else 16},
        projection_dim=768 if large else 512,
    )
    half = (0.5, 0.5, 0.5)
    model = CLIPModel(config).eval().requires_grad_(False)
    return Backbone(model, text, ImageTransform(224, 224, half, half), source)


def _timed(run: Callable[[], Any], count: int, device: torch.device) -> float:
    """Seconds for each of so many, after one run to warm up; without a GPU processor time over cores, so that other
    programs do not count."""
    run()
    clock, cores = (time.perf_counter, 1) if device.type == "cuda" else (time.process_time, available_cores())
    runs, started = 0, clock()
    while not runs or (runs < 5 and clock() - started < 1):
        run()
        runs += 1
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return (clock() - started) / cores / runs / count


def _kept(backbone: nn.Module, run: Callable[[], object]) -> int:
    """Bytes of activations that a pass keeps for the way back."""
    weights = {p.untyped_storage().data_ptr() for p in backbone.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()  # held, so that no storage is given to another tensor
    del result
    return sum(kept.values())


def print_costs(cells: Sequence[Cell], jobs: int | None, console: Console) -> None:
    """Prints, by data set, what cells that are not done will take; nothing where no towers are at work."""
    by_backbone: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        card = _card(cell.config.settings["data"]["card"])
        if card.layout.name != "feature_bundle":
            by_backbone[str(cell.config.settings["data"]["backbone"])].append(cell)
    for source, own in by_backbone.items():
        on_gpu = torch.cuda.is_available() and own[0].config.settings["trainer"]["accelerator"] != "cpu"
        pace = measure(source, torch.device("cuda" if on_gpu else "cpu"))
        devices = torch.cuda.device_count() if on_gpu else 1
        table, memory, unknown = _costs(own, pace, devices, jobs or (devices if on_gpu else available_cores()))
        print_table(table, console)
        how = (
            f"Memory: {memory:.1f} GiB a process at most. Counted from cards and settings, and timed just now on "
            f"{pace.device} with {pace.towers}: a picture {1000 * pace.image:.0f} ms, in a step of LoRA "
            f"{1000 * pace.image_step:.0f} ms and {pace.image_bytes >> 20} MiB, a text in a step "
            f"{1000 * pace.text_step:.1f} ms, decoding {1000 * pace.decode:.0f} ms; beside the towers "
            f"{SECONDS_A_CELL:g} s a cell and {1000 * SECONDS_A_STEP:g} ms a step, as measured on one core."
        )
        console.print(Text(how, "dim"))
        if unknown:
            console.print(Text(f"Not counted, as their cards state no numbers: {', '.join(unknown)}.", "yellow"))


def _costs(cells: Iterable[Cell], pace: Pace, devices: int, jobs: int) -> tuple[Table, float, list[str]]:
    """A row a data set; GiB that a process takes at most; data sets that could not be counted."""
    groups: dict[str, list[Passes]] = defaultdict(list)
    for cell in cells:
        groups[cell.card].append(passes(cell))
    decode = pace.decode / available_cores()
    rows, done = list[tuple[Any, ...]](), set[tuple[str, ...]]()
    gib = 0.0
    for card, found in groups.items():
        fresh = {key: n for each in found for key, n in each.encoded.items() if key not in done}
        done |= fresh.keys()
        encoded, held = sum(fresh.values()), max(sum(each.encoded.values()) for each in found)
        once = encoded + sum(each.images for each in found)
        seconds = once * max(pace.image, decode) / devices
        seconds += sum(each.image_steps for each in found) * max(pace.image_step, decode) / devices
        seconds += sum(each.text_steps for each in found) * pace.text_step / devices
        seconds += sum(SECONDS_A_CELL + SECONDS_A_STEP * each.steps for each in found) / min(jobs, len(found))
        kept = max(e.at_once[0] * pace.image_bytes + e.at_once[1] * pace.text_bytes for e in found)
        gib = max(gib, PROCESS + (2 * pace.weights + held * pace.width * 4 + kept) / _GIB)
        rows.append((card, len(found), once, sum(each.image_steps for each in found), seconds / 3600))
    rows.append(("all", *(sum(row[i] for row in rows) for i in range(1, 5))))
    columns = [Column(name, "count") for name in ("cells", "pictures read", "trained on")]
    table = Table.of("What is to come", [NAME, *columns, Column("hours", "", 2)], rows)
    return table, gib, sorted({name for found in groups.values() for each in found for name in each.unknown})
