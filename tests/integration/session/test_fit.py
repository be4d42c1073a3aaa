"""One command: trains, tests what validation selected, runs the controls, prints the table, leaves facts."""

from __future__ import annotations

import csv
import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml
from safetensors.torch import load_file

from hierfit.cli import main
from hierfit.decoding import DECODERS
from hierfit.metrics import hierarchy_metrics
from hierfit.results.card import ResultCard
from hierfit.run.keys import OVERRIDES
from hierfit.taxonomy import Taxonomy

from .conftest import PATHS, Fit, write_bundle, write_card, write_experiment


class Finished(NamedTuple):
    """A run of the experiment with its controls, which tests only read."""

    folder: Path
    printed: str
    experiment: Path

    def command(self, name: str, *options: str) -> Path:
        """Another command on the same experiment without its controls; its new folder, or the last."""
        main([name, f"--config={self.experiment}", "--controls=null", *options])
        return max((self.experiment.parent / "runs" / "toy").iterdir(), key=lambda path: path.stat().st_ctime_ns)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The run."""
    place = tmp_path_factory.mktemp("finished")
    experiment = write_experiment(place)
    with redirect_stdout(io.StringIO()) as printed:
        main(["fit", f"--config={experiment}"])
    (folder,) = (place / "runs" / "toy").iterdir()
    return Finished(folder, printed.getvalue(), experiment)


def rows_of(printed: str) -> list[str]:
    """Rows of a printed table."""
    return [line for line in printed.splitlines() if line.startswith(("zero-shot  ", "λ=0  ", "LatHAdapter  "))]


def test_a_log_says_what_is_done_and_where_and_how_each_run_went(finished: Finished) -> None:
    what, where, *rest = finished.printed.splitlines()
    assert what == "LatHAdapter: 6 steps on toy, 4 shots, seed 1; then its controls zero-shot, λ=0"
    assert where.startswith("features of a bundle on cpu, into ")
    assert where.endswith(str(finished.folder))
    ends = [line.partition(" · in 0:00:0")[0] for line in rest if " · in 0:00:0" in line]
    assert ends[0] == "LatHAdapter: 6/6 steps"
    assert ends[1] == "zero-shot (control 1 of 2), testing: 1/1 batches"
    assert ends[2] == "λ=0 (control 2 of 2): 6/6 steps"
    assert not [line for line in rest if "Epoch" in line or "v_num" in line]


def test_a_run_leaves_its_facts_and_prints_its_table(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    folder = finished.folder
    assert [row.split()[0] for row in rows_of(finished.printed)] == ["zero-shot", "λ=0", "LatHAdapter"]
    assert str(folder) in finished.printed.replace("\n", "")
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    kept = ["config.yaml", "result.json", "metrics.csv", "test_logits.safetensors", "checkpoints/selected.ckpt"]
    kept += ["predictor/predictor.json", "predictor/head.safetensors"]
    assert {*kept, "controls/zero-shot/result.json", "controls/λ=0/result.json"} <= names
    assert not [name for name in names if Path(name).name.startswith(".")]
    text = (folder / "result.json").read_text()
    assert json.loads(text)["format"] == "hierfit.result/1"
    assert "NaN" not in text

    card = ResultCard.read(folder)
    assert (card.row, card.method, card.seed, card.selected_on) == ("LatHAdapter", "LatHAdapter", 1, "val")
    assert card.data["images"] == {"train": 32, "val": 16, "test": 37}
    assert card.cost["steps"] == 6
    assert ResultCard.read(folder / "controls" / "zero-shot").selected_on == "nothing"
    control = ResultCard.read(folder / "controls" / "λ=0")
    assert control.method_settings["init_args"]["hierarchy_weight"] == 0
    assert control.data["draw"] == card.data["draw"]
    main(["results", str(folder)])
    assert rows_of(capsys.readouterr().out) == rows_of(finished.printed)


def test_the_card_agrees_with_the_logits(finished: Finished) -> None:
    kept = load_file(finished.folder / "test_logits.safetensors")
    assert kept["indices"].tolist() == list(range(37))
    tree = Taxonomy.from_paths(PATHS, levels=("top", "mid", "leaf"))
    card = ResultCard.read(finished.folder)
    for name, decode in DECODERS.items():
        metrics = hierarchy_metrics(tree)
        metrics.update(decode(kept["logits"], tree), kept["paths"])
        for metric, value in metrics.compute().items():
            assert card.metrics[name][metric] == pytest.approx(value.item(), abs=1e-6)
    assert card.metrics["rollup"]["tice"] == 0.0
    bundle = load_file(finished.experiment.parent / "bundle.safetensors")
    guess = (bundle["test.features"] @ bundle["text.features"].T).argmax(1)
    zero_shot = ResultCard.read(finished.folder / "controls/zero-shot").metrics["rollup"]["leaf_accuracy"]
    assert zero_shot == pytest.approx((guess == bundle["test.labels"]).float().mean().item())


def test_one_seed_gives_identical_numbers_and_another_does_not(finished: Finished) -> None:
    folders = [finished.folder, *(finished.command("fit", f"--seed_everything={seed}") for seed in "10")]
    first, again, other = (load_file(folder / "test_logits.safetensors")["logits"] for folder in folders)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    card = ResultCard.read(folders[2])
    assert (card.seed, card.data["seed"]) == (0, 0)


def test_a_checkpoint_is_tested_validated_and_predicts(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    folder, card = finished.folder, ResultCard.read(finished.folder)
    checkpoint = folder / "checkpoints/selected.ckpt"
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    centres = {name for name in weights if name.endswith("centre")}  # means of the training features, not parameters
    assert sum(w.numel() for name, w in weights.items() if name not in centres) == card.parameters["trainable"]
    assert yaml.safe_load((folder / "config.yaml").read_text())["folder"] is None
    # What the checkpoint says of its method goes before the configuration.
    given = [f"--config={folder / 'config.yaml'}", f"--ckpt_path={checkpoint}", "--model.dimension=4"]
    again = finished.command("test", *given)
    assert again != folder
    assert ResultCard.read(again).metrics == card.metrics
    capsys.readouterr()
    finished.command("validate", *given)
    printed = capsys.readouterr().out
    assert "val/leaf_accuracy" in printed
    assert str(card.val["val/leaf_accuracy"])[:6] in printed
    with (finished.command("predict", *given) / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 37
    assert all((row["top"], row["mid"], row["leaf"]) in PATHS for row in rows)
    assert all(0 <= float(row[f"p({level})"]) <= 1 for row in rows for level in ("top", "mid", "leaf"))


def test_a_checkpoint_of_another_tree_or_method_is_refused(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = f"--ckpt_path={finished.folder / 'checkpoints/selected.ckpt'}"
    write_bundle(tmp_path / "bundle.safetensors", nodes=6)
    write_card(tmp_path / "toy.yaml", {"top": 2, "mid": 3, "leaf": 6})
    other = [f"--data.card={tmp_path / 'toy.yaml'}", f"--data.root={tmp_path / 'bundle.safetensors'}"]
    for options, said in ((other, "trained for another tree"), (["--model=TaskRes"], "its method does not take")):
        with pytest.raises(SystemExit) as stop:
            finished.command("test", checkpoint, *options)
        assert stop.value.code == 2
        assert said in capsys.readouterr().err


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
    assert {f"trainer.{key}" for key in base["trainer"]} - {"trainer.accelerator"} == OVERRIDES.keys() - {"data.seed"}
    assert base["data"] == {"seed": "${seed_everything}"}
    assert settings["data"]["seed"] == 7


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


@pytest.mark.parametrize(
    "options",
    [
        ("--model.geometry=lorentz", "--model.lca=random"),
        ("--model.geometry=euclidean", "--model.attributes=none"),
        (
            "--model.hierarchy=tiered",
            '--model.objective={"leaf_ce": 1, "tp_kl": 0.5}',
            "--trainer.precision=bf16-mixed",
        ),
    ],
)
def test_every_control_is_one_key(fit: Fit, options: tuple[str, ...]) -> None:
    card = ResultCard.read(fit("--controls=null", "--trainer.max_steps=2", "--trainer.val_check_interval=2", *options))
    assert card.metrics["best_path"]["leaf_accuracy"] is not None


def test_the_next_command_that_is_named_runs_the_next_seed(finished: Finished) -> None:
    command = next(line for line in finished.printed.splitlines() if line.startswith("Next")).split()[2:]
    main([*command, "--model.lr=0.01"])
    other = max(finished.folder.parent.iterdir(), key=lambda path: path.stat().st_ctime_ns)
    card = ResultCard.read(other)
    assert (card.seed, card.data["seed"], card.method_settings["init_args"]["lr"]) == (2, 2, 0.01)
    assert (other / "controls" / "zero-shot").is_dir()
