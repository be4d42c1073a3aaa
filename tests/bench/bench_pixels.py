"""Pictures a second and core from files to training pixels: ``python tests/bench/bench_pixels.py``.

JPEGs of 500 × 400 and of a camera's 4000 × 3000 pixels are written to a temporary folder, and every way from a file to
pixels is timed on them in turns, so that all meet the same machine. Exits 1 if decoding and augmenting from 500 × 400
to 224 pixels is not at least twice as fast as transformers' own processor, which does not even augment.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from harness import Claim, report, spread
from PIL import Image
from rich.console import Console
from rich.table import Table
from transformers import CLIPImageProcessorPil

from hierfit.backbone import ImageTransform
from hierfit.data.images import Files
from hierfit.data.layouts.fieldguide import GuidePictures
from hierfit.data.loader import Loader, RowSampler
from hierfit.data.pixels import PixelBatches, TrainTransform, chance
from hierfit.fieldguide import Fieldguide

AIM = 2.0
ROUNDS = 5
REFERENCE = "transformers' processor"
AUGMENTED = "decode, crop and flip"

Way = Callable[[str, int], object]


def write_jpeg(path: Path, width: int, height: int, seed: int) -> None:
    """Waves, soft blots and grain: at quality 90 about 70 KB for 500 × 400, like a photograph."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = 2 * np.pi * (x[..., None] / width * rng.uniform(0, 2, 3) + y[..., None] / height * rng.uniform(0, 2, 3))
    blots = Image.fromarray(rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)).resize((width, height))
    grain = rng.normal(0, 6, (height, width, 1))
    levels = 128 + 80 * np.sin(waves) + 0.4 * (np.asarray(blots, dtype=np.float32) - 128) + grain
    Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(path, quality=90)


def ways(root: Path, size: int) -> dict[str, Way]:
    """Everything that is timed at one output size; each takes a file's name and a row number."""
    square = {"height": size, "width": size}
    processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size=square)
    tower = ImageTransform(size, size, tuple(processor.image_mean), tuple(processor.image_std))
    train = TrainTransform(tower)
    files, coarse = Files(root), Files(root, train.least)
    kept = coarse.load(next(root.iterdir()).name)
    return {
        REFERENCE: lambda key, row: processor(Image.open(root / key).convert("RGB"), return_tensors="pt"),
        "evaluation transform": lambda key, row: tower(files.load(key)),
        AUGMENTED: lambda key, row: train(coarse.load(key), chance(0, 0, row)),
        "crop and flip of a kept picture": lambda key, row: train(kept, chance(0, 0, row)),
        "decode only (Pillow)": lambda key, row: Image.open(root / key).convert("RGB"),
    }


def seconds(timed: dict[str, Way], keys: Sequence[str]) -> dict[str, float]:
    """Processor time a picture: the best of some rounds, in each of which every way takes its turn."""
    best = dict.fromkeys(timed, float("inf"))
    for _ in range(ROUNDS):
        for name, way in timed.items():
            start = time.process_time()
            for row, key in enumerate(keys):
                way(key, row)
            best[name] = min(best[name], (time.process_time() - start) / len(keys))
    return best


def show(title: str, spent: dict[str, float], reference: str) -> None:
    """Prints pictures a second and the ratio to one of them."""
    table = Table("", "pictures/s", "ms", f"× {reference}", title=title, title_justify="left")
    for name, value in spent.items():
        table.add_row(name, f"{1 / value:.0f}", f"{1e3 * value:.2f}", f"{spent[reference] / value:.2f}")
    for column in table.columns[1:]:
        column.justify = "right"
    Console(width=100).print(table)


def few_shot_epochs(keep: int, epochs: int = 6) -> list[float]:
    """Processor time a picture in each epoch over 16 shots of the fieldguide's 72 species, at 64 px."""
    guide = Fieldguide()
    keys = tuple(f"train/{leaf}/{shot}" for leaf in range(len(guide.leaves)) for shot in range(16))
    train = TrainTransform(ImageTransform(64, 64, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))
    batches = PixelBatches(keys, GuidePictures(guide), train, torch.zeros(len(keys), 3, dtype=torch.long), 0, keep)
    loader = Loader(batches, RowSampler(len(keys), 64, seed=0))
    spent = []
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        start = time.process_time()
        for _ in loader:
            pass
        spent.append((time.process_time() - start) / len(keys))
    return spent


def main() -> int:
    """Prints all tables; 0 if the aim is met."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        measured = {}
        for width, height, count in ((500, 400, 40), (4000, 3000, 3)):
            root = Path(folder, f"{width}")
            root.mkdir()
            for seed in range(count):
                write_jpeg(root / f"{seed}.jpg", width, height, seed)
            keys = sorted(path.name for path in root.iterdir())
            weight = np.mean([path.stat().st_size for path in root.iterdir()]) / 1024
            for size in (224, 64):
                spent = measured[width, size] = seconds(ways(root, size), keys)
                show(f"{width} × {height} JPEG ({weight:.0f} KB) to {size} px, one core", spent, REFERENCE)
    without, kept = few_shot_epochs(0), few_shot_epochs(1 << 30)
    epochs = {"drawn anew": min(without), "kept, first epoch": kept[0], "kept, later epochs": min(kept[1:])}
    show("fieldguide, 16 shots (1152 pictures of 64 px), one core", epochs, "drawn anew")
    ratio = measured[500, 224][REFERENCE] / measured[500, 224][AUGMENTED]
    limit = measured[500, 224]["decode only (Pillow)"] / measured[500, 224][AUGMENTED]
    return report(
        [
            Claim(f"pictures/s, 500×400 to 224 px, {AUGMENTED}: ÷ {REFERENCE}", spread([ratio]), AIM, "×", "more"),
            Claim("pictures/s, the same: share of Pillow's decoding alone", spread([100 * limit]), unit="%"),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
