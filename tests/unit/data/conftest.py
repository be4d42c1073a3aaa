"""A small data set in folders, its card, and towers that cost nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from hierfit.backbone import ImageTransform

LEAVES = (("cat", "lion"), ("cat", "tiger"), ("dog", "wolf"), ("dog", "fox"))
COUNTS = {"train": 6, "val": 3, "test": 4}


class FakeTowers(nn.Module):
    """A fixed random projection of pixels; texts are hashed. Stands in for `Backbone`."""

    logit_scale = 50.0
    source = "fake"
    fingerprint = "f" * 64
    embed_dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.preprocess = ImageTransform(4, None, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        self.weight = nn.Parameter(torch.randn(48, 8, generator=torch.Generator().manual_seed(0)))
        self.encoded = 0

    @property
    def device(self) -> torch.device:
        return self.weight.device

    def encode_image(self, pixels: Tensor) -> Tensor:
        self.encoded += len(pixels)
        return F.normalize(pixels.flatten(1) @ self.weight, dim=-1)

    def token_chunks(self, texts: Sequence[str], size: int, n_context: int = 0) -> tuple[list[int], list[Tensor]]:
        ids = torch.tensor([[int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)] for text in texts])
        return list(range(len(texts))), [ids]

    def encode_tokens(self, ids: Tensor, context: Tensor | None = None) -> Tensor:
        rows = [torch.randn(8, generator=torch.Generator().manual_seed(seed)) for seed in ids[:, 0].tolist()]
        return F.normalize(torch.stack(rows), dim=-1)


def _save_picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def save_picture() -> Callable[[Path, int], None]:
    """Writes a small picture of noise, by seed."""
    return _save_picture


@pytest.fixture
def towers() -> FakeTowers:
    """Towers that cost nothing."""
    return FakeTowers()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """``train|val|test/<family>/<species>/<n>.png``."""
    folder = tmp_path / "pictures"
    seed = 0
    for split, count in COUNTS.items():
        for leaf in LEAVES:
            for n in range(count):
                _save_picture(folder.joinpath(split, *leaf, f"{n}.png"), seed)
                seed += 1
    return folder


WriteCard = Callable[..., str]


@pytest.fixture
def write_card(tmp_path: Path) -> WriteCard:
    """Writes ``cards/animals.yaml`` and its tree; keyword arguments change keys, None takes one out."""

    def write(**changes: object) -> str:
        folder = tmp_path / "cards"
        folder.mkdir(exist_ok=True)
        (folder / "animals.csv").write_text("family,species\n" + "".join(f"{a},{b}\n" for a, b in LEAVES))
        card: dict[str, object] = {
            "name": "animals",
            "version": 1,
            "title": "Animals",
            "citation": "nobody",
            "licence": "CC0",
            "obtain": "ask a zoo",
            "taxonomy": "animals.csv",
            "levels": {"family": 2, "species": 4},
            "layout": "image_folder",
            "splits": {name: {"images": 4 * count, "leaves": 4} for name, count in COUNTS.items()},
        }
        card |= changes
        path = folder / "animals.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in card.items() if v is not None}, sort_keys=False))
        return str(path)

    return write


@pytest.fixture
def fake_backbone(towers: FakeTowers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeTowers:
    """Every `data.backbone` loads these towers, and the cache lies in the test's own folder."""
    monkeypatch.setattr("hierfit.data.prepare.Backbone.load", lambda source: towers)
    monkeypatch.setenv("HIERFIT_CACHE", str(tmp_path / "cache"))
    return towers
