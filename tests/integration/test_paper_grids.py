"""The papers' grids on miniatures of the official layouts, with small random towers: from pictures to the table."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hierfit.cli import main

from .papers import official_folder, random_clip

GRIDS = sorted((Path(__file__).parents[2] / "experiments" / "grids").glob("paper_*.yaml"))
STEPS = ("--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1", "--trainer.accelerator=cpu", "--jobs=1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papers")
    official_folder(["imagenet", "imagenet_v2", "imagenet_r", "caltech101_coop", "oxford_pets_coop", "cub200"], folder)
    random_clip(folder / "clip-vit-base-patch16")
    return folder


def run(grid: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setenv("HIERFIT_CARDS", str(folder / "cards"))
    monkeypatch.setenv("COLUMNS", "80")
    towers = f"--data.backbone={folder / 'clip-vit-base-patch16'}"
    main(["grid", grid, f"--data-root={folder / 'data'}", f"--runs={folder / 'runs'}", towers, *STEPS, *options])


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_each_says_what_is_there_and_what_it_takes(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(path.stem, folder, monkeypatch, "--dry-run")
    printed = capsys.readouterr().out
    assert "left out: " in printed
    assert " to do" in printed
    assert {"hours", "GiB", "process"} <= set(printed.split())
    assert yaml.safe_load(path.read_text())["name"] == path.stem
    assert f"make grid GRID={path.stem}" in path.read_text().split("name:")[0]


def test_base_to_novel_from_pictures_to_the_table(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only = [f"--only={card}*/{row}/16-s1" for card in ("caltech", "oxford_pets") for row in ("zero-shot", "TreeGDA")]
    run("paper_base2novel", folder, monkeypatch, *only, "--only=oxford_pets_coop/LatHAdapter/16-s1")
    printed = capsys.readouterr().out
    assert "left out: card sun397_coop: " in printed
    assert "there is no split_zhou_SUN397.json" in printed
    assert "a picture" in " ".join(printed.split())  # what it will take comes first
    assert "5/5 cells" in printed
    tables = printed.partition("5/5 cells · in")[2]
    assert max(map(len, tables.partition("Results in")[0].splitlines())) <= 80
    titles = [
        line.partition(" · ")[0] for line in tables.splitlines() if " · 16 shots a leaf" in line or " · ≤ 16" in line
    ]
    assert titles == ["caltech101_coop", "oxford_pets_coop", "2 data sets"]
    assert all("PromptSRC (published)" in part for part in tables.split("16 shots a leaf")[1:])
    overview = tables.partition("2 data sets")[2]
    # Of the papers' own figures: base 98.10 and 95.33, novel 94.03 and 97.30, H of the means.
    assert _figures(overview, "PromptSRC")[:3] == ["96.71", "95.67", "96.19"]
    (first, *_) = (line for line in overview.splitlines() if line.startswith("LatHAdapter"))
    assert first.count("–") >= 3  # on one of the sets alone: no average


def test_targets_that_are_there_are_tested_and_averaged_without_the_source(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("paper_domain", folder, monkeypatch, "--only=zero-shot/16-s1", "--only=λ=0/16-s1")
    printed = capsys.readouterr().out
    assert "left out: target imagenet_a: " in printed
    assert "left out: target imagenet_sketch: " in printed
    assert "average over 2 of 3 data sets" in printed
    overview = printed.partition("average over 2 of 3 data sets")[2]
    average, _, *targets = (float(cell) for cell in _figures(overview, "zero-shot"))
    assert average == pytest.approx(sum(targets) / 2, abs=0.01)


def _figures(text: str, row: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(row))
    return [word for word in line.split() if "." in word]


def test_losses_of_a_real_tree_take_a_step(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("paper_hierarchical", folder, monkeypatch, "--only=HiSCE + TP-KL/16-s1")
    printed = capsys.readouterr().out
    assert "1/1 cells" in printed
    assert "left out: card inat2021_mini" in printed
    assert all(word in printed for word in ("TICE", "rollup", "bayes"))


@pytest.mark.parametrize("grid", ["paper_fewshot", "paper_cross_dataset"])
def test_without_data_nothing_is_started(grid: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["grid", grid, f"--runs={tmp_path / 'runs'}"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "card 'imagenet' needs data.root" in error
    assert "--data-root FOLDER says where all data lie" in error
    assert not (tmp_path / "runs").exists()
