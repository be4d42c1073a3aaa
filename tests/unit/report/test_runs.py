"""Runs by name: ``latest``, a folder of one run, and the list of all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hierfit import cli
from hierfit.errors import UserError
from hierfit.results.runs import find_cards, find_runs, run_folder

from .conftest import card


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``runs`` with an older finished run and its control, a newer one, and the newest, which is unfinished."""
    monkeypatch.chdir(tmp_path)
    for began, (name, row) in enumerate([("a/one", "LatHAdapter"), ("b/c/two", "TreeGDA")]):
        folder = Path("runs") / name
        folder.mkdir(parents=True)
        card(row, 1, 0.5).write(folder)
        (folder / "config.yaml").write_text("name: x\n")
        os.utime(folder / "config.yaml", (began, began))
    (Path("runs/a/one/controls/zero-shot")).mkdir(parents=True)
    card("zero-shot", 1, 0.25).write(Path("runs/a/one/controls/zero-shot"))
    started = Path("runs/a/three/config.yaml")
    started.parent.mkdir()
    started.write_text(
        "{name: lora, row: null, seed_everything: 7, data: {card: cub200, shots: null}, "
        "model: {class_path: hierfit.methods.HierLoRA}}"
    )
    return tmp_path


@pytest.mark.usefixtures("three")
def test_a_run_is_named_by_what_leads_to_it() -> None:
    one, two = Path("runs/a/one"), Path("runs/b/c/two")
    meant = {
        "latest": two,
        "runs/latest": two,
        "runs/a/latest": one,
        "runs/a/latest/controls/zero-shot": one / "controls/zero-shot",
        "runs/a": one,  # beside one that has not finished
        "runs/b": two,
        "runs/a/one": one,
        "runs/a/three": Path("runs/a/three"),
        "runs/a/one/controls/zero-shot": one / "controls/zero-shot",
    }
    assert {name: run_folder(Path(name)) for name in meant} == meant
    assert find_cards(Path("latest")) == [two / "result.json"]
    assert len(find_cards(Path("runs"))) == 3  # several may be meant where tables are made
    assert run_folder(Path("runs"), several=True) == Path("runs")
    Path("latest").mkdir()  # a folder of that name is that folder
    assert run_folder(Path("latest")) == Path("latest")


@pytest.mark.usefixtures("three")
def test_what_there_is_is_named_where_no_run_is() -> None:
    faults = {
        "runs": ["holds 2 finished runs", "runs/b/c/two", "runs/a/one", "runs/latest"],
        "latset": ["latset does not exist", "runs/b/c/two", "latest"],
        "latest/controls/no": ["There is no runs/b/c/two/controls/no"],
        "runs/a/latest/controls/no": ["runs/a/one/controls/zero-shot"],
        "elsewhere/latest": ["no finished run below elsewhere"],
    }
    for name, expected in faults.items():
        with pytest.raises(UserError) as caught:
            run_folder(Path(name))
        assert all(part in str(caught.value) for part in expected), str(caught.value)


def test_the_list_has_every_run_once_the_newest_first(three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs/a/one/result.json").write_text("{")
    cli.main(["runs"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == ["lora", "HierLoRA", "cub200", "all", "7", "–", "–", "unfinished", "runs/a/three"]
    assert [line[-2:] for line in lines[2:]] == [["finished", "runs/b/c/two"], ["damaged", "runs/a/one"]]
    assert {"TreeGDA", "pets", "50.00"} < set(lines[2])
    cli.main(["runs", "runs/a", "--most", "1"])
    assert "1 older" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["runs", str(three / "nowhere")])


def test_listing_needs_nothing_heavy(three: Path) -> None:
    code = "import sys; from hierfit import cli; cli.main(['runs']); cli.main(['experiments']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=three, capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "lightning", "transformers"} & set(done.stdout.splitlines()[-1].split())
    assert len(find_runs(Path("runs"))) == 3
