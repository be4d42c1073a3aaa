"""Each baseline through the command line: one step, its card, its checkpoint; and what a user may get wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hierfit.cli import main
from hierfit.results.card import ResultCard

from .conftest import budget, small_card
from .session.conftest import write_bundle, write_card

TRAINED = ["CLIPAdapter", "LinearProbe", "TaskRes", "TipAdapterF"]


def command(folder: Path, *options: str, method: str) -> list[str]:
    """Options of a run of two steps on the small bundle."""
    keys = {
        "data.card": folder / "toy.yaml",
        "data.root": folder / "bundle.safetensors",
        "data.shots": 4,
        "data.batch_size": 8,
        "trainer.accelerator": "cpu",
        "trainer.max_steps": 2,
        "trainer.val_check_interval": 2,
        "trainer.log_every_n_steps": 1,
        "wandb": "disabled",
        "model": method,  # by its name alone
    }
    return [*(f"--{key}={value}" for key, value in keys.items()), *options]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle.safetensors")
    write_card(tmp_path / "toy.yaml")
    return tmp_path


def logits_of(run: Path) -> torch.Tensor:
    return load_file(run / "test_logits.safetensors")["logits"]


@pytest.mark.parametrize("method", TRAINED)
def test_a_trained_baseline_keeps_its_weights_and_tests_alike(method: str, folder: Path) -> None:
    main(["fit", *command(folder, f"--folder={folder / 'run'}", method=method)])
    card = ResultCard.read(folder / "run")
    assert (card.method, card.cost["steps"], card.selected_on, card.tuned_on) == (method, 2, "val", "defaults")
    assert card.method_settings["class_path"] == f"hierfit.methods.{method}"
    checkpoint = folder / "run" / "checkpoints" / "selected.ckpt"
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert sum(value.numel() for value in weights.values()) == card.parameters["trainable"]
    config = folder / "run" / "config.yaml"
    main(["test", f"--config={config}", f"--ckpt_path={checkpoint}", f"--folder={folder / 'again'}"])
    assert torch.equal(logits_of(folder / "again"), logits_of(folder / "run"))


def test_tip_adapter_needs_no_training(folder: Path) -> None:
    main(["fit", *command(folder, f"--folder={folder / 'run'}", method="TipAdapter")])
    card = ResultCard.read(folder / "run")
    assert (card.selected_on, card.tuned_on, card.parameters["trainable"]) == ("nothing", "defaults", 0)
    assert not (folder / "run" / "checkpoints").exists()


@pytest.mark.parametrize("method", ["TipAdapter", "TipAdapterF"])
def test_a_search_reads_val_and_says_so(method: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", *command(folder, f"--folder={folder / 'run'}", "--model.search=true", method=method)])
    assert ": chosen on val" in capsys.readouterr().out
    assert ResultCard.read(folder / "run").tuned_on == "val"
    write_bundle(folder / "bundle.safetensors", val=False)
    with pytest.raises(SystemExit) as stop:
        main(["fit", *command(folder, f"--folder={folder / 'none'}", "--model.search=true", method=method)])
    assert stop.value.code == 2
    assert "model.search needs a validation split" in capsys.readouterr().err
    assert not (folder / "none").exists()


def test_text_that_is_class_means_will_do(folder: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = folder / "bundle.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = {name: value for name, value in load_file(path).items() if not name.startswith("text.")}
    save_file(tensors, path, metadata)
    for method in [*TRAINED, "TipAdapter"]:
        main(["fit", *command(folder, f"--folder={folder / method}", method=method)])
        assert ResultCard.read(folder / method).data["text_source"] == "class means"


def test_coop_learns_through_the_text_tower(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [*budget(tmp_path, small_card(tmp_path)), "--data.root=null", f"--folder={tmp_path / 'run'}"]
    main(["fit", *command(tmp_path, *given, method="CoOp")])
    weights = torch.load(tmp_path / "run" / "checkpoints" / "selected.ckpt", weights_only=True)["state_dict"]
    assert {name: tuple(value.shape) for name, value in weights.items()} == {"classifier.context": (1, 16, 128)}

    write_bundle(tmp_path / "bundle.safetensors")
    write_card(tmp_path / "toy.yaml")
    with pytest.raises(SystemExit):
        main(["fit", *command(tmp_path, f"--folder={tmp_path / 'none'}", method="CoOp")])
    assert "CoOp needs a text tower" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_class_paths_that_earlier_runs_may_hold(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A module of the class works; one that is no more is answered by the name to write."""
    main(["fit", *command(folder, "--print_config", method="hierfit.methods.linear_probe.LinearProbe")])
    assert "hierfit.methods.linear_probe.LinearProbe" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["fit", *command(folder, method="hierfit.methods.coop.lightning.CoOp")])
    assert stop.value.code == 2
    assert "did you mean 'CoOp'?" in capsys.readouterr().err
