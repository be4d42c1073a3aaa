"""Figures again from test logits, and two runs held against each other sample by sample."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from hierfit.cli import main
from hierfit.decoding import DECODERS
from hierfit.errors import UserError
from hierfit.metrics import LeafAccuracy
from hierfit.results.card import ResultCard
from hierfit.results.compare import comparisons, leaf_labelled, leaf_right
from hierfit.results.logits import TestLogits
from hierfit.results.rescore import rescored
from hierfit.taxonomy import Taxonomy

from .conftest import TREE, write_run

# Nodes: bird 0, fish 1 (a leaf), hawk 2, owl 3.
HAWK, OWL, FISH = [5.0, 0.0, 5.0, 0.0], [5.0, 0.0, 0.0, 5.0], [0.0, 9.0, 1.0, 0.0]
PATHS = torch.tensor([[0, 2], [0, 2], [0, 3], [1, -1], [0, -1], [-1, -1]])
RIGHT = torch.tensor([HAWK, HAWK, OWL, FISH, HAWK, HAWK])
WRONG = torch.tensor([OWL, OWL, HAWK, FISH, FISH, HAWK])


def test_a_run_scored_again_agrees_with_its_card(tmp_path: Path) -> None:
    write_run(tmp_path / "run", RIGHT, PATHS)
    found = rescored(tmp_path / "run")
    assert found.changes == ()
    assert list(found.figures) == [*DECODERS, "belief", "bayes", "decoded"]
    assert found.figures["rollup"]["leaf_accuracy"] == 1.0
    assert found.figures["per_level"]["mistake_severity"] is None  # nothing is wrong
    parts = list(TestLogits.read(tmp_path / "run/result.json").batches(4))
    assert [len(logits) for logits, _ in parts] == [4, 2]
    assert torch.equal(torch.cat([logits for logits, _ in parts]), RIGHT)


def test_what_a_card_lacks_or_has_otherwise_is_found_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = write_run(tmp_path / "run", RIGHT, PATHS)
    path = tmp_path / "run/result.json"
    content = json.loads(path.read_text())
    content["metrics"]["rollup"]["fpa"] = 0.5
    content["metrics"]["rollup"]["hand made"] = 0.25
    del content["metrics"]["top_down"]
    path.write_text(json.dumps(content))
    found = rescored(tmp_path / "run")
    assert ("rollup", "fpa") in found.changes
    assert {m for d, m in found.changes if d == "top_down"} == before.metrics["rollup"].keys()
    main(["rescore", str(tmp_path / "run"), "--decoder", "rollup", "--metric", "fpa"])
    said = capsys.readouterr().out
    assert "fpa@rollup" in said
    assert "0.500000" in said
    assert "Nothing is written" in said
    assert ResultCard.read(path).metrics["rollup"]["fpa"] == 0.5
    main(["rescore", str(tmp_path / "run"), "--write"])
    assert "Written to 1 result card." in capsys.readouterr().out
    after = ResultCard.read(path)
    assert after.metrics == {**before.metrics, "rollup": {**before.metrics["rollup"], "hand made": 0.25}}
    assert rescored(tmp_path / "run").changes == ()


def test_runs_that_cannot_be_scored_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run, RIGHT, PATHS)
    logits, tree, other = run / "test_logits.safetensors", run / "taxonomy.csv", tmp_path / "other.csv"

    def refused_with(message: str, **options: object) -> None:
        with pytest.raises(UserError) as error:
            rescored(run, **options)  # type: ignore[arg-type]
        assert message in str(error.value)

    refused_with("there is no decoder 'bestpath' – did you mean 'best_path'?", decoders=["bestpath"])
    refused_with("there is no metric 'leaf_acuracy' – did you mean 'leaf_accuracy'?", metrics=["leaf_acuracy"])
    Taxonomy.from_paths([("bird", "owl"), ("bird", "hawk"), ("fish",)], levels=TREE.levels).to_csv(other)
    refused_with("another tree", tree=other)
    tree.rename(tmp_path / "tree.csv")
    refused_with("--taxonomy FILE")
    assert rescored(run, tree=tmp_path / "tree.csv").changes == ()
    (tmp_path / "tree.csv").rename(tree)
    indices = torch.arange(6)
    for tensors, message in (
        ({"logits": RIGHT[:, :3].contiguous(), "paths": PATHS, "indices": indices}, "does not fit"),
        ({"logits": RIGHT, "paths": PATHS.flip(1).contiguous(), "indices": indices}, "names nodes that there are not"),
        ({"logits": RIGHT, "paths": PATHS.float(), "indices": indices}, "of F32, torch.float32 and"),
        ({"logits": RIGHT}, "cannot be read"),
    ):
        save_file(tensors, logits)
        refused_with(message)
    logits.write_bytes(b"not logits")
    refused_with("cannot be read")
    logits.unlink()
    refused_with("without training")


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_leaves_counted_by_sample_are_the_metrics(nodes: list[tuple[int, int]]) -> None:
    target = TREE.paths(torch.tensor([t for t, _ in nodes]))
    predicted = TREE.paths(torch.tensor([p for _, p in nodes]))
    right, counted = leaf_right(predicted, target, TREE), leaf_labelled(target, TREE)
    for (t, p), r, c in zip(nodes, right.tolist(), counted.tolist(), strict=True):
        assert c == (t in (1, 2, 3))
        assert r == (c and t == p)
    metric = LeafAccuracy(TREE)
    metric.update(predicted, target)
    if counted.any():
        assert right[counted].float().mean() == pytest.approx(float(metric.compute()))


def test_two_runs_sample_by_sample(tmp_path: Path) -> None:
    write_run(tmp_path / "a", RIGHT, PATHS)
    write_run(tmp_path / "b", WRONG, PATHS)
    found = comparisons(TestLogits.read(tmp_path / "a"), TestLogits.read(tmp_path / "b"), ["best_path"])
    leaf, fpa = found
    # Four samples have a leaf, of which b has the fish; five have a label, and b takes a bird for a fish.
    assert (leaf.metric, leaf.a, leaf.b, leaf.difference.n) == ("leaf accuracy", 1.0, 0.25, 4)
    assert (leaf.difference.mean, leaf.test) == (0.75, (3, 0, 0.25))
    assert (fpa.metric, fpa.a, fpa.b, fpa.difference.n) == ("FPA", 1.0, pytest.approx(0.2), 5)
    assert fpa.test == (4, 0, 0.125)
    assert len(comparisons(TestLogits.read(tmp_path / "a"), TestLogits.read(tmp_path / "a"))) == 1 + len(DECODERS)


def test_a_comparison_is_printed_with_its_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "a", RIGHT.repeat(5, 1), PATHS.repeat(5, 1))
    write_run(tmp_path / "b", WRONG.repeat(5, 1), PATHS.repeat(5, 1), row="theirs")
    main(["compare", str(tmp_path / "a"), str(tmp_path / "b")])
    said = " ".join(capsys.readouterr().out.split())
    assert "ours (seed 1) against theirs (seed 1): leaf accuracy: helps (+75.0 points); FPA best path: helps" in said
    assert "<0.001" in said
    main(["compare", str(tmp_path / "a"), str(tmp_path / "a"), "--decoder", "rollup"])
    said = " ".join(capsys.readouterr().out.split())
    assert ": leaf accuracy: no evidence (+0.0 points); FPA rollup: no evidence (+0.0 points)." in said


def test_what_is_not_compared(tmp_path: Path) -> None:
    tree = Taxonomy.from_paths([("bird", "owl"), ("bird", "hawk"), ("fish",)], levels=TREE.levels)
    write_run(tmp_path / "a", RIGHT, PATHS)
    write_run(tmp_path / "fewer", RIGHT[:4], PATHS[:4])
    write_run(tmp_path / "labels", RIGHT, PATHS.flip(0))
    write_run(tmp_path / "tree", RIGHT, PATHS, tree=tree)
    card = write_run(tmp_path / "leaves", WRONG, PATHS, row="leaves")
    replace(card, metrics={"rollup": card.metrics["rollup"]}).write(tmp_path / "leaves")
    first, leaves = (TestLogits.read(tmp_path / name) for name in ("a", "leaves"))
    assert [(c.metric, c.decoder) for c in comparisons(first, leaves)] == [*(("leaf accuracy", ""), ("FPA", "rollup"))]
    for folder, decoders, message in (
        ("fewer", [], "6 samples and 4 samples"),
        ("labels", [], "the labels differ"),
        ("tree", [], "the trees differ"),
        ("leaves", ["best_path"], "best_path: leaves has trained leaves alone"),
        ("a", ["roll_up"], "did you mean 'rollup'"),
    ):
        with pytest.raises(UserError, match=message):
            comparisons(first, TestLogits.read(tmp_path / folder), decoders)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_results_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "runs/s1", RIGHT, PATHS)
    write_run(tmp_path / "runs/s1/controls/base", WRONG, PATHS, row="base")
    runs = str(tmp_path / "runs")
    main(["results", runs])
    assert "±" not in capsys.readouterr().out  # one seed: the run's own table
    main(["results", runs, "--summary"])
    printed = capsys.readouterr().out
    assert "tuned on" in " ".join(printed.split())
    assert "±–" not in printed
    for seed in (2, 3):
        write_run(tmp_path / f"runs/s{seed}", RIGHT, PATHS, seed=seed)
        write_run(tmp_path / f"runs/s{seed}/controls/base", WRONG, PATHS, row="base", seed=seed)
    main(["results", runs])
    assert "100.00 ±0.00" in capsys.readouterr().out
    main(["results", runs, "--each"])
    said = capsys.readouterr().out
    assert said.count("4 shots a leaf · seed") == 3
    assert [line.split()[0] for line in said.splitlines() if line.startswith(("base", "ours"))] == ["base", "ours"] * 3
    assert "±" not in said
    main(["results", runs, f"{runs}/s1", "--control", "base", "--columns", "leaf_accuracy", "--format", "markdown"])
    assert "| ours | 3 | +75.00 ±0.00 ▲ |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "sign"),
    [("t.md", "|---|"), ("t.tex", "\\toprule"), ("t.csv", "half_width"), ("t.html", "<table>"), ("t.txt", "tuned on")],
)
def test_results_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, sign: str) -> None:
    write_run(tmp_path / "run", RIGHT, PATHS)
    out = tmp_path / "tables" / name
    main(["results", str(tmp_path / "run"), "--columns", "decoders,cost", "--out", str(out)])
    assert "Written to" in capsys.readouterr().out
    text = out.read_text(encoding="utf-8")
    assert sign in text
    if name == "t.csv":
        assert len(list(csv.reader(text.splitlines()))) == 1 + 7 + 4
    assert [p.name for p in out.parent.iterdir()] == [name]


def test_results_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", RIGHT, PATHS)
    run, out = str(tmp_path / "run"), tmp_path / "t.md"
    assert "did you mean 'fpa'" in refused(capsys, "results", run, "--columns", "fpq", "--out", str(out))
    assert not out.exists()
    assert "Rows: ours." in refused(capsys, "results", run, "--control", "base")
    assert "does not go with --control" in refused(capsys, "results", run, "--each", "--control", "ours")
    assert "invalid choice: 'word'" in refused(capsys, "results", run, "--format", "word")
    assert "does not exist" in refused(capsys, "compare", run, str(tmp_path / "nowhere"))


def test_a_metric_and_a_decoder_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "run", RIGHT, PATHS)
    (tmp_path / "my_figures.py").write_text(
        "from hierfit.decoding import leaf_rollup as mine\n"
        "from hierfit.metrics import TreeMetric\n"
        "class Birds(TreeMetric):\n"
        "    name, header, unit, higher_is_better = 'birds', 'birds seen', 'count', False\n"
        "    def tally(self, predicted, target):\n"
        "        return {'birds_seen': (predicted[:, 0] == 0).sum()}\n"
        "    def compute(self):\n"
        "        return self.birds_seen\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    run = str(tmp_path / "run")
    options = ["--decoder", "rollup", "--decoder", "my_figures.mine", "--metric", "my_figures.Birds", "--write"]
    main(["rescore", run, *options])
    card = ResultCard.read(tmp_path / "run")
    assert card.metrics["rollup"]["birds"] == card.metrics["my_figures.mine"]["birds"] == 5
    capsys.readouterr()
    main(["results", run, "--columns", "birds@rollup", "--format", "csv"])
    assert "birds@rollup,count,5" in capsys.readouterr().out
    main(["results", run, "--columns", "birds@my_figures.mine", "--format", "markdown"])
    assert "| birds seen my figures.mine |" in capsys.readouterr().out
    main(["compare", run, run, "--decoder", "my_figures.mine"])
    assert "FPA my figures.mine: no evidence (+0.0 points)" in " ".join(capsys.readouterr().out.split())
    assert "cannot be imported" in refused(capsys, "rescore", run, "--metric", "my_figures.Bird")
