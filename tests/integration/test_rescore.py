"""What a real run leaves is enough to score it again and to hold it against its controls, without its data."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from hierfit.cli import main
from hierfit.results.card import ResultCard
from hierfit.results.logits import TestLogits
from hierfit.taxonomy import Taxonomy

from .session.conftest import LEVELS, PATHS, Fit
from .session.conftest import experiment as experiment
from .session.conftest import fit as fit


def test_a_run_is_scored_again_without_its_data(fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fit()
    assert "taxonomy.csv" in capsys.readouterr().out
    (tmp_path / "bundle.safetensors").unlink()
    (tmp_path / "toy.yaml").unlink()
    kept = TestLogits.read(folder)
    assert kept.taxonomy == Taxonomy.from_paths(PATHS, levels=tuple(LEVELS))
    assert len(kept.indices) == 37
    main(["rescore", str(folder)])
    said = capsys.readouterr().out
    assert said.count("as in the card") == 3  # the run and its two controls

    logits = load_file(folder / "test_logits.safetensors")
    save_file({**logits, "logits": -logits["logits"]}, folder / "test_logits.safetensors")
    before = ResultCard.read(folder)
    main(["rescore", str(folder), "--metric", "leaf_accuracy", "--write"])
    assert "7 differ from the card" in capsys.readouterr().out
    after = ResultCard.read(folder)
    assert after.metrics["per_level"]["leaf_accuracy"] != before.metrics["per_level"]["leaf_accuracy"]
    assert after.metrics["per_level"]["fpa"] == before.metrics["per_level"]["fpa"]
    assert after.cost == before.cost
    capsys.readouterr()
    main(["compare", str(folder), str(folder / "controls" / "zero-shot")])
    said = " ".join(capsys.readouterr().out.split())
    assert "LatHAdapter (seed 1) against zero-shot (seed 1): leaf accuracy:" in said
