"""Features for other programs: what is written can be read by them, and as a bundle it trains as before."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hierfit.cli import main
from hierfit.data.bundle import read_bundle
from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.tools.extract import export
from tests.unit.data.conftest import COUNTS, LEAVES, FakeTowers, WriteCard


def exported(source: object, out: Path, *options: str) -> Path:
    main(["features", "export", str(source), f"--out={out}", *options])
    return out


@pytest.fixture
def bundle(root: Path, write_card: WriteCard, tmp_path: Path, fake_backbone: FakeTowers) -> Path:
    """The small data set with one training picture that is known by its family only."""
    (root / "train" / "cat" / "lion" / "0.png").rename(root / "train" / "cat" / "0.png")
    card = write_card(splits=None)
    return exported(card, tmp_path / "out.safetensors", f"--root={root}", "--workers=0")


def test_a_card_becomes_a_bundle_that_trains_as_the_card(
    bundle: Path, root: Path, write_card: WriteCard, fake_backbone: FakeTowers
) -> None:
    encoded = fake_backbone.encoded
    modules = []
    for layout, where in (("image_folder", root), ("feature_bundle", bundle)):
        card, taken = write_card(splits=None, layout=layout), {"shots": None, "val_shots": "all", "batch_size": 5}
        module = HierarchicalDataModule(card, str(where), "fake", num_workers=0, **taken)  # type: ignore[arg-type]
        module.prepare_data()
        module.setup("fit")
        modules.append(module)
    assert fake_backbone.encoded == encoded  # all of it came from the cache that the export had filled
    pictures, features = modules
    torch.testing.assert_close(pictures.task.text, features.task.text)
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        for one, other in zip(getattr(pictures, loader)(), getattr(features, loader)(), strict=True):
            torch.testing.assert_close(one.inputs, other.inputs)
            assert torch.equal(one.paths, other.paths)


def test_of_a_bundle_nothing_is_lost(bundle: Path, tmp_path: Path) -> None:
    again = exported(bundle, tmp_path / "again.safetensors")
    one, other = load_file(bundle), load_file(again)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert read_bundle(bundle).note == read_bundle(again).note

    with np.load(exported(bundle, tmp_path / "out.npz"), allow_pickle=False) as arrays:
        for name, tensor in one.items():
            assert np.array_equal(arrays[name], tensor.numpy()), name
        assert [tuple(row) for row in arrays["leaves"]] == list(read_bundle(bundle).paths)
        assert arrays["levels"].tolist() == ["family", "species"]
        assert float(arrays["logit_scale"]) == 50.0


def test_a_folder_is_for_pandas_and_numpy(
    bundle: Path, root: Path, write_card: WriteCard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = exported(write_card(splits=None), tmp_path / "folder", f"--root={root}", "--workers=0", "--split=train")
    assert f"numpy.load('{folder}/train.npy', mmap_mode='r')" in capsys.readouterr().out
    names = {"train.npy", "train.csv", "leaves.csv", "text.npy", "text.csv", "about.json"}
    assert {path.name for path in folder.iterdir()} == names
    features, split = np.load(folder / "train.npy"), read_bundle(bundle).splits["train"]
    assert np.array_equal(features, split.features.numpy())
    with (folder / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["label"]) for row in rows] == split.labels.tolist()
    assert len(rows) == COUNTS["train"] * len(LEAVES)
    for row in rows:
        species = f"{row['species']}/" if row["species"] else ""
        assert row["key"].startswith(f"train/{row['family']}/{species}")
        assert (root / row["key"]).is_file()
    (coarse,) = [row for row in rows if row["label"] == "-1"]
    assert (coarse["family"], coarse["species"]) == ("cat", "")
    assert len(np.load(folder / "text.npy")) == len((folder / "text.csv").read_text().splitlines()) - 1 == 6
    assert json.loads((folder / "about.json").read_text())["logit_scale"] == 50.0


@pytest.mark.parametrize(
    ("out", "options", "message"),
    [
        ("out.parquet", [], "no format of features ends in .parquet"),
        ("taken", [], "exists already"),
        ("out.npz", ["--split=trian"], "no split 'trian' – did you mean 'train'?"),
    ],
)
def test_mistakes(
    out: str, options: list[str], message: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit):
        exported(bundle, tmp_path / out, *options)
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("out", ["out.npz", "folder", "again.safetensors"])
def test_what_cannot_be_written_leaves_nothing(
    out: str,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(export.np, "savez", full)
    monkeypatch.setattr(export, "write_csv", full)
    monkeypatch.setattr("hierfit.tensors.save_file", full)
    with pytest.raises(SystemExit):
        exported(bundle, tmp_path / out)
    assert f"{out} cannot be written: No space left on device" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
