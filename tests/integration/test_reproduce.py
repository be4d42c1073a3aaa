"""What experiments state, run again: inside, outside, skipped, refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hierfit.cli import main
from hierfit.results.card import ResultCard
from hierfit.search.grid import plan
from hierfit.search.grid_file import read_grid

from .session.conftest import write_bundle, write_card

ROOT = Path(__file__).parents[2]

BASE = {
    "data": {"seed": "${seed_everything}", "batch_size": 8},
    "trainer": {"accelerator": "cpu", "max_steps": 4, "val_check_interval": 2},
}
WIDE = {
    "seeds": [2, 3],
    "minutes": 0.5,
    "rows": {
        "LatHAdapter": {"leaf_accuracy": [0, 100], "accuracy/top": [0, 100.0]},
        "zero-shot": {"fpa@best_path": [0, 100]},
    },
}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes an experiment on a small bundle into a folder with a base; what it expects can be given."""
    write_bundle(tmp_path / "bundle.safetensors")
    write_card(tmp_path / "toy.yaml")
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/base.yaml").write_text(yaml.safe_dump(BASE))

    def write(name: str = "toy", expected: Any = None, **changes: Any) -> Path:
        content = {
            "name": name,
            "model": {"class_path": "hierfit.methods.LatHAdapter", "init_args": {"num_attributes": 4, "dimension": 8}},
            "data": {"card": str(tmp_path / "toy.yaml"), "root": str(tmp_path / "bundle.safetensors"), "shots": 4},
            "controls": {"zero-shot": {"model": "ZeroShot"}},
            **({} if expected is None else {"expected": expected}),
        }
        path = tmp_path / f"experiments/{name}.yaml"
        path.write_text(yaml.safe_dump(content | changes, sort_keys=False, allow_unicode=True), encoding="utf-8")
        return path

    return write


def reproduce(*arguments: object) -> int | str | None:
    """Runs the command and returns its exit code."""
    try:
        main(["reproduce", *map(str, arguments)])
    except SystemExit as stopped:
        return stopped.code
    return 0


def test_figures_inside_their_ranges(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(expected=WIDE)
    assert reproduce(file, "--runs", tmp_path / "runs") == 0
    (folder,), (control,) = ([*(tmp_path / "runs").rglob(f"{row}/*")] for row in ("LatHAdapter", "zero-shot"))
    ours, zero_shot = ResultCard.read(folder), ResultCard.read(control)
    assert ours.seed == zero_shot.seed == 2  # the first of those measured
    text = " ".join(capsys.readouterr().out.partition("min (0.5 stated)")[2].split())
    for name, value in {
        "LatHAdapter leaf_accuracy": ours.metrics["rollup"]["leaf_accuracy"],
        "LatHAdapter accuracy/top": ours.metrics["belief"]["accuracy/top"],
        "zero-shot fpa@best_path": zero_shot.metrics["best_path"]["fpa"],
    }.items():
        assert value is not None
        assert f"{name} 0.00 – 100.00 {100 * value:.2f} inside" in text
    assert "3 inside, 0 outside." in text
    # The run itself knows nothing of it, and is made anew each time.
    assert "expected" not in yaml.safe_load((folder / "config.yaml").read_text())
    assert reproduce(file, "--runs", tmp_path / "runs", "--seed=3") == 0
    assert {ResultCard.read(path.parent).seed for path in (tmp_path / "runs/toy").rglob("result.json")} == {2, 3}


def test_a_figure_outside_or_missing_and_a_failure_are_said(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"LatHAdapter": {"leaf_accuracy": [0, 0.01], "tice": [0, 100], "accuracy/kingdom": [0, 100]}}
    write(expected={**WIDE, "rows": rows}, controls=None)
    write("broken", WIDE, data={"card": str(tmp_path / "toy.yaml"), "root": str(tmp_path / "toy.yaml")})
    monkeypatch.chdir(tmp_path)
    assert reproduce() == 1
    said = capsys.readouterr()
    text = " ".join(said.out.split())
    assert "broken · seed 2" in text
    assert "failed: " in text
    assert "tice 0.00 – 100.00" in text
    assert "accuracy/kingdom 0.00 – 100.00 – outside" in text
    assert "1 inside, 2 outside, 1 of 2 experiments failed." in text
    assert len(list((tmp_path / "runs/reproduce/toy").iterdir())) == 1


def test_what_is_not_run_is_said_with_its_reason(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = {"card": str(tmp_path / "toy.yaml"), "shots": 4}
    write("silent")
    write("costly", {**WIDE, "minutes": 3})
    write("other_seeds", {**WIDE, "seeds": [7]})
    write("rootless", WIDE, data=bundle)
    write("lost", WIDE, data={**bundle, "root": "nowhere"})
    monkeypatch.chdir(tmp_path)
    assert reproduce("--seed", 2) == 0
    text = capsys.readouterr().out
    for reason in (
        "silent.yaml: does not state what to expect",
        "costly.yaml: takes about 3 min; --cheaper-than 3 leaves it out",
        "other_seeds.yaml: was measured with seeds 7, not with 2",
        "rootless.yaml: card toy: ",
        "lost.yaml: card toy: data.root: there is no nowhere; --data-root toy=PATH says where they lie",
        "Nothing was run.",
    ):
        assert reason in text
    assert "base.yaml" not in text
    assert reproduce("costly", "one_shot", "--cheaper-than=0.1") == 0  # by name: one's own, hierfit's
    assert {"costly.yaml", "one_shot.yaml"} == set(re.findall(r"\w+\.yaml", capsys.readouterr().out))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("block", "line", "said"),
    [
        ("{seeds: [1], minutes: 1, rows: {LatHAdaptor: {fpa: [0, 1]}}}", 2, "no row 'LatHAdaptor' – did you mean"),
        ("{seeds: [1], minutes: 1, rows: {a: {fpaa: [0, 1]}}}", 2, "there is no such figure – did you mean 'fpa'?"),
        ("{seeds: [1], minutes: 1, rows: {a: {fpa@bestpath: [0, 1]}}}", 2, "did you mean 'fpa@best_path'?"),
        ("{seeds: [1], minutes: 1, rows: {a: {tree_distance: [0, 1]}}}", 2, "is not in %"),
        ("{seeds: [1], minutes: 1, rows:\n  {a: {fpa: [2, 1]}}}", 3, "expected.rows.a.fpa: 2 is more than 1"),
        ("{seeds: [1], minutes: 1, rows: {a: {fpa: [0, 101]}}}", 2, "does not lie between 0 and 100 %"),
        ("{seeds: [1], minutes: 1, rows: {a: {fpa: 3}}}", 2, "expected [low, high] in %, got 3"),
        ("{seeds: [1], minutes: 1, rows: {}}", 2, "rows: is empty, nothing was measured"),
        ("{seeds: [-1], minutes: 0, rows: {a: {fpa: [0, 1]}}}", 2, "seeds.0: -1, must be 0 or more"),
        ("{seed: [1], minutes: soon, rows: {a: {fpa: [0, 1]}}}", 2, "unknown key – did you mean 'seeds'?"),
        ("{seeds: [1], minutes: soon, rows: {a: {fpa: [0, 1]}}}", 2, "expected a number, got 'soon'"),
        ("3", 2, "expected keys and values"),
    ],
)
def test_a_faulty_block_is_refused_with_its_line(
    block: str, line: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.yaml"
    row = "" if "LatHAdaptor" in block else "row: a\n"
    path.write_text(f"model: LatHAdapter\nexpected: {block}\n{row}")
    with pytest.raises(SystemExit) as stopped:
        main(["reproduce", str(path)])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert f"bad.yaml:{line}: expected" in error
    assert said in error


def test_all_faults_of_all_files_come_at_once(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    bad = {**WIDE, "rows": {"nobody": {"fpa": [0, 1]}, "no one": {"fpa": [0, 1]}}}
    files = write("one", bad), write("two", WIDE, trainr={})
    assert reproduce(*files) == 2
    error = capsys.readouterr().err
    for fault in ("there is no row 'nobody'", "there is no row 'no one'", "trainr: unknown key"):
        assert fault in error
    assert reproduce("nowhere.yaml") == 2
    assert "there is no file nowhere.yaml" in capsys.readouterr().err


def test_without_names_all_that_hierfit_brings_is_meant_wherever_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert reproduce("--cheaper-than=0") == 0
    shown = capsys.readouterr().out
    for name in ("lathadapter_fewshot", "grids/fewshot"):
        assert f"{name}.yaml: takes about" in shown


def test_what_is_expected_does_not_change_a_cell(write: Write, tmp_path: Path) -> None:
    """Nor is a row of the experiment's file, which a grid may name otherwise, sought in the grid."""
    grid = tmp_path / "grid.yaml"
    root = {"data.card": str(tmp_path / "toy.yaml"), "data.root": str(tmp_path / "bundle.safetensors")}
    content = {
        "name": "grid",
        "configs": ["experiments/base.yaml", "experiments/toy.yaml"],
        "cards": {"toy": root},
        "methods": {"ours": {}, "theirs": {"model": "ZeroShot"}},
        "shots": [4],
        "seeds": [1],
    }
    grid.write_text(yaml.safe_dump(content))
    found = []
    for expected in (None, WIDE, {**WIDE, "minutes": 7}):
        write(expected=expected)
        found.append(plan(read_grid(grid), tmp_path / "runs").cells)
    assert found[0] == found[1] == found[2]
    assert len({cell.config.digest for cell in found[0]}) == 2
    assert all('"expected"' not in json.dumps(cell.config.settings) for cell in found[0])


GRID = {
    "name": "few",
    "configs": ["experiments/base.yaml"],
    "methods": {
        "zero-shot": {"model": "ZeroShot"},
        "ours": {"model": "LatHAdapter", "model.hierarchy_weight": 0},
        "unmeasured": {"model": "LinearProbe"},
    },
    "shots": [2, 4],
    "seeds": [1, 2],
    "control": "unmeasured",
}
STATED = {
    "seeds": [2],
    "minutes": 1,
    "shots": 4,
    "cards": {"toy": {"zero-shot": {"leaf_accuracy": [0, 100]}, "ours": {"fpa@best_path": [0, 0]}}},
}


def write_grid(tmp_path: Path, root: str, expected: Any, **more: Any) -> Path:
    path = tmp_path / "experiments/grids/few.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    cards = {"toy": {"data.card": str(tmp_path / "toy.yaml"), "data.root": root}}
    content = {**GRID, "cards": {**cards, **more}, "expected": expected}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_a_grid_runs_the_cells_it_states_figures_of(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    other = {"data.card": str(tmp_path / "toy.yaml"), "data.root": "nowhere"}
    expected = {**STATED, "cards": {**STATED["cards"], "other": {"ours": {"fpa": [0, 1]}}}}
    grid = write_grid(tmp_path, str(tmp_path / "bundle.safetensors"), expected, other=other)
    assert reproduce(grid) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "toy/zero-shot leaf_accuracy 0.00 – 100.00" in text
    assert "toy/ours fpa@best_path 0.00 – 0.00" in text
    assert "skipped: " in text
    assert "few.yaml, other: card other: data.root: there is no nowhere; --data-root other=PATH says where" in text
    assert "1 inside, 1 outside, 1 skipped." in text
    cards = [ResultCard.read(path) for path in (tmp_path / "runs").rglob("result.json")]
    assert sorted((card.row, card.seed, card.data["shots"]) for card in cards) == [("ours", 2, 4), ("zero-shot", 2, 4)]


def test_without_data_it_is_skipped_and_data_root_finds_them(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    grid = write_grid(tmp_path, "nowhere", STATED)
    rootless = write("rootless", WIDE, data={"card": str(tmp_path / "toy.yaml"), "shots": 4})
    assert reproduce(rootless, grid) == 0
    text = capsys.readouterr().out
    assert "few.yaml: card toy: data.root: there is no nowhere; --data-root toy=PATH says where they lie" in text
    assert "Nothing was run." in text
    assert reproduce(rootless, f"--data-root=toy={tmp_path / 'bundle.safetensors'}") == 0
    assert "3 inside, 0 outside." in capsys.readouterr().out
    for given, said in (
        ("toy", "toy: expected CARD=PATH"),
        ("toy=nowhere", "toy: there is no nowhere"),
        (f"toi={tmp_path}", "toi: no card here has this name – did you mean 'toy'?"),
    ):
        assert reproduce(rootless, "--data-root", given) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": [3]}, "expected.seeds: there is no seed 3"),
        ({"shots": 8}, "expected.shots: there is no number of shots 8"),
        ({"cards": {"toy": {"theirs": {"fpa": [0, 1]}}}}, "expected.cards.toy: there is no row 'theirs'"),
        ({"cards": {"toy": {"ours": {"fpaa": [0, 1]}}}}, "there is no such figure – did you mean 'fpa'?"),
        ({"rows": {}}, "expected.rows: unknown key"),
    ],
)
def test_a_faulty_block_of_a_grid_is_refused(
    changes: dict[str, Any], said: str, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = write_grid(tmp_path, str(tmp_path / "bundle.safetensors"), {**STATED, **changes})
    for command in (["reproduce", str(grid)], ["grid", str(grid), f"--runs={tmp_path / 'runs'}", "--dry-run"]):
        with pytest.raises(SystemExit) as stopped:
            main(command)
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err
