"""Every experiment file runs one step, on a small guide, with the bundled tiny CLIP."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from hierfit.cli import main
from hierfit.results.card import ResultCard

from .conftest import ROOT, budget, small_card

EXPERIMENTS = sorted(p.stem for p in (ROOT / "experiments").glob("*.yaml") if p.stem != "base")


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_card(tmp_path_factory.mktemp("cards"))


def fit(name: str, card: Path, folder: Path, steps: int, **options: object) -> None:
    """Runs an experiment on the small card for some steps."""
    given = {"folder": folder, "trainer.max_steps": steps, "trainer.val_check_interval": steps, **options}
    own = [f"--{key}={value}" for key, value in given.items()]
    short = [option for option in budget(folder.parent, card) if not option.startswith("--data.shots")]
    main(["fit", str(ROOT / "experiments" / f"{name}.yaml"), *short, *own])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_runs_one_step(name: str, card: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    fit(name, card, folder, 1)
    result = ResultCard.read(folder)
    assert result.experiment == name
    assert result.cost["steps"] == (result.selected_on != "nothing")  # a closed form takes none
    assert result.data["images"]["test"] == 24
    controls = yaml.safe_load((folder / "config.yaml").read_text())["controls"] or {}
    assert len(list((folder / "controls").glob("*/result.json"))) == len(controls)


def test_a_run_does_not_depend_on_what_the_cache_holds(card: Path, tmp_path: Path) -> None:
    """Cold cache, warm cache: the same weights at the start, hence the same logits."""
    for run in ("cold", "warm"):
        fit("lathadapter_fewshot", card, tmp_path / run, 3, controls="null", **{"data.num_workers": 1})
    logits = [load_file(tmp_path / run / "test_logits.safetensors")["logits"] for run in ("cold", "warm")]
    assert torch.equal(*logits)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_is_named_as_its_file_and_opens_with_its_command(name: str) -> None:
    text = (ROOT / "experiments" / f"{name}.yaml").read_text()
    assert yaml.safe_load(text)["name"] == name
    assert f"make train EXP={name}" in text.split("name:")[0]


def test_lathadapter_learns_attribute_prompts_through_the_text_tower(card: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    prompts = {"model.attributes": "prompts", "model.num_attributes": 4}
    fit("lathadapter_fewshot", card, folder, 2, controls="null", **prompts)
    weights = torch.load(folder / "checkpoints" / "selected.ckpt", weights_only=True)["state_dict"]
    (contexts,) = (value for name, value in weights.items() if "context" in name)
    assert contexts.shape[0] == 4  # the prompts are kept, the frozen text tower is not
    assert sum(value.numel() for value in weights.values()) < 200_000
