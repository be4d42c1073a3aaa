"""A run with W&B offline: what its page would show is there, and the run left what a report needs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from hierfit.geometry.embeddings import Embeddings
from hierfit.report import wandb as wandb_report
from hierfit.report.evidence import gather
from hierfit.report.sections import sections
from hierfit.results.card import ResultCard

from .conftest import Fit


def test_tables_pictures_and_figures_reach_wandb(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, dict[str, object]] = {}
    log_report = wandb_report.log_report

    def watched(run: wandb_report.Run, folder: Path, card: ResultCard) -> None:
        log_report(run, folder, card)
        seen["summary"], seen["config"] = dict(run.summary), dict(run.config)

    monkeypatch.setattr(wandb_report, "log_report", watched)
    folder = fit("--controls=null", "--wandb=offline")
    card = ResultCard.read(folder)
    summary, config = seen["summary"], seen["config"]
    for decoder, figures in card.metrics.items():
        for name, value in figures.items():
            if value is not None:
                assert summary[f"test/{decoder}/{name}"] == pytest.approx(value)
    assert summary["cost/steps"] == 6
    assert summary["parameters/trainable"] == card.parameters["trainable"]
    assert (config["seed"], config["shots"], config["row"]) == (1, 4, "LatHAdapter")
    assert config["data"]["draw"]["test"] == card.data["draw"]["test"]  # type: ignore[index]
    media = next((folder / "wandb").glob("offline-run-*")) / "files/media"
    kinds = {path.name: {file.name.rsplit("_", 2)[0] for file in path.rglob("*.*")} for path in media.iterdir()}
    assert {"break_nodes", "sibling_pairs", "reliability", "decoders_LatHAdapter"} <= kinds["table"]
    assert {"confusion", "latent_space", "reliability", "loss"} <= kinds["images"]
    assert kinds["html"] == {"report"}
    # What the run left is a report's: the latent space of its own test images, on the taxonomy's nodes.
    found = Embeddings.read(folder)
    assert found is not None
    assert found.attributes is not None
    assert (len(found.nodes), len(found.images), len(found.attributes)) == (14, 37, 4)
    titles = {section.title for section in sections(gather([folder])) if not section.omitted}
    assert {"The latent space", "What attributes respond to", "Training"} <= titles
    assert "image_radius" in (folder / "metrics.csv").read_text()


def test_undefined_figures_are_left_out() -> None:
    card = ResultCard(
        **{"row": "a", "experiment": "b", "method": "c", "seed": 1, "data": {}, "backbone": {}, "selected_on": "val"},
        levels=("x",),
        metrics={"per_level": {"fpa": 0.5, "mistake_severity": None, "tice": math.nan}},
        cost={"steps": 3, "device": "cpu"},
    )
    assert wandb_report.figures(card) == {"test/per_level/fpa": 0.5, "cost/steps": 3}
    json.dumps(wandb_report.facts(card))
