"""Runs on features that were handed on, and on caches that lose what they had."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from lightning import LightningModule, Trainer
from PIL import Image

from hierfit.cli import main
from hierfit.results.card import ResultCard
from hierfit.run.checkpoints import SelectOnVal

from .conftest import LEVELS, PATHS, Fit


def test_an_exported_bundle_trains_to_the_same_result(fit: Fit, tmp_path: Path) -> None:
    first = ResultCard.read(fit("--controls=null"))
    out = tmp_path / "again.safetensors"
    main(["features", "export", str(tmp_path / "bundle.safetensors"), f"--out={out}"])
    second = ResultCard.read(fit("--controls=null", f"--data.root={out}"))
    assert first.metrics == second.metrics
    assert first.val == second.val


@pytest.fixture
def pictures(experiment: Path, tmp_path: Path) -> list[str]:
    """The arguments of a run on pictures through the tiny CLIP, 4 training pictures a leaf."""
    generator = torch.Generator().manual_seed(0)
    for split, count in {"train": 4, "val": 1, "test": 2}.items():
        for leaf, path in enumerate(PATHS):
            folder = tmp_path.joinpath("pictures", split, *path)
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = torch.randint(0, 256, (12, 12, 3), generator=generator) // 2 + 16 * leaf
                Image.fromarray(pixels.clamp(max=255).to(torch.uint8).numpy()).save(folder / f"{number}.png")
    tree = [",".join(LEVELS), *(",".join(path) for path in PATHS)]
    (tmp_path / "photos.csv").write_text("\n".join(tree), encoding="utf-8")
    card = {**yaml.safe_load((tmp_path / "toy.yaml").read_text()), "name": "photos", "taxonomy": "photos.csv"}
    (tmp_path / "photos.yaml").write_text(yaml.safe_dump({**card, "layout": "image_folder"}, sort_keys=False))
    data = {"card": tmp_path / "photos.yaml", "root": tmp_path / "pictures", "backbone": "tiny", "num_workers": 0}
    return [f"--config={experiment}", "--controls=null", *(f"--data.{key}={value}" for key, value in data.items())]


def test_a_cache_lost_in_the_middle_of_a_run_changes_nothing(
    kills: ModuleType,
    pictures: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Lost while it trains, it is not missed; lost and then killed, the same command encodes it again."""
    torch.set_num_threads(1)
    cache = tmp_path / "cache"
    validated = SelectOnVal.on_validation_end
    lost: list[Path] = []

    def run(name: str) -> Path:
        main(["fit", *pictures, f"--data.cache_dir={cache}", f"--runs={tmp_path / name}", "--save_every=0"])
        folder: Path = kills.only(tmp_path / name)
        return folder

    def loses(then: type[BaseException] | None) -> Any:
        def hook(self: SelectOnVal, trainer: Trainer, pl_module: LightningModule) -> None:
            validated(self, trainer, pl_module)
            if trainer.global_step == 3:
                shards = sorted(cache.rglob("*.safetensors"))
                lost.extend(shards)
                for shard in shards:
                    shard.unlink()
                if then is not None:
                    raise then

        return hook

    whole = run("whole")
    assert list(cache.rglob("*.safetensors"))
    monkeypatch.setattr(SelectOnVal, "on_validation_end", loses(None))
    disturbed = run("lost")
    monkeypatch.setattr(SelectOnVal, "on_validation_end", loses(MemoryError))
    with pytest.raises(MemoryError):
        run("killed")  # which begins by encoding all that the other has lost
    monkeypatch.setattr(SelectOnVal, "on_validation_end", validated)
    capsys.readouterr()
    resumed = run("killed")
    assert "goes on from step 2" in capsys.readouterr().out
    assert len(lost) >= 4
    assert {path.name for path in cache.rglob("*.safetensors")} == {path.name for path in lost}
    assert kills.differences(whole, disturbed) == []
    assert kills.differences(whole, resumed) == []
