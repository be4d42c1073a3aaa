"""Does my tree help? From an experiment's file to its verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hierfit.cli import main
from hierfit.results.card import ResultCard
from hierfit.results.logits import LeafLogits

from .session.conftest import write_bundle, write_card

TREES = ("shuffled", "flat", "induced")

Ablate = Callable[..., dict[str, Any]]


@pytest.fixture
def ablate(tmp_path: Path) -> Ablate:
    """Runs the command on a small bundle and returns what it wrote."""
    write_bundle(tmp_path / "bundle.safetensors")
    write_card(tmp_path / "toy.yaml")
    settings = {
        "name": "toy",
        "row": "of the experiment",
        "model": {
            "class_path": "hierfit.methods.LatHAdapter",
            "init_args": {"hierarchy_weight": 0, "residual": "tree", "lr": 0.01},
        },
        "data": {
            "card": str(tmp_path / "toy.yaml"),
            "root": str(tmp_path / "bundle.safetensors"),
            "shots": 4,
            "batch_size": 8,
        },
        "trainer": {"accelerator": "cpu", "max_steps": 4, "val_check_interval": 2},
        "controls": {"zero-shot": {"model": "ZeroShot"}},
    }
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))

    def run(*options: str) -> dict[str, Any]:
        main(["ablate-tree", "--config", str(path), f"--runs={tmp_path / 'runs'}", "--jobs=1", *options])
        found: dict[str, Any] = json.loads((tmp_path / "runs/toy-trees/verdict.json").read_text())
        return found

    return run


def folders(tmp_path: Path) -> dict[tuple[str, int], Path]:
    found = {}
    for path in (tmp_path / "runs").rglob("result.json"):
        card = ResultCard.read(path)
        found[card.row, card.seed] = path.parent
    return found


def test_a_trained_method_gets_its_verdict(ablate: Ablate, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdict = ablate("--seeds", "0", "1", "--trees", *TREES, "--data.novel", "siblings")
    printed = capsys.readouterr().out
    runs = folders(tmp_path)
    assert runs.keys() == {(t, s) for t in ("true", *TREES, "zero-shot") for s in (0, 1)}
    assert "10/10 cells" in printed
    assert "True tree − other, points of H" in printed
    assert "No evidence that the tree helps: " in printed
    page = (tmp_path / "runs/toy-trees/verdict.md").read_text()
    assert page.startswith(f"**{verdict['sentence']}**")
    assert "| induced tree | " in page
    assert verdict["metric"] == "H"
    assert verdict["verdict"] == "no evidence"
    assert verdict["left_out"] == {}

    cards = {key: ResultCard.read(folder) for key, folder in runs.items()}
    for (tree, seed), card in cards.items():
        # The same samples to train and to test on, the same classes held back.
        assert card.data["draw"] == cards["true", seed].data["draw"]
        assert card.data["tree"] == ("true" if tree == "zero-shot" else tree)
        assert verdict["figures"][tree][str(seed)] == card.metrics["true_tree"]
        scores, own = LeafLogits.read(runs[tree, seed]), LeafLogits.read(runs["true", seed])
        assert scores.taxonomy == own.taxonomy
        assert torch.equal(scores.labels, own.labels)
        assert torch.equal(scores.seen, own.seen)
        assert scores.figures() == card.metrics["true_tree"]
    # A shuffled tree is the true one but for what is shared along it: the same labels, the same scoring.
    facts = [cards[tree, 0].data["taxonomy_fingerprint"] for tree in ("true", "shuffled", "flat")]
    assert facts[0] == facts[1] != facts[2]
    true = cards["true", 0].metrics
    assert true["true_tree"]["leaf_accuracy"] == pytest.approx(true["rollup"]["leaf_accuracy"])
    assert true["true_tree"]["h"] == pytest.approx(true["base_to_novel"]["h"])
    differences = [
        cards["true", s].metrics["true_tree"]["h"] - cards["flat", s].metrics["true_tree"]["h"]  # type: ignore[operator]
        for s in (0, 1)
    ]
    assert verdict["compared"]["flat"]["difference"] == pytest.approx(sum(differences) / 2, abs=1e-6)

    # Nothing is run twice, a new seed alone is; and each run can be scored again on the tree it was trained on.
    ablate("--seeds", "0", "--trees", "flat", "--data.novel=siblings")
    assert "are done already" in capsys.readouterr().out
    main(["rescore", str(runs["induced", 0]), str(runs["flat", 1])])
    assert capsys.readouterr().out.count("as in the card") == 2


def test_zero_shot_cannot_depend_on_the_tree(
    ablate: Ablate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = ablate("--seeds=1", "--model", "ZeroShot", "--name=toy")
    printed = capsys.readouterr().out
    assert printed.count("the same answers") == 3
    assert "Truncated equals flat: every test sample" in printed
    assert "No difference: every test sample is given the same leaf on every tree." in printed
    assert {v["effect"] for v in verdict["compared"].values()} == {"no difference"}
    assert verdict["left_out"].keys() == {"shuffled"}
    predicted = [LeafLogits.read(folder).predicted() for folder in folders(tmp_path).values()]
    assert len(predicted) == 4
    assert all(torch.equal(predicted[0], other) for other in predicted)


def test_where_nothing_is_shared_no_shuffled_tree_is_run(
    ablate: Ablate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = ablate("--seeds", "0", "1", "--trees", "shuffled", "flat", "--model.residual=class")
    printed = " ".join(capsys.readouterr().out.split())
    assert "Left out: shuffled: the method shares nothing along the tree, so there is nothing to shuffle" in printed
    assert "no shuffled one can show that it is this tree." in printed
    assert {tree for tree, _ in folders(tmp_path)} == {"true", "flat", "zero-shot"}
    assert verdict["verdict"] == "no evidence"


def test_a_tree_that_cannot_be_tried_is_left_out(ablate: Ablate, capsys: pytest.CaptureFixture[str]) -> None:
    verdict = ablate(
        "--seeds=1", "--trees", "flat", "truncated", '--model.objective={"hisce": {"epsilon": {"top": 0.1}}}'
    )
    assert list(verdict["compared"]) == ["truncated", "zero-shot"]
    assert verdict["sentence"] == "No verdict: the true tree was not held against no tree."
    assert "the level 'top', which does not exist" in verdict["left_out"]["flat"]
    assert "Left out: flat: the objective cannot be used; hisce: " in capsys.readouterr().out


def test_without_text_no_tree_is_induced(ablate: Ablate, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bundle.safetensors"
    tensors = load_file(path)
    del tensors["text.features"]
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(tensors, path, metadata)
    with pytest.raises(SystemExit) as stopped:
        ablate("--seeds=1", "--trees=induced")
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "No other tree can be tried." in said
    assert "the data set has no text features to grow a tree from" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data.tree=flat"], "--data.tree: list the trees under --trees"),
        (["--seed_everything=3"], "--seed_everything: list the seeds under --seeds"),
        (["stray"], "there is no experiment 'stray'"),
        (["--model.lr"], "--model.lr has no value"),
        (["--model.lrr=1"], "model.lrr: unknown key"),
        (["--data.shots=many"], "data.shots: expected a whole number"),
        (["--jobs=0"], "--jobs 0: at least one is needed"),
        (["--seeds", "1", "1"], "seeds: 1 is given twice"),
        (["--config=nowhere.yaml"], "there is no file nowhere.yaml"),
    ],
)
def test_mistakes_stop_before_anything_runs(
    options: list[str], said: str, ablate: Ablate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        ablate(*options)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
