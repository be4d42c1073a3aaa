"""One command: trains, tests what validation selected, runs the controls, prints the table, leaves facts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from hierfit.cli import main
from hierfit.decoding import DECODERS
from hierfit.metrics import hierarchy_metrics
from hierfit.results.card import ResultCard
from hierfit.run.keys import DEFAULTS
from hierfit.taxonomy import Taxonomy

from .conftest import PATHS, Fit, write_bundle, write_card


def test_a_run_leaves_its_facts_and_prints_its_table(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fit()
    printed = capsys.readouterr().out
    rows = [line.split()[0] for line in printed.splitlines() if line.startswith(("zero-shot", "λ=0", "LatHAdapter  "))]
    assert rows == ["zero-shot", "λ=0", "LatHAdapter"]
    assert str(folder) in printed.replace("\n", "")

    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert {
        "config.yaml",
        "result.json",
        "metrics.csv",
        "test_logits.safetensors",
        "predictor/predictor.json",
        "predictor/head.safetensors",
        "checkpoints/selected.ckpt",
        "controls/zero-shot/result.json",
        "controls/λ=0/result.json",
    } <= names
    assert not [name for name in names if Path(name).name.startswith(".")]

    card = ResultCard.read(folder)
    assert (card.row, card.method, card.seed, card.selected_on) == ("LatHAdapter", "LatHAdapter", 1, "val")
    assert card.data["images"] == {"train": 32, "val": 16, "test": 37}
    assert card.cost["steps"] == 6
    assert card.parameters["trainable"] > 0
    assert ResultCard.read(folder / "controls" / "zero-shot").selected_on == "nothing"
    control = ResultCard.read(folder / "controls" / "λ=0")
    assert control.method_settings["init_args"]["hierarchy_weight"] == 0
    assert control.data["draw"] == card.data["draw"]


def test_the_card_agrees_with_the_logits(fit: Fit) -> None:
    folder = fit()
    kept = load_file(folder / "test_logits.safetensors")
    assert kept["indices"].tolist() == list(range(37))
    tree = Taxonomy.from_paths(PATHS, levels=("top", "mid", "leaf"))
    card = ResultCard.read(folder)
    for name, decode in DECODERS.items():
        metrics = hierarchy_metrics(tree)
        metrics.update(decode(kept["logits"], tree), kept["paths"])
        for metric, value in metrics.compute().items():
            assert card.metrics[name][metric] == pytest.approx(value.item(), abs=1e-6)
    assert card.metrics["rollup"]["tice"] == 0.0


def test_zero_shot_is_what_the_bundle_says(fit: Fit, tmp_path: Path) -> None:
    folder = fit()
    bundle = load_file(tmp_path / "bundle.safetensors")
    guess = (bundle["test.features"] @ bundle["text.features"].T).argmax(1)
    expected = (guess == bundle["test.labels"]).float().mean().item()
    assert ResultCard.read(folder / "controls/zero-shot").metrics["rollup"]["leaf_accuracy"] == pytest.approx(expected)


def test_one_seed_gives_identical_numbers_and_another_does_not(fit: Fit) -> None:
    first, again, other = (load_file(fit("--seed_everything", s) / "test_logits.safetensors") for s in "110")
    assert torch.equal(first["logits"], again["logits"])
    assert not torch.equal(first["logits"], other["logits"])


def test_seed_zero_is_a_seed(fit: Fit) -> None:
    card = ResultCard.read(fit("--seed_everything", "0", "--controls=null"))
    assert card.seed == 0
    assert card.data["seed"] == 0


def test_a_checkpoint_holds_trained_weights_only_and_tests_alike(fit: Fit) -> None:
    folder = fit()
    checkpoint = folder / "checkpoints/selected.ckpt"
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    centres = {name for name in weights if name.endswith("centre")}  # means of the training features, not parameters
    kept = sum(w.numel() for name, w in weights.items() if name not in centres)
    assert kept == ResultCard.read(folder).parameters["trainable"]
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    assert settings["folder"] is None
    again = fit("--config", str(folder / "config.yaml"), "--ckpt_path", str(checkpoint), command="test")
    assert again != folder
    assert ResultCard.read(again).metrics == ResultCard.read(folder).metrics


def test_a_run_without_any_file_is_set_up_as_the_repositorys_are(experiment: Path, tmp_path: Path) -> None:
    # experiments/ does not come with the package; Lightning's own would be a thousand epochs and its own sampler.
    base = yaml.safe_load((Path(__file__).parents[3] / "experiments" / "base.yaml").read_text(encoding="utf-8"))
    data = {"card": tmp_path / "toy.yaml", "root": tmp_path / "bundle.safetensors", "shots": 4}
    own = {"model": "ZeroShot", "wandb": "disabled", "runs": tmp_path / "runs", "seed_everything": 7}
    options = {**own, **{f"data.{key}": value for key, value in data.items()}}
    main(["fit", *(f"--{key}={value}" for key, value in options.items())])
    (folder,) = tmp_path.glob("runs/experiment/*")
    settings = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    assert {key: settings["trainer"][key] for key in base["trainer"]} == base["trainer"]
    assert {f"trainer.{key}" for key in base["trainer"]} - {"trainer.accelerator"} == DEFAULTS.keys() - {"data.seed"}
    assert base["data"] == {"seed": "${seed_everything}"}
    assert settings["data"]["seed"] == 7


def test_predictions_are_paths_with_probabilities(fit: Fit) -> None:
    folder = fit("--controls=null")
    checkpoint = str(folder / "checkpoints/selected.ckpt")
    with (fit("--ckpt_path", checkpoint, command="predict") / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 37
    assert all((row["top"], row["mid"], row["leaf"]) in PATHS for row in rows)
    assert all(0 <= float(row[f"p({level})"]) <= 1 for row in rows for level in ("top", "mid", "leaf"))


def test_validate_prints_the_metrics_of_a_checkpoint(
    fit: Fit, experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = ResultCard.read(fit("--controls=null"))
    (checkpoint,) = tmp_path.glob("runs/toy/*/checkpoints/selected.ckpt")
    capsys.readouterr()
    main(["validate", "--config", str(experiment), "--ckpt_path", str(checkpoint)])
    printed = capsys.readouterr().out
    assert "val/leaf_accuracy" in printed
    assert str(card.val["val/leaf_accuracy"])[:6] in printed


def test_without_validation_the_last_step_is_taken_and_said(fit: Fit, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle.safetensors", val=False)
    folder = fit("--controls=null")
    assert ResultCard.read(folder).selected_on == "last step"
    assert torch.load(folder / "checkpoints/selected.ckpt", weights_only=True)["global_step"] == 6


@pytest.mark.parametrize(
    ("option", "metric"),
    [((), "val/leaf_accuracy"), (("--select_on=wap_accuracy",), "val/wap_accuracy"), (("--select_on=fpa",), "val/fpa")],
)
def test_the_named_metric_selects_the_first_best_of_validation(fit: Fit, option: tuple[str, ...], metric: str) -> None:
    folder = fit("--controls=null", "--trainer.max_steps=8", "--trainer.val_check_interval=1", *option)
    with (folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row[metric]]
    assert len(rows) == 8
    best = max(rows, key=lambda row: float(row[metric]))  # the first of equals
    checkpoint = torch.load(folder / "checkpoints/selected.ckpt", weights_only=True)
    assert checkpoint["global_step"] == int(best["step"]) + 1
    assert ResultCard.read(folder).val[metric] == pytest.approx(float(best[metric]))


def test_results_prints_the_same_table(fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fit()
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("zero-shot", "λ=0", "LatH"))]
    main(["results", str(folder)])
    assert [
        row for row in capsys.readouterr().out.splitlines() if row.startswith(("zero-shot", "λ=0", "LatH"))
    ] == table[:3]


@pytest.mark.parametrize(
    "options",
    [
        ("--model.geometry", "lorentz"),
        ("--model.geometry", "euclidean"),
        ("--model.lca", "random"),
        ("--model.attributes", "none"),
        ("--model.hierarchy", "tiered"),
        ("--model.objective", '{"leaf_ce": 1, "tp_kl": 0.5}'),
        ("--trainer.precision", "bf16-mixed"),
    ],
)
def test_every_control_is_one_key(fit: Fit, options: tuple[str, str]) -> None:
    card = ResultCard.read(fit("--controls=null", *options))
    assert card.metrics["per_level"]["leaf_accuracy"] is not None


def test_a_finished_run_is_valid_json_without_nan(fit: Fit) -> None:
    text = (fit("--controls=null") / "result.json").read_text()
    assert json.loads(text)["format"] == "hierfit.result/1"
    assert "NaN" not in text


def test_a_checkpoint_of_another_tree_is_refused(fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = str(fit("--controls=null") / "checkpoints/selected.ckpt")
    write_bundle(tmp_path / "bundle.safetensors", nodes=6)
    write_card(tmp_path / "toy.yaml", {"top": 2, "mid": 3, "leaf": 6})
    with pytest.raises(SystemExit) as stop:
        fit("--ckpt_path", checkpoint, command="test")
    assert stop.value.code == 2
    assert "trained for another tree" in capsys.readouterr().err


def test_the_next_command_that_is_named_runs_the_next_seed(
    fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fit("--model.lr=0.01")
    said = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Next"))
    main(said.split()[2:])
    (other,) = set(run.parent.iterdir()) - {run}
    first, second = ResultCard.read(run), ResultCard.read(other)
    assert (first.seed, second.seed, second.data["seed"]) == (1, 2, 2)
    settings = yaml.safe_load((other / "config.yaml").read_text())
    assert settings["model"]["init_args"]["lr"] == 0.01
    assert (other / "controls" / "zero-shot").is_dir()
