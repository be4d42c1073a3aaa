"""Named data sets from the files their authors hand out to a result card; and as targets of one another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from hierfit.cli import main
from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.errors import UserError
from tests.unit.data.miniature import miniature

from .conftest import budget


def module(folder: Path, name: str, targets: dict[str, str | None] | None = None, **options: Any) -> Any:
    copy = miniature(name, folder / name)
    options = {"shots": 2, "num_workers": 0, "cache_dir": str(folder / "cache")} | options
    return HierarchicalDataModule(copy.card, str(copy.root), targets=targets, **options)


@pytest.mark.parametrize("name", ["cub200", "cifar100"])
def test_one_step_from_the_authors_files(name: str, tmp_path: Path) -> None:
    copy = miniature(name, tmp_path)
    given = [f"--data.root={copy.root}", "--data.shots=2", f"--folder={tmp_path / 'run'}"]
    main(["fit", *budget(tmp_path, Path(copy.card)), "--model=LatHAdapter", *given])
    (result,) = (tmp_path / "run").glob("**/result.json")
    data = json.loads(result.read_text())["data"]
    assert data["card"] == name
    assert data["images"] == {"train": 8, "test": 8}
    assert list(data["levels"].values())[-1] == 4


def test_pixels_in_memory_are_augmented_and_cached(tmp_path: Path) -> None:
    pixels = module(tmp_path, "cifar100", needs="pixels", batch_size=8)
    first, second = (next(iter(pixels.train_dataloader())) for _ in range(2))
    assert first.inputs.shape[:2] == (8, 3)
    assert torch.equal(first.inputs, second.inputs)  # the same epoch
    later = pixels.train_dataloader()
    later.sampler.set_epoch(1)
    third = next(iter(later))
    order = third.indices.argsort()[first.indices.argsort().argsort()]  # the same pictures, cropped anew
    assert torch.equal(third.indices[order], first.indices)
    assert not torch.equal(third.inputs[order], first.inputs)
    features = module(tmp_path / "b", "cifar100", cache_dir=str(tmp_path / "features"))
    features.setup()
    stored = {path: path.stat().st_mtime_ns for path in (tmp_path / "features").rglob("*.safetensors")}
    # The same pixels in another folder are the same pictures.
    module(tmp_path / "c", "cifar100", cache_dir=str(tmp_path / "features")).setup()
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "features").rglob("*.safetensors")} == stored


def test_imagenet_and_its_targets(tmp_path: Path) -> None:
    copies = {name: miniature(name, tmp_path / name) for name in ("imagenet_v2", "imagenet_r", "cifar100")}
    data = module(tmp_path, "imagenet", targets={copy.card: str(copy.root) for copy in copies.values()})
    v2, r, cifar = data.targets
    assert v2.columns is not None  # the same classes: whatever is trained is used as it is
    assert r.columns is not None  # here the copy holds the same four classes
    assert cifar.columns is None
    assert [len(target.splits["test"]) for target in data.targets] == [8, 8, 8]
    with pytest.raises(UserError, match="nothing to train on"):
        module(tmp_path / "b", "imagenet_v2").setup()
