"""Runs of one process share what they read, and nothing that one of them could spoil for the next."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from hierfit.data import datamodule, prepare
from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.search.sharing import shared_data

ROOT = Path(__file__).parents[3]
CARD = """
name: few
version: 1
title: a test
citation: none
licence: none
obtain: drawn
levels: {family: 2, genus: 2, species: 2}
layout:
  name: fieldguide
  guide: {families: 2, genera: 1, species: 1}
  per_leaf: {train: 2, val: 1, test: 1}
"""


@pytest.fixture
def card(tmp_path: Path) -> str:
    path = tmp_path / "few.yaml"
    path.write_text(CARD)
    return str(path)


def data(card: str, tmp_path: Path, shots: int = 1, seed: int = 0) -> HierarchicalDataModule:
    return HierarchicalDataModule(card, shots=shots, seed=seed, num_workers=0, cache_dir=str(tmp_path / "cache"))


def test_a_table_is_read_once_and_a_draw_prepared_once(
    card: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"read_table": 0, "prepare": 0, "ready": 0}
    read_table, prepare_draw = vars(prepare)["read_table"], vars(datamodule)["prepare"]

    def counted(name: str, function: object) -> object:
        def call(*arguments: object, **named: object) -> object:
            calls[name] += 1
            return function(*arguments, **named)  # type: ignore[operator]

        return call

    monkeypatch.setattr(prepare, "read_table", counted("read_table", read_table))
    monkeypatch.setattr(datamodule, "prepare", counted("prepare", prepare_draw))

    def ready() -> None:
        calls["ready"] += 1

    with shared_data(ready):
        for shots, seed in ((1, 0), (1, 0), (1, 1), (2, 1), (1, 0)):  # the last was put away meanwhile
            assert len(data(card, tmp_path, shots, seed).task.train_paths) == 2 * shots
    assert calls == {"read_table": 1, "prepare": 4, "ready": 5}
    data(card, tmp_path).task  # noqa: B018 (a property that reads)
    assert calls == {"read_table": 2, "prepare": 5, "ready": 5}


def test_what_one_run_changes_the_next_does_not_see(card: str, tmp_path: Path) -> None:
    alone = data(card, tmp_path).task
    with shared_data():
        first = data(card, tmp_path).task
        assert first.backbone is not None
        assert first.train_features is not None
        first.text.zero_()
        first.train_features.fill_(3.0)
        first.backbone.model.logit_scale.data.fill_(0.0)
        first.backbone.model = nn.Identity()
        second = data(card, tmp_path).task
    assert torch.equal(second.text, alone.text)
    assert second.train_features is not None
    assert alone.train_features is not None
    assert torch.equal(second.train_features, alone.train_features)
    assert second.backbone is not None
    assert alone.backbone is not None
    assert second.backbone.fingerprint == alone.backbone.fingerprint
