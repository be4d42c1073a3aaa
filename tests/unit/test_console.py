"""The lines a run ends with: what one types next, as short as it goes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hierfit.run.console import next_seed, short_name, shown_plainly


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["hier_lora", "--data.shots", "4"], "hier_lora --data.shots 4 --seed_everything 2"),
        (["x.yaml", "--seed_everything=1", "--folder", "out", "--row=a b"], "x.yaml '--row=a b' --seed_everything 2"),
        (["hier_lora", "--data.seed=5"], "--config run/config.yaml --seed_everything 2 --data.seed 2"),
        (["--config", "x.yaml"], "--config run/config.yaml --seed_everything 2 --data.seed 2"),
    ],
)
def test_the_same_run_with_another_seed(typed: list[str], expected: str) -> None:
    assert next_seed(typed, Path("run"), 2) == expected


def test_a_run_is_called_latest_while_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert short_name(Path("out")) == "out"
    for name in ("runs/a/one", "out"):
        Path(name).mkdir(parents=True)
        (Path(name) / "result.json").write_text("{}")
    assert short_name(Path("runs/a/one")) == "latest"
    assert short_name(Path("out")) == "out"


@shown_plainly()
def interrupted_within_lightning() -> None:
    """Lightning makes an exit of Ctrl-C."""
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        sys.exit(1)


def test_ctrl_c_is_ctrl_c_although_lightning_has_heard_it_first() -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted_within_lightning()
