"""The wheel alone, in a folder outside the repository: experiments, fit by name, predict, report, reproduce."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip("hatchling")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the repository's files as they are."""
    out = tmp_path_factory.mktemp("dist")
    build = ["pip", "wheel", "-q", "--no-deps", "--no-build-isolation", str(ROOT), "-w", str(out)]
    subprocess.run([sys.executable, "-m", *build], check=True, capture_output=True)
    (built,) = out.glob("hierfit-*.whl")
    return built


@pytest.fixture(scope="module")
def hierfit(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs a command of what the wheel installs, in a folder of its own; nothing is downloaded."""
    home = tmp_path_factory.mktemp("away")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home / "venv")], check=True)
    python = home / "venv" / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip())
    install = ["pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run([sys.executable, "-m", *install], check=True, capture_output=True)
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))  # what hierfit needs, after hierfit itself
    work = home / "work"
    work.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*words: str) -> str:
        command = [python, "-m", "hierfit", *words]
        ended = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return run


def test_a_wheel_is_whole(hierfit: Callable[..., str]) -> None:
    assert "lathadapter_fewshot" in hierfit("experiments")
    assert "site-packages/hierfit/data_cards" in hierfit("data", "list").replace("\n", "")
    short = ["--controls=null", "--trainer.max_steps=2", "--wandb=disabled"]
    assert "fit lathadapter_fewshot" in hierfit("fit", "lathadapter_fewshot", *short)
    hierfit("data", "draw", "fieldguide", "--out", "pictures", "--count", "2")
    assert hierfit("predict", "latest", "pictures", "--format", "csv").count("\n") == 3
    assert "Written to" in hierfit("report", "latest")
    assert "finished" in hierfit("runs")
    # All experiments are there, and with them what they found.
    assert "grids/fewshot.yaml" in hierfit("reproduce", "--cheaper-than", "0")
    assert "Written to" in hierfit("init", "lathadapter_fewshot")


def test_the_index_is_told_all(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        text = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    head, _, readme = text.partition("\n\n")
    for field in ("Author", "License-Expression: Apache-2.0", "Requires-Python", "Classifier"):
        assert f"\n{field}" in head
    assert "Description-Content-Type: text/markdown" in head
    assert readme.startswith("# ")
    for held in ("experiments/base.yaml", "experiments/grids/fewshot.yaml", "data_cards/fieldguide.yaml", "py.typed"):
        assert f"hierfit/{held}" in names
