"""A grid: the figures of single runs, none of them twice, whatever happens on the way."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from hierfit.atomic import sole
from hierfit.cli import main
from hierfit.results.card import ResultCard
from hierfit.search.engines import preload
from hierfit.search.grid import GridPlan, plan
from hierfit.search.grid_file import read_grid

from .session.conftest import write_bundle, write_card

ROOT = Path(__file__).parents[2]

# Methods that go wrong, each in its own way.
TROUBLE = """
import os, signal, time
from hierfit.errors import UserError
from hierfit.methods.zero_shot import ZeroShot

class Raises(ZeroShot):
    def build(self, task):
        raise RuntimeError("the first line\\nthe second")

class Refuses(ZeroShot):
    def build(self, task):
        raise UserError("nobody can do this", ["first reason"])

class Dies(ZeroShot):
    def build(self, task):
        print("about to die", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

class Sleeps(ZeroShot):
    def build(self, task):
        time.sleep(60)
"""

WriteGrid = Callable[..., Path]


@pytest.fixture
def write_grid(tmp_path: Path) -> WriteGrid:
    """Writes a grid of two rows and two seeds on a small bundle; keys given replace its own."""
    write_bundle(tmp_path / "bundle.safetensors")
    write_card(tmp_path / "toy.yaml")
    base = {
        "data": {"batch_size": 8},
        "trainer": {"accelerator": "cpu", "max_steps": 4, "val_check_interval": 2},
    }
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))

    def write(**changes: Any) -> Path:
        content = {
            "name": "small",
            "configs": ["base.yaml"],
            "cards": {
                "toy": {"data.card": str(tmp_path / "toy.yaml"), "data.root": str(tmp_path / "bundle.safetensors")}
            },
            "methods": {
                "zero-shot": {"model": "ZeroShot"},
                "LatHAdapter": {"model": "LatHAdapter", "model.num_attributes": 4, "model.dimension": 8},
            },
            "shots": [4],
            "seeds": [0, 1],
        }
        path = tmp_path / "small.yaml"
        text = yaml.safe_dump(content | changes, sort_keys=False, allow_unicode=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trouble.py").write_text(TROUBLE)
    monkeypatch.syspath_prepend(tmp_path)


def planned(file: Path) -> GridPlan:
    return plan(read_grid(file), file.parent / "runs")


def run(file: Path, *options: str) -> None:
    main(["grid", str(file), f"--runs={file.parent / 'runs'}", *options])


def seals(file: Path) -> dict[str, int]:
    """When each finished cell was finished."""
    states = (file.parent / "runs").rglob("run.json")
    return {str(p.parent): p.stat().st_mtime_ns for p in states if "tested" in p.read_text()}


def figures(folder: Path) -> dict[str, Any]:
    """What a run found, without what it cost."""
    card = json.loads((folder / "result.json").read_text())
    return {name: value for name, value in card.items() if name not in ("cost", "experiment")}


def test_a_cell_is_what_fit_does_and_is_not_done_twice(
    write_grid: WriteGrid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_grid(control="zero-shot")
    run(file, "--jobs=1")
    printed = capsys.readouterr().out
    assert "4/4 cells" in printed
    assert "Difference to zero-shot" in printed

    for cell in planned(file).cells[2:]:
        own = {
            "shots": str(cell.config.settings["data"]["shots"]),
            "card": str(tmp_path / "toy.yaml"),
            "root": str(tmp_path / "bundle.safetensors"),
        }
        options = [f"--config={tmp_path / 'base.yaml'}", f"--seed_everything={cell.seed}", f"--row={cell.row}"]
        options.append(f"--data.seed={cell.seed}")  # of the grid's own accord
        model = (
            ["--model=ZeroShot"]
            if cell.row == "zero-shot"
            else ["--model=LatHAdapter", "--model.num_attributes=4", "--model.dimension=8"]
        )
        alone = tmp_path / "alone" / cell.folder.name / cell.row
        data = [f"--data.{key}={value}" for key, value in own.items()]
        main(["fit", *options, *model, *data, "--wandb=disabled", f"--folder={alone}", "--name=small"])
        assert figures(cell.folder) == figures(alone)
        mine, theirs = (load_file(folder / "test_logits.safetensors") for folder in (cell.folder, alone))
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
        files = {p.relative_to(alone).as_posix() for p in alone.rglob("*") if p.is_file()}
        here = {p.relative_to(cell.folder).as_posix() for p in cell.folder.rglob("*") if p.is_file()}
        assert here == files | {"log.txt"}
        settings = yaml.safe_load((cell.folder / "config.yaml").read_text())
        # What was planned is what ran; workers of a loader are the process's share of the cores.
        planned_settings = cell.config.settings
        assert {**settings, "data": {**settings["data"], "num_workers": None}} == planned_settings

    before = seals(file)
    capsys.readouterr()
    run(file)
    assert "All 4 cells of small are done already." in capsys.readouterr().out
    assert seals(file) == before

    # Broken results, and settings that have changed: these cells only.
    zero, adapter = planned(file).cells[:2]
    (zero.folder / "result.json").write_text('{"format": "hierfit.result/1", "row":')
    (adapter.folder / "run.json").unlink()
    run(file, "--dry-run")
    states = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert states[:4] == ["broken", "broken", "done", "done"]
    run(file)
    after = seals(file)
    assert {folder for folder in before if after[folder] != before[folder]} == {str(zero.folder), str(adapter.folder)}
    assert figures(zero.folder)["metrics"] == ResultCard.read(zero.folder).metrics

    assert [c.config.digest for c in planned(write_grid(control=None, seeds=[1, 0])).cells[2:]] == [
        c.config.digest for c in planned(file).cells[2:]
    ]
    write_grid(set={"model.lr": 0.001}, methods={"LatHAdapter": {"model": "LatHAdapter"}})
    changed = {cell.config.digest for cell in planned(file).cells}
    assert not changed & {zero.config.digest, adapter.config.digest}


@pytest.mark.usefixtures("trouble")
def test_a_failing_cell_stops_no_other(write_grid: WriteGrid, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {"zero-shot": "ZeroShot", **{name.lower(): f"trouble.{name}" for name in ("Dies", "Raises", "Refuses")}}
    file = write_grid(methods={row: {"model": model} for row, model in rows.items()})
    with pytest.raises(SystemExit) as stop:
        run(file, "--jobs=2")
    assert stop.value.code == 1
    printed = capsys.readouterr().out
    assert "failed: toy/raises/4-s0: RuntimeError: the first line" in printed
    assert "failed: toy/refuses/4-s1: nobody can do this" in printed
    assert "failed: toy/dies/4-s0: the process that ran it was ended by SIGKILL" in printed
    assert "6 of 8 cells failed" in printed
    cells = {cell.label: cell for cell in planned(file).cells}
    log = (cells["toy/dies/4-s1"].folder / "log.txt").read_text()
    assert "about to die" in log
    assert log.endswith("error: the process that ran it was ended by SIGKILL – out of memory?\n")
    assert "Traceback" in (cells["toy/raises/4-s1"].folder / "log.txt").read_text()
    assert len(seals(file)) == 2
    run(file, "--only=zero*s0", "--dry-run")
    assert "1 cells: 1 done" in capsys.readouterr().out
    assert not multiprocessing.active_children()


@pytest.mark.usefixtures("trouble")
def test_ctrl_c_ends_all_processes_and_leaves_no_cell_half_done(
    write_grid: WriteGrid, request: pytest.FixtureRequest
) -> None:
    # A shell that starts the tests in the background has them ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    file = write_grid(methods={"zero-shot": {"model": "ZeroShot"}, "sleeps": {"model": "trouble.Sleeps"}}, seeds=[0])
    (sleeping,) = (cell for cell in planned(file).cells if cell.row == "sleeps")

    def interrupt() -> None:
        while not (seals(file) and (sleeping.folder / "log.txt").exists()):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(SystemExit) as stop:
        run(file, "--jobs=1")
    assert stop.value.code == 130
    assert len(seals(file)) == 1
    assert not multiprocessing.active_children()


def test_a_killed_grid_goes_on_where_it_was(write_grid: WriteGrid, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_grid(seeds=[0, 1, 2])
    # A process that has its imports already, which starts workers of its own in a group of its own.
    arguments = ["grid", str(file), f"--runs={file.parent / 'runs'}", "--jobs=2"]
    code = f"import os; os.setsid(); from hierfit.cli import main; main({arguments!r})"
    preload()
    process = multiprocessing.get_context("forkserver").Process(target=exec, args=(code,))
    process.start()
    assert process.pid is not None
    while process.is_alive() and len(seals(file)) < 2:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    before = seals(file)
    assert 2 <= len(before) < 6
    run(file)
    after = seals(file)
    assert len(after) == 6
    assert {folder: after[folder] for folder in before} == before
    assert f"6 cells, {len(before)} done already" in capsys.readouterr().out


def test_two_grids_do_not_run_the_same_cell(write_grid: WriteGrid, capsys: pytest.CaptureFixture[str]) -> None:
    """What another grid is at work on is left until everything else is done, and then waited for."""
    file = write_grid(methods={"zero-shot": {"model": "ZeroShot"}})
    first, second = planned(file).cells
    held = threading.Event()

    def other_grid() -> None:
        with sole(first.folder, wait=False) as mine:
            assert mine
            first.folder.mkdir()
            held.set()
            while str(second.folder) not in seals(file):
                time.sleep(0.02)

    thread = threading.Thread(target=other_grid, daemon=True)
    thread.start()
    held.wait()
    run(file, "--dry-run")
    assert "running" in capsys.readouterr().out
    run(file, "--jobs=1")
    thread.join()
    after = seals(file)
    assert after[str(second.folder)] < after[str(first.folder)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"methods": {}, "seeds": [], "shots": [], "cards": {}}, ["cards: is empty", "methods: is empty", "seeds: is"]),
        (
            {"seeds": ["one", 2], "shot": [1]},
            ["small.yaml:18: seeds.0: expected a whole number, got 'one'", "shot: unk"],
        ),
        ({"seeds": [1, 1]}, ["seeds: 1 is given twice"]),
        ({"shots": [0]}, ["shots.0: 0, must be 1 or more"]),
        (
            {
                "methods": {"a": {"model": "LatHAdaptr"}, "b": {"model": "LatHAdapter", "model.learning": 1}},
                "set": {"data.bach_size": 3, "data.shots": 3, "trainer.max_steps": "few"},
                "configs": ["nowhere.yaml"],
            },
            [
                "there is no method 'LatHAdaptr' – did you mean 'LatHAdapter'?",
                "model.learning: unknown key",
                "data.bach_size: unknown key – did you mean 'batch_size'?",
                "data.shots: cannot be set here; list it under shots",
                "trainer.max_steps: expected a whole number",
                "there is no file nowhere.yaml",
            ],
        ),
        ({"control": "zero"}, ["control: there is no row 'zero' – did you mean 'zero-shot'?"]),
        ({"set": {"trainer.devices": 2}}, ["a cell runs on one device"]),
        ({"cards": {"toy": {"data.root": "/no/where"}, "fieldgide": None}}, ["cards.toy: data.root: there is no /no/"]),
        ({"cards": {"fieldgide": None}}, ["there is no card 'fieldgide' – did you mean 'fieldguide'?"]),
        (
            {"methods": {"a": {"model": {"class_path": "LatHAdapter", "init_args": {"objective": 3}}}}},
            ["model.init_args.objective: expected keys and values, got 3"],
        ),
        ({"methods": ["ZeroShot"]}, ["methods: expected keys and values, got a list"]),
    ],
)
def test_faults_of_the_file_come_at_once_and_start_nothing(
    write_grid: WriteGrid, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], expected: list[str]
) -> None:
    file = write_grid(**changes)
    with pytest.raises(SystemExit) as stop:
        run(file)
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert "Traceback" not in said
    for part in expected:
        assert part in said
    assert not (file.parent / "runs").exists()


def test_a_key_may_follow_another(write_grid: WriteGrid) -> None:
    cells = planned(write_grid(set={"data.seed": "${seed_everything}", "data.batch_size": "${data.shots}"})).cells
    assert {(c.seed, c.config.settings["data"]["seed"], c.config.settings["data"]["batch_size"]) for c in cells} == {
        *((0, 0, 4), (1, 1, 4))
    }


def test_a_row_given_twice_is_a_fault(write_grid: WriteGrid, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_grid()
    file.write_text(file.read_text().replace("LatHAdapter:", "zero-shot:"))
    with pytest.raises(SystemExit):
        run(file)
    assert "methods.zero-shot: given twice" in capsys.readouterr().err


def test_cards_without_data_can_be_left_out(
    write_grid: WriteGrid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = {"data.card": str(tmp_path / "toy.yaml"), "data.root": str(tmp_path / "bundle.safetensors")}
    cards = {"toy": toy, "gone": toy | {"data.root": "${oc.env:HIERFIT_NOT_SET}/x"}}
    run(write_grid(cards=cards), "--dry-run", "--skip-missing")
    printed = capsys.readouterr().out
    assert "left out: card gone: data.root: ${oc.env:HIERFIT_NOT_SET}/x has no value" in printed
    assert "4 cells: 4 to do" in printed


@pytest.mark.parametrize(
    "path", sorted((ROOT / "experiments" / "grids").glob("[!p]*.yaml")), ids=lambda path: path.stem
)  # those of papers: test_paper_grids.py
def test_every_grid_of_the_repository_can_be_run(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("CALTECH", "FGVC", "GROCERY"):  # planning asks only whether the data are there
        monkeypatch.setenv(variable, str(tmp_path))
    main(["grid", str(path), "--dry-run", "--skip-missing", f"--runs={tmp_path}"])
    assert "to do" in capsys.readouterr().out
    assert yaml.safe_load(path.read_text())["name"] == path.stem
    assert f"make grid GRID={path.stem}" in path.read_text().split("name:")[0]


@pytest.mark.parametrize(("name", "images", "drawn"), [("coarse_labels", 32, "2 + 8"), ("long_tail", 18, "1 to 16")])
def test_a_grid_of_rare_labels_takes_one_step(
    name: str, images: int, drawn: str, write_grid: WriteGrid, tmp_path: Path
) -> None:
    """The grid as it is, but for a bundle of four images a leaf and the number of steps."""
    grid = yaml.safe_load((ROOT / "experiments" / "grids" / f"{name}.yaml").read_text())
    (own,) = grid["cards"].values()
    toy = {"data.card": str(tmp_path / "toy.yaml"), "data.root": str(tmp_path / "bundle.safetensors")}
    few = {"data.shots_policy": "all", "data.draw_from": "train4"}
    steps = {"trainer.max_steps": 1, "trainer.val_check_interval": 1}
    content = {**grid, "cards": {"toy": {**own, **toy, **few}}, "set": steps, "seeds": [1], "expected": None}
    file = write_grid(**{**content, "configs": ["base.yaml"]})
    run(file, "--jobs=1")
    cells = planned(file).cells
    assert [cell.row for cell in cells] == list(grid["methods"])
    found = {cell.row: ResultCard.read(cell.folder) for cell in cells}
    for card in found.values():
        assert card.data["drawn"] == drawn
        assert card.data["images"] == {"train": images, "val": 16 if name == "coarse_labels" else 12, "test": 37}
        assert card.data["draw"] == found["level CE"].data["draw"]
    if name == "coarse_labels":
        settings = found["+ leaf CE"].method_settings["init_args"]
        assert settings["objective"] == {"level_ce": 1.0, "leaf_ce": 1.0}
        assert found["level CE"].method_settings["init_args"]["objective"] == {"level_ce": 1}
    else:
        assert found["level CE"].method_settings["init_args"]["objective"] is None
