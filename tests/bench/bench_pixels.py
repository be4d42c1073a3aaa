"""Pictures a second and core from files to training pixels: ``python tests/bench/bench_pixels.py [--rounds 5]``.

JPEGs of 500 × 400 and of a camera's 4000 × 3000 pixels are written to a temporary folder, and every way from a file to
pixels is timed on them in turns; the best round counts. To decode and augment from 500 × 400 to 224 pixels must be
twice as fast as transformers' own processor, which does not even augment.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from harness import Claim, clock, in_turns, program
from PIL import Image
from transformers import CLIPImageProcessorPil

from hierfit.backbone import ImageTransform
from hierfit.data.images import Files
from hierfit.data.layouts.fieldguide import GuidePictures
from hierfit.data.loader import Loader, RowSampler
from hierfit.data.pixels import PixelBatches, TrainTransform, chance
from hierfit.fieldguide import Fieldguide

REFERENCE = "transformers' processor"
AUGMENTED = "decode, crop and flip"
DECODED = "decode only (Pillow)"


def write_jpeg(path: Path, width: int, height: int, seed: int) -> None:
    """Waves, soft blots and grain: at quality 90 about 70 KB for 500 × 400, like a photograph."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = 2 * np.pi * (x[..., None] / width * rng.uniform(0, 2, 3) + y[..., None] / height * rng.uniform(0, 2, 3))
    blots = Image.fromarray(rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)).resize((width, height))
    grain = rng.normal(0, 6, (height, width, 1))
    levels = 128 + 80 * np.sin(waves) + 0.4 * (np.asarray(blots, dtype=np.float32) - 128) + grain
    Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(path, quality=90)


def ways(root: Path, size: int) -> dict[str, Callable[[], float]]:
    """Processor time a picture of everything that is timed at one output size."""
    square, keys = {"height": size, "width": size}, sorted(path.name for path in root.iterdir())
    processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size=square)
    tower = ImageTransform(size, size, tuple(processor.image_mean), tuple(processor.image_std))
    train = TrainTransform(tower)
    files, coarse = Files(root), Files(root, train.least)
    kept = coarse.load(keys[0])

    def over(way: Callable[[str, int], object]) -> Callable[[], float]:
        def seconds() -> float:
            started = clock()
            for row, key in enumerate(keys):
                way(key, row)
            return (clock() - started) / len(keys)

        return seconds

    return {
        REFERENCE: over(lambda key, row: processor(Image.open(root / key).convert("RGB"), return_tensors="pt")),
        "evaluation transform": over(lambda key, row: tower(files.load(key))),
        AUGMENTED: over(lambda key, row: train(coarse.load(key), chance(0, 0, row))),
        "crop and flip of a kept picture": over(lambda key, row: train(kept, chance(0, 0, row))),
        DECODED: over(lambda key, row: Image.open(root / key).convert("RGB")),
    }


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
        started = clock()
        for _ in loader:
            pass
        spent.append((clock() - started) / len(keys))
    return spent


def rates(what: str, spent: dict[str, Sequence[float]]) -> Iterator[Claim]:
    """Pictures a second in the best round."""
    yield from (Claim(f"  {what}: {way}", [1 / min(times)], unit="/s") for way, times in spent.items())


def measure(rounds: int) -> Iterator[Claim]:
    """From files of two sizes to pixels of two sizes, and from the fieldguide."""
    for width, height, count in ((500, 400, 40), (4000, 3000, 3)):
        with tempfile.TemporaryDirectory() as root:
            for seed in range(count):
                write_jpeg(Path(root, f"{seed}.jpg"), width, height, seed)
            for size in (224, 64):
                spent = in_turns(ways(Path(root), size), rounds, warmup=0)
                yield from rates(f"{width} × {height} to {size} px", spent)
                if (width, size) == (500, 224):
                    best = {way: min(times) for way, times in spent.items()}
                    claim = f"pictures/s, 500×400 to 224 px, {AUGMENTED}: ÷ {REFERENCE}"
                    yield Claim(claim, [best[REFERENCE] / best[AUGMENTED]], 2.0, "×", "more")
                    share = [100 * best[DECODED] / best[AUGMENTED]]
                    yield Claim("pictures/s, the same: share of Pillow's decoding alone", share, unit="%")
    drawn, kept = few_shot_epochs(0), few_shot_epochs(1 << 30)
    epochs = {"drawn anew": drawn, "kept, first epoch": kept[:1], "kept, later epochs": kept[1:]}
    yield from rates("fieldguide, 16 shots at 64 px", epochs)


if __name__ == "__main__":
    program(measure, __doc__, rounds=5)
