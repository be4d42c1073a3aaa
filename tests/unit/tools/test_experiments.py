"""What hierfit brings to run: listed, copied, and pictures to predict on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from hierfit import cli
from hierfit.config.named import EXPERIMENTS, GRIDS, SWEEPS
from hierfit.data.card import load_card
from hierfit.data.table import read_table
from hierfit.run.configure import configure
from hierfit.search.grid_file import read_grid
from hierfit.search.sweep_file import read_sweep


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that holds nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def test_all_are_listed_with_what_they_ask(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["experiments"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    names = [line.split()[0] for line in lines if line[:2] == "  " and line[2] != " "]
    assert names == [name for shelf in (EXPERIMENTS, GRIDS, SWEEPS) for name in shelf.files()]
    assert all(len(line.split()) > 1 for line in lines if line[:2] == "  " and line[2] != " ")


def test_a_copy_runs_under_its_own_name(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["init", "lathadapter_fewshot", "--out", "mine.yaml"])
    assert "hierfit fit mine.yaml" in capsys.readouterr().out
    copy, original = configure(["mine.yaml"]), configure(["lathadapter_fewshot"])
    assert copy.name == "mine"
    assert {**copy.settings, "name": ""} == {**original.settings, "name": ""}
    assert "make" not in Path("mine.yaml").read_text().split("name:")[0]
    cli.main(["init", "fewshot"])
    assert read_grid(Path("fewshot.yaml")).source.file == Path("fewshot.yaml")
    cli.main(["init", "sweeps/lathadapter"])
    configure(read_sweep(Path("lathadapter.yaml")).start)
    for arguments, fault in {
        ("fewshot",): "fewshot.yaml exists already",
        ("lathadapter_fewshoot",): "did you mean 'lathadapter_fewshot'?",
        ("hier_lora", "--out", "copy.txt"): "written as .yaml",
    }.items():
        with pytest.raises(SystemExit):
            cli.main(["init", *arguments])
        assert fault in capsys.readouterr().err


def test_drawn_pictures_are_those_of_the_test_split(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["data", "draw", "fieldguide", "--out", "pictures", "--count", "75"])
    written = sorted((elsewhere / "pictures").glob("*.png"))
    table = read_table(load_card("fieldguide"), None)
    assert len(written) == 75
    assert len({path.stem.split("-")[-2] for path in written}) == 72  # every species before one comes twice
    assert table.images is not None
    for path in written[::15]:
        leaf, turn = (int(part) for part in path.stem.split("-")[-2:])
        assert np.array_equal(np.asarray(Image.open(path)), np.asarray(table.images.load(f"test/{leaf}/{turn - 1}")))
        assert table.taxonomy.names[int(table.taxonomy.leaves[leaf])].replace(" ", "-") in path.name
    card = yaml.safe_load(Path(load_card("cub200").path).read_text())
    for arguments, fault in {
        ("cub200", "--out", "x"): card["name"] + " is not drawn",
        ("fieldguide", "--out", "x", "--count", "9999"): "has 1440 test pictures, not 9999",
    }.items():
        with pytest.raises(SystemExit):
            cli.main(["data", "draw", *arguments])
        assert fault in capsys.readouterr().err
    assert not Path("x").exists()
