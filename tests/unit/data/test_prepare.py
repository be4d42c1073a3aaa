from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hierfit.backbone import encode_nodes
from hierfit.data.card import load_card
from hierfit.data.choice import Choice
from hierfit.data.prepare import Prepared, Towers, prepare
from hierfit.data.table import read_table
from hierfit.errors import UserError

WriteCard = Callable[..., str]


def ready(card: str, root: Path, needs: str = "features", **choice: object) -> Prepared:
    found = load_card(card)
    return prepare(found, read_table(found, root), Choice(**choice), Towers("fake", needs))  # type: ignore[arg-type]


def test_only_what_is_used_is_encoded(root: Path, write_card: WriteCard, fake_backbone: Any) -> None:
    prepared = ready(write_card(), root, shots=2, seed=1)
    sizes = {name: len(split) for name, split in prepared.splits.items()}
    assert sizes == {"train": 4 * 2, "val": 4 * 2, "test": 16}
    assert fake_backbone.encoded == 32
    ready(write_card(), root, shots=2, seed=1)
    assert fake_backbone.encoded == 32
    for split in prepared.splits.values():
        assert split.features is not None
        torch.testing.assert_close(split.features.norm(dim=-1), torch.ones(len(split)))


def test_a_task_has_all_a_method_may_know(root: Path, write_card: WriteCard, fake_backbone: Any) -> None:
    templates = {"species": ["a photo of a {name}.", "{name}"]}
    for _ in range(2):  # computed, then from the cache
        task = ready(write_card(templates=templates), root, shots=1).task
        assert torch.equal(task.text, encode_nodes(fake_backbone, task.taxonomy, templates))
    assert task.text_source == "prompts"
    assert task.logit_scale == 50.0
    assert task.train_features is not None
    assert task.train_features.shape == (4, 8)
    assert task.train_paths.shape == (4, 2)
    assert sorted(task.train_paths[:, 1].tolist()) == task.taxonomy.leaves.tolist()


def test_pixels_are_checked_but_not_encoded(root: Path, write_card: WriteCard, fake_backbone: Any) -> None:
    prepared = ready(write_card(), root, needs="pixels", shots=2)
    assert fake_backbone.encoded == 0
    assert prepared.task.train_features is None
    key = prepared.splits["test"].keys[0]
    (root / key).write_text("no picture")
    with pytest.raises(UserError, match="1 of 1 pictures cannot be used"):
        ready(write_card(), root, needs="pixels", shots=2)


def test_pictures_that_are_not_used_may_be_bad(root: Path, write_card: WriteCard, fake_backbone: Any) -> None:
    drawn = set(ready(write_card(), root, shots=2).splits["train"].keys)
    unused = next(p for p in sorted((root / "train").rglob("*.png")) if p.relative_to(root).as_posix() not in drawn)
    unused.write_text("no picture")
    assert len(ready(write_card(), root, shots=2).splits["train"]) == 8
    with pytest.raises(UserError, match="1 of 20 pictures cannot be used"):
        ready(write_card(), root)


def test_bad_input_leaves_nothing_behind(root: Path, write_card: WriteCard, fake_backbone: Any, tmp_path: Path) -> None:
    for card, choice in ((write_card(), {"shots": 99}), (write_card(splits={"train": {"images": 7}}), {})):
        with pytest.raises(UserError):
            ready(card, root, **choice)
    assert not (tmp_path / "cache").exists()


def test_pictures_need_a_backbone(root: Path, write_card: WriteCard) -> None:
    card = load_card(write_card())
    table = read_table(card, root)
    with pytest.raises(UserError, match=r"card 'animals' holds pictures: data.backbone must name"):
        prepare(card, table, Choice(), Towers(None))


def test_the_summary_is_plain_and_complete(root: Path, write_card: WriteCard, fake_backbone: Any) -> None:
    facts = ready(write_card(), root, shots=2, seed=3).summary()
    assert facts["images"] == {"train": 8, "val": 8, "test": 16}
    assert facts["backbone_fingerprint"] == "f" * 64
    assert facts["card"] == "animals"
    assert facts == ready(write_card(), root, shots=2, seed=3).summary()
    other = ready(write_card(), root, shots=2, seed=4).summary()
    assert other["draw"]["train"] != facts["draw"]["train"]
    assert other["draw"]["test"] == facts["draw"]["test"]
