from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn

from hierfit.data.batch import Batch
from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.errors import UserError

WriteCard = Callable[..., str]

pytestmark = pytest.mark.usefixtures("fake_backbone")


class Recorder(LightningModule):
    """Notes which rows it meets where, and what it is trained on."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, 1)
        self.seen: dict[str, list[list[int]]] = {"train": [], "val": [], "test": [], "predict": []}
        self.inputs: list[dict[int, Tensor]] = []

    def _see(self, stage: str, batch: Batch) -> Tensor:
        self.seen[stage].append(batch.indices.tolist())
        value: Tensor = self.layer(batch.inputs.flatten(1)).mean()
        return value

    def on_train_epoch_start(self) -> None:
        self.inputs.append({})

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.inputs[-1] |= dict(zip(batch.indices.tolist(), batch.inputs, strict=True))
        return self._see("train", batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._see("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._see("test", batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._see("predict", batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def flat(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


def trainer(**options: Any) -> Trainer:
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return Trainer(accelerator="cpu", **(quiet | {"max_epochs": 2, "num_sanity_val_steps": 0} | options))


def test_a_run_sees_what_it_should(root: Path, write_card: WriteCard) -> None:
    data = HierarchicalDataModule(write_card(), str(root), shots=5, batch_size=6, eval_batch_size=5, num_workers=0)
    model = Recorder(8)
    runner = trainer()
    runner.fit(model, data)
    epochs = model.seen["train"][:4], model.seen["train"][4:]
    assert [sorted(flat(epoch)) for epoch in epochs] == [list(range(20))] * 2
    assert epochs[0] != epochs[1]
    assert model.seen["val"] == 2 * [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]
    runner.test(model, data)
    assert flat(model.seen["test"]) == list(range(16))
    runner.predict(model, data)
    assert flat(model.seen["predict"]) == list(range(16))
    again = Recorder(8)
    trainer().fit(again, HierarchicalDataModule(write_card(), str(root), shots=5, batch_size=6, num_workers=0))
    assert again.seen["train"] == model.seen["train"]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_pixels_come_preprocessed(root: Path, write_card: WriteCard, towers: Any, num_workers: int) -> None:
    data = HierarchicalDataModule(write_card(), str(root), needs="pixels", shots=2, num_workers=num_workers)
    model = Recorder(48)
    trainer(max_epochs=1).fit(model, data)
    assert sorted(flat(model.seen["train"])) == list(range(8))
    (batch,) = data.test_dataloader()
    assert batch.inputs.shape == (16, 3, 4, 4)
    features = HierarchicalDataModule(write_card(), str(root), shots=2, num_workers=0)
    (same,) = features.test_dataloader()
    assert torch.equal(batch.paths, same.paths)
    torch.testing.assert_close(towers.encode_image(batch.inputs), same.inputs)


@pytest.fixture
def guide(write_card: WriteCard) -> str:
    """A card of eight drawn species."""
    layout = {
        "name": "fieldguide",
        "guide": {"families": 2, "genera": 2, "species": 2, "image_size": 16},
        "per_leaf": {"train": 3, "val": 1, "test": 1},
    }
    return write_card(layout=layout, taxonomy=None, levels={"family": 2, "genus": 4, "species": 8}, splits=None)


def pixels(card: str, **options: Any) -> HierarchicalDataModule:
    defaults = {"needs": "pixels", "shots": 2, "batch_size": 6, "num_workers": 0}
    return HierarchicalDataModule(card, **(defaults | options))


def trained_on(data: HierarchicalDataModule, **options: Any) -> list[dict[int, Tensor]]:
    model = Recorder(48)
    trainer(**options).fit(model, data)
    return model.inputs


def test_training_pictures_vary_by_seed_epoch_and_row_alone(guide: str) -> None:
    first = trained_on(pixels(guide))
    assert [sorted(epoch) for epoch in first] == [list(range(16))] * 2
    assert not any(torch.equal(first[0][row], first[1][row]) for row in range(16))
    for options in ({"num_workers": 2, "batch_size": 5}, {"keep_mib": 0, "eval_batch_size": 1}):
        again = trained_on(pixels(guide, **options))
        for epoch, expected in zip(again, first, strict=True):
            assert all(torch.equal(epoch[row], expected[row]) for row in range(16))
    other = trained_on(pixels(guide, seed=1), max_epochs=1)
    assert not any(torch.equal(other[0][row], first[0][row]) for row in range(16))


def test_a_resumed_run_sees_what_the_whole_run_would_have(guide: str, tmp_path: Path) -> None:
    complete, model, runner = Recorder(48), Recorder(48), trainer(max_epochs=1)
    trainer().fit(complete, pixels(guide))
    runner.fit(model, pixels(guide))
    runner.save_checkpoint(tmp_path / "one.ckpt")
    model = Recorder(48)
    trainer().fit(model, pixels(guide), ckpt_path=tmp_path / "one.ckpt", weights_only=True)
    assert model.seen["train"] == complete.seen["train"][3:]
    (second,) = model.inputs
    assert all(torch.equal(second[row], complete.inputs[1][row]) for row in range(16))


def test_augment_chooses_how_and_evaluation_never_varies(guide: str) -> None:
    def train(**options: Any) -> Tensor:
        batches = list(pixels(guide, **options).train_dataloader())
        return torch.cat([batch.inputs for batch in batches])

    plain, cropped, both = (train(augment=kind) for kind in ("none", "crop", "crop_flip"))
    assert not any(torch.equal(a, b) for a, b in zip(plain, cropped, strict=True))
    turned = [torch.equal(a.flip(-1), b) and not torch.equal(a, b) for a, b in zip(cropped, both, strict=True)]
    assert 0 < sum(turned) < 16
    assert all(torch.equal(a, b) for a, b, flip in zip(cropped, both, turned, strict=True) if not flip)
    assert not torch.equal(train(crop_area=0.1), both)
    whole = trained_on(pixels(guide), overfit_batches=3)
    assert all(torch.equal(whole[0][row], whole[1][row]) for row in range(16))
    for loader in ("val_dataloader", "test_dataloader"):
        (batch,), (other,) = getattr(pixels(guide), loader)(), getattr(pixels(guide, augment="none"), loader)()
        assert torch.equal(batch.inputs, other.inputs)


def test_overfitting_meets_the_same_batches_again(root: Path, write_card: WriteCard) -> None:
    data = HierarchicalDataModule(write_card(), str(root), shots=5, batch_size=6, num_workers=0)
    model = Recorder(8)
    trainer(overfit_batches=2).fit(model, data)
    assert model.seen["train"] == 2 * [list(range(6)), list(range(6, 12))]


def test_without_a_validation_split_the_last_step_counts(root: Path, write_card: WriteCard) -> None:
    data = HierarchicalDataModule(write_card(), str(root), shots=2, num_workers=0)
    assert (data.has_val, data.selected_on) == (True, "val")
    (root / "val").rename(root / "other")
    data = HierarchicalDataModule(write_card(splits=None), str(root), shots=2, num_workers=0)
    assert (data.has_val, data.selected_on) == (False, "last step")
    model = Recorder(8)
    trainer().fit(model, data)
    assert model.seen["val"] == []
    assert data.summary()["has_val"] is False


def test_faulty_values_come_at_once(write_card: WriteCard) -> None:
    given: dict[str, Any] = dict.fromkeys(("shots", "batch_size", "eval_batch_size"), 0)
    given |= dict.fromkeys(("seed", "keep_mib", "num_workers", "coarse_shots"), -1)
    given |= {"augment": "flip", "crop_area": 0.0, "tree": "upside down", "novel": "some"}
    with pytest.raises(UserError) as caught:
        HierarchicalDataModule(write_card(), **given)
    assert sorted(fault.split(":")[0] for fault in caught.value.problems) == sorted(f"data.{name}" for name in given)
    for area in (-0.1, 1.01, float("nan"), float("inf")):
        with pytest.raises(UserError, match=rf"data.crop_area: {area}, must be in \(0, 1\]"):
            HierarchicalDataModule(write_card(), crop_area=area)


def test_features_cannot_train_towers(tmp_path: Path, write_card: WriteCard) -> None:
    from hierfit.data.bundle import Bundle, BundleSplit, write_bundle

    labels = torch.tensor([0, 1])
    splits = {name: BundleSplit(torch.eye(2), labels) for name in ("train", "test")}
    write_bundle(tmp_path / "x.safetensors", Bundle(("species",), (("a",), ("b",)), splits))
    card = write_card(layout="feature_bundle", taxonomy=None, levels={"species": 2}, splits=None)
    data = HierarchicalDataModule(card, str(tmp_path / "x.safetensors"), shots=None)
    assert data.task.text_source == "class means"
    assert data.task.backbone is None
    assert torch.equal(data.task.text, torch.eye(2))
    pixels = HierarchicalDataModule(card, str(tmp_path / "x.safetensors"), needs="pixels", shots=None)
    with pytest.raises(UserError, match="it holds features only, but this method trains the towers"):
        pixels.setup()


def test_classes_without_training_images_are_named_before_training(
    root: Path, write_card: WriteCard, fake_backbone: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(root / "train/dog/fox")
    counts = {"train": {"leaves": 3}, "val": {}, "test": {}}
    data = HierarchicalDataModule(write_card(splits=counts), str(root), shots=None, num_workers=0)
    data.trainer = SimpleNamespace(is_global_zero=True, strategy=SimpleNamespace(root_device="cpu"))  # type: ignore[assignment]
    data.setup("fit")
    assert "there is no image to train on of dog/fox" in capsys.readouterr().out
