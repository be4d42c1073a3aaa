"""What ``hierfit features extract`` takes of memory: ``python tests/bench/bench_extract.py [--images 7000]``.

Whole processes on n and on 4n pictures, their peak memory (resident set), and what it grew by a picture. Folder, table
and tar shards are measured with towers that only pool pixels, so that many pictures pass in little time; the tiny CLIP
is measured on a twentieth of them. Last, what a dry run says of 2.7 million pictures.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from harness import Claim, program
from PIL import Image
from torch import Tensor, nn

from hierfit.backbone import Backbone, ImageTransform
from hierfit.cli import main as hierfit

CLASSES, PART, SIDE = 100, 256, 32
MOST = {"pooled pixels": 256.0, "tiny": 10_000.0}
"""Bytes a picture. Peaks of equal runs differ by some 3 MiB, with `tiny` by 8 MiB, which is 7 KB for each of its few
pictures; 20 KB a picture is what one wrong allocation had cost."""


class Pooled(nn.Module):
    """Stands in for towers: features are pooled pixels, texts random numbers."""

    source, fingerprint, logit_scale, embed_dim = "pooled", "0", 100.0, 192
    device = torch.device("cpu")
    preprocess = ImageTransform(SIDE, None, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Features ``[B, 192]``."""
        return nn.functional.normalize(nn.functional.adaptive_avg_pool2d(pixels, 8).flatten(1), dim=-1)

    def token_chunks(self, texts: list[str], size: int, n_context: int = 0) -> tuple[list[int], list[Tensor]]:
        """Each text as one number."""
        ids = torch.arange(len(texts))[:, None]
        return list(range(len(texts))), [ids]

    def encode_tokens(self, ids: Tensor, context: Tensor | None = None) -> Tensor:
        """Features ``[B, 192]``."""
        generator = torch.Generator().manual_seed(0)
        return nn.functional.normalize(torch.randn(len(ids), self.embed_dim, generator=generator), dim=-1)


def write_sources(root: Path, count: int) -> dict[str, Path]:
    """The same pictures as a folder (links to one file a class), as a table, and as tars of 5000."""
    pixels = np.random.default_rng(0).integers(0, 256, (CLASSES, SIDE, SIDE, 3), dtype=np.uint8)
    folder, tars = root / "folder", root / "tars"
    tars.mkdir(parents=True)
    stored = []
    for label, picture in enumerate(pixels):
        (folder / f"{label:02}").mkdir(parents=True)
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG")
        stored.append(buffer.getvalue())
        (folder / f"{label:02}" / "0.jpg").write_bytes(stored[-1])
    for number in range(CLASSES, count):
        label = f"{number % CLASSES:02}"
        os.link(folder / label / "0.jpg", folder / label / f"{number}.jpg")
    lines = [f"{path.relative_to(folder)},{path.parent.name}" for path in sorted(folder.glob("*/*.jpg"))]
    (folder / "table.csv").write_text("\n".join(["path,label", *lines]), encoding="utf-8")
    for start in range(0, count, 5000):
        with tarfile.open(tars / f"{start:07}.tar", "w") as tar:
            for number in range(start, min(start + 5000, count)):
                for name, content in (("jpg", stored[number % CLASSES]), ("cls", str(number % CLASSES).encode())):
                    member = tarfile.TarInfo(f"{number}.{name}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return {"folder": folder, "table": folder / "table.csv", "tar shards": tars}


def peak(source: Path, out: Path, backbone: str) -> tuple[float, float]:
    """Peak memory in bytes, and seconds, of one extraction in a process of its own."""
    arguments = ["features", "extract", str(source), "--out", str(out), f"--part={PART}", "--workers=0"]
    started = time.perf_counter()
    line = [sys.executable, __file__, "--run", backbone, *arguments]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(line)}: ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss * 1024.0, time.perf_counter() - started


def measure(images: int) -> Iterator[Claim]:
    """Bytes that each picture adds to the peak, and the peak of the many."""
    with tempfile.TemporaryDirectory() as name:
        root, out = Path(name), Path(name) / "out.safetensors"
        for backbone, count in (("pooled pixels", images), ("tiny", images // 20)):
            small, large = (write_sources(root / str(n), n) for n in (count, 4 * count))
            for what in small if backbone != "tiny" else ("folder",):
                (low, before), (high, after) = (peak(each[what], out, backbone) for each in (small, large))
                title, added = f"features extract, {what}, {backbone}", 3 * count
                yield Claim(f"{title}: memory an image adds", [max(high - low, 0) / added], MOST[backbone], "bytes")
                yield Claim(f"{title}: peak memory of {4 * count:,} images", [high / 2**20], unit="MiB")
                yield Claim(f"{title}: images/s", [added / (after - before)], unit="/s")
        print("A dry run for 2.7 million images says:", flush=True)
        hierfit(["features", "extract", str(large["folder"]), "--out", str(out), "--dry-run", "--images=2.7e6"])


if __name__ == "__main__":
    if sys.argv[1:2] != ["--run"]:
        program(measure, __doc__, images=7_000)
    if sys.argv[2] != "tiny":
        Backbone.load = lambda source: Pooled()  # type: ignore[method-assign, assignment, return-value]
    hierfit(sys.argv[3:])
