"""Experiments, grids, sweeps and cards by name, from any folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from hierfit.config.named import CARDS, EXPERIMENTS, GRIDS, HOME, SWEEPS, Shelf, experiment_files
from hierfit.config.settings import read_settings
from hierfit.errors import UserError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that holds nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HIERFIT_CARDS", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("shelf", "name"),
    [(EXPERIMENTS, "hier_lora"), (GRIDS, "fewshot"), (SWEEPS, "hier_lora"), (CARDS, "cub200")],
)
def test_a_name_is_one_s_own_file_before_hierfit_s(shelf: Shelf, name: str, elsewhere: Path) -> None:
    brought = HOME / shelf.folder / f"{name}.yaml"
    assert shelf.find(name) == shelf.find(f"{shelf.folder}/{name}.yaml") == shelf.files()[name] == brought
    with pytest.raises(UserError, match=f"no {shelf.kind} '{name}s' – did you mean '{name}'"):
        shelf.find(f"{name}s")
    with pytest.raises(UserError, match=f"there is no file {name}.yaml"):  # a path is not a name
        shelf.find(f"{name}.yaml")
    own = elsewhere / shelf.folder / f"{name}.yaml"
    own.parent.mkdir(parents=True)
    own.touch()
    assert shelf.find(name) == shelf.files()[name] == own
    assert shelf.find(f"{shelf.folder}/{name}.yaml").samefile(own)


def test_an_experiment_by_name_is_its_files_in_order(elsewhere: Path) -> None:
    def read(*words: str) -> list[tuple[str, object]]:
        problems: list[str] = []
        found = [(s.key, s.value) for s in read_settings(words, problems)]
        assert not problems
        return found

    folder = HOME / "experiments"
    long = read(f"--config={folder}/base.yaml", f"--config={folder}/hier_lora.yaml", "--data.shots=4")
    assert read("hier_lora", "--data.shots", "4") == long
    assert read("--config=experiments/base.yaml", "--config=hier_lora", "--data.shots=4") == long
    (elsewhere / "mine.yaml").write_text("name: mine\n")
    assert experiment_files("mine.yaml") == [folder / "base.yaml", Path("mine.yaml")]
    (elsewhere / "base.yaml").write_text("seed_everything: 3\n")  # beside it
    assert read("mine.yaml") == [("seed_everything", 3), ("name", "mine")]
    problems: list[str] = []
    assert [s.key for s in read_settings(["hier_lore", "--row=x"], problems)] == ["row"]
    assert problems == ["command line: there is no experiment 'hier_lore' – did you mean 'hier_lora'?"]
