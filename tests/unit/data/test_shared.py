"""Runs of one process share what they read, and nothing that one of them could spoil for the next."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from hierfit.backbone import Backbone
from hierfit.data import datamodule
from hierfit.data.batch import Shared
from hierfit.data.datamodule import HierarchicalDataModule

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


def data(
    card: str, tmp_path: Path, shared: Shared | None = None, shots: int = 1, seed: int = 0
) -> HierarchicalDataModule:
    module = HierarchicalDataModule(card, shots=shots, seed=seed, num_workers=0, cache_dir=str(tmp_path / "cache"))
    module.shared = shared
    return module


def test_of_each_kind_the_last_is_kept() -> None:
    made, shared = [], Shared()
    for key in (("a", 1), ("b", 1), ("a", 1), ("a", 2), ("b", 1), ("a", 1)):
        assert shared.get(key, lambda key=key: made.append(key) or [key])[0] == key  # type: ignore[misc]
    assert made == [("a", 1), ("b", 1), ("a", 2), ("a", 1)]


def test_a_table_is_read_once_and_a_draw_prepared_once(
    card: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"read_table": 0, "prepare": 0, "load": 0}

    def count(place: object, name: str) -> None:
        function = getattr(place, name)

        def call(*arguments: object, **named: object) -> object:
            calls[name] += 1
            return function(*arguments, **named)

        monkeypatch.setattr(place, name, call)

    count(datamodule, "read_table")
    count(datamodule, "prepare")
    count(Backbone, "load")
    shared = Shared()
    for shots, seed in ((1, 0), (1, 0), (1, 1), (2, 1), (1, 0)):  # the last was put away meanwhile
        assert len(data(card, tmp_path, shared, shots, seed).task.train_paths) == 2 * shots
    assert calls == {"read_table": 1, "prepare": 4, "load": 1}
    data(card, tmp_path).task  # noqa: B018 (a property that reads)
    assert calls == {"read_table": 2, "prepare": 5, "load": 2}


def test_what_one_run_changes_the_next_does_not_see(card: str, tmp_path: Path) -> None:
    alone, shared = data(card, tmp_path).task, Shared()
    first = data(card, tmp_path, shared).task
    assert first.backbone is not None
    assert first.train_features is not None
    first.text.zero_()
    first.train_features.fill_(3.0)
    first.backbone.model.logit_scale.data.fill_(0.0)
    first.backbone.model = nn.Identity()
    for second in (data(card, tmp_path, shared).task, data(card, tmp_path, shared, seed=1).task):
        assert torch.equal(second.text, alone.text)
        assert second.backbone is not None
        assert alone.backbone is not None
        assert second.backbone.fingerprint == alone.backbone.fingerprint
    again = data(card, tmp_path, shared).task
    assert again.train_features is not None
    assert alone.train_features is not None
    assert torch.equal(again.train_features, alone.train_features)
