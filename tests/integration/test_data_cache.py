"""The feature cache under real conditions: processes that are killed, and processes at work at once."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from hierfit.data import encode as module
from hierfit.data.encode import VectorCache
from hierfit.data.images import Files

PICTURES, SHARD, PATIENCE = 160, 32, 300.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(PICTURES):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{i:03}.png")
    return folder


def _pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def _work(root: Path, cache: Path, out: Path, pause: float) -> None:
    torch.set_num_threads(1)
    weight = torch.randn(192, 16, generator=torch.Generator().manual_seed(0))
    encoded = 0

    def tower(pixels: Tensor) -> Tensor:
        nonlocal encoded
        encoded += len(pixels)
        time.sleep(pause)
        return pixels.flatten(1) @ weight

    keys = sorted(path.name for path in root.iterdir())
    features = module.encode(keys, Files(root), _pixels, tower, VectorCache(cache))
    torch.save({"features": features, "encoded": encoded}, out)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD", SHARD)  # forked processes inherit it


def start(root: Path, cache: Path, out: Path, pause: float = 0.0) -> BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=_work, args=(root, cache, out, pause))
    process.start()
    return process


def result(process: BaseProcess, out: Path) -> tuple[Tensor, int]:
    process.join(PATIENCE)
    assert process.exitcode == 0
    saved = torch.load(out, weights_only=True)
    return saved["features"], saved["encoded"]


def test_a_killed_run_is_taken_up_where_it_stopped(root: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    process = start(root, cache, tmp_path / "killed.pt", pause=0.5)
    deadline = time.monotonic() + PATIENCE
    while len(list(cache.glob("*.safetensors"))) < 2:
        assert time.monotonic() < deadline
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()  # SIGKILL
    process.join()
    assert not (tmp_path / "killed.pt").exists()
    shards = len(list(cache.glob("*.safetensors")))
    assert 2 <= shards < PICTURES // SHARD

    resumed, encoded = result(start(root, cache, tmp_path / "resumed.pt"), tmp_path / "resumed.pt")
    assert encoded == PICTURES - SHARD * shards
    fresh, everything = result(start(root, tmp_path / "other", tmp_path / "fresh.pt"), tmp_path / "fresh.pt")
    assert everything == PICTURES
    assert torch.equal(resumed, fresh)


def test_two_processes_at_once_do_not_disturb_each_other(root: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    outs = [tmp_path / f"{i}.pt" for i in range(2)]
    processes = [start(root, cache, out, pause=0.05) for out in outs]
    first, second = [result(process, out) for process, out in zip(processes, outs, strict=True)]
    assert torch.equal(first[0], second[0])
    assert len(list(cache.iterdir())) == PICTURES // SHARD
    again, encoded = result(start(root, cache, tmp_path / "again.pt"), tmp_path / "again.pt")
    assert encoded == 0
    assert torch.equal(again, first[0])
