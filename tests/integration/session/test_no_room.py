"""A disk that is full or read-only: a sentence, nothing lost, and the same command goes on once there is room."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from hierfit.cli import main
from hierfit.run.checkpoints import SelectOnVal
from hierfit.run.saving import Curves
from hierfit.run.scores import KeepTestLogits, WritePredictions

from .disk import Disk, on_a_disk


@pytest.fixture
def arguments(experiment: Path) -> list[str]:
    """Of a run that saves after every step."""
    torch.set_num_threads(1)
    return ["fit", f"--config={experiment}", "--controls=null", "--save_every=0"]


def ends(arguments: list[str], place: Path) -> bool:
    """Whether a command comes to its end, or is refused as full disks are, without traces on it."""
    try:
        main(arguments)
        return True
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert not list(place.rglob("*.tmp"))
    assert not list(place.rglob(".tmp*"))  # safetensors' own
    return False


def refusals(said: str) -> list[str]:
    """The first line of each."""
    assert "Traceback" not in said
    why = "No space left on device|Read-only file system"
    return re.findall(rf"^error: .*/\.?([\w.-]+) cannot be written: (?:{why})$", said, re.MULTILINE)


def before(monkeypatch: pytest.MonkeyPatch, kind: type, name: str, act: Callable[[Any], object]) -> None:
    """Has something happen before each call of a method; it is given the object."""
    method = getattr(kind, name)

    def then(self: Any, *args: Any, **kwargs: Any) -> Any:
        act(self)
        return method(self, *args, **kwargs)

    monkeypatch.setattr(kind, name, then)


def test_a_disk_that_is_too_small_time_and_again(arguments: list[str], tmp_path: Path, kills: ModuleType) -> None:
    main([*arguments, f"--runs={tmp_path / 'whole'}"])

    def work(disk: Disk) -> None:
        runs = disk.place / "runs"
        for pages in (1, 2, *range(3, 400, 25)):
            disk.become(pages)
            if ends([*arguments, f"--runs={runs}"], disk.place):
                break
        assert kills.differences(kills.only(tmp_path / "whole"), kills.only(runs)) == []
        assert len(list(runs.glob("*/*"))) == 1

    said = on_a_disk(tmp_path / "disk", work)
    assert {"config.yaml", "last.ckpt"} <= set(refusals(said))
    assert "goes on from step" in said


@pytest.mark.parametrize(
    ("kind", "moment", "room", "file"),
    [(Curves, "write", [0], "metrics.csv"), (KeepTestLogits, "on_test_end", [0, 2, 4], "test_logits.safetensors")],
)
def test_a_disk_that_fills_up(
    kind: type, moment: str, room: list[int], file: str, arguments: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, kills: ModuleType,
) -> None:  # fmt: skip
    main([*arguments, f"--runs={tmp_path / 'whole'}"])

    def work(disk: Disk) -> None:
        runs = disk.place / "runs"
        for pages in room:
            with monkeypatch.context() as patched:
                before(patched, kind, moment, lambda it, n=pages: not getattr(it, "rows", True) or disk.fill(n))
                assert not ends([*arguments, f"--runs={runs}"], disk.place)
            disk.become()
        assert ends([*arguments, f"--runs={runs}"], disk.place)
        assert kills.differences(kills.only(tmp_path / "whole"), kills.only(runs)) == []

    files = refusals(on_a_disk(tmp_path / "disk", work))
    assert files[0] == file
    assert len(set(files)) == len(room)  # with more room it is a later file that has none


def test_a_folder_that_is_read_only_or_becomes_so(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: ModuleType
) -> None:
    main([*arguments, f"--runs={tmp_path / 'whole'}"])

    def work(disk: Disk) -> None:
        runs = disk.place / "runs"
        runs.mkdir()
        disk.protect(runs)
        assert not ends([*arguments, f"--runs={runs}"], disk.place)
        disk.release(runs)
        assert not list(runs.iterdir())
        with monkeypatch.context() as patched:
            before(patched, SelectOnVal, "on_validation_end", lambda it: disk.protect(Path(it.dirpath).parent))
            assert not ends([*arguments, f"--runs={runs}"], disk.place)
        (folder,) = runs.glob("toy/*")
        disk.release(folder)
        assert ends([*arguments, f"--runs={runs}"], disk.place)
        assert kills.differences(kills.only(tmp_path / "whole"), kills.only(runs)) == []

    said = on_a_disk(tmp_path / "disk", work)
    assert len(refusals(said)) == 2
    assert said.count("Read-only file system") == 2


def test_predictions_on_a_full_disk(experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(disk: Disk) -> None:
        model = ("--model=hierfit.methods.ZeroShot", "--controls=null")
        command = ["predict", f"--config={experiment}", *model, f"--runs={disk.place}"]
        with monkeypatch.context() as patched:
            before(patched, WritePredictions, "on_predict_epoch_end", lambda it: disk.fill())
            assert not ends(command, disk.place)
        assert not list(disk.place.rglob("predictions.csv"))
        disk.become()
        assert ends(command, disk.place)
        assert len(list(disk.place.rglob("predictions.csv"))) == 1

    assert refusals(on_a_disk(tmp_path / "disk", work)) == ["predictions.csv"]
