"""Coarse labels for training, and other data sets to test on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hierfit.data.batch import Batch
from hierfit.data.choice import coarsened
from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.data.trees import counterparts
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

WriteCard = Callable[..., str]

TREE = Taxonomy.from_paths([("a", "x", "1"), ("a", "x", "2"), ("a", "y"), ("b", "x", "1")], ("top", "mid", "leaf"))


def test_labels_end_at_a_level_and_unknown_ones_stay_unknown() -> None:
    find = TREE.find
    nodes = torch.tensor([find(["a", "x", "2"]), find(["a", "y"]), find("b"), -1])
    assert coarsened(nodes, TREE, 1).tolist() == [find(["a", "x"]), find(["a", "y"]), find("b"), -1]
    assert coarsened(nodes, TREE, 0).tolist() == [find("a"), find("a"), find("b"), -1]
    assert torch.equal(coarsened(nodes, TREE, 2), nodes)


def test_counterparts_go_by_whole_paths() -> None:
    other = Taxonomy.from_paths([("c", "x", "1"), ("b", "x", "9"), ("a", "x", "2"), ("b", "x", "1")])
    found = counterparts(other, TREE)
    names = {other.full_name(v): TREE.full_name(o) if o >= 0 else None for v, o in enumerate(found.tolist())}
    assert names == {
        **{path: path for path in ("a", "b", "a/x", "b/x", "a/x/2", "b/x/1")},
        **dict.fromkeys(("c", "c/x", "c/x/1", "b/x/9")),
    }


@pytest.mark.usefixtures("fake_backbone")
class TestDataModule:
    def module(self, card: str, root: Path, **options: Any) -> HierarchicalDataModule:
        return HierarchicalDataModule(card, str(root), **({"shots": 2, "num_workers": 0} | options))

    def test_coarse_labels_are_all_that_training_and_validation_are_told(
        self, root: Path, write_card: WriteCard
    ) -> None:
        coarse, fine = (self.module(write_card(), root, train_level=level) for level in ("family", None))
        assert coarse.summary()["draw"] == fine.summary()["draw"]
        assert coarse.task.seen.tolist() == [True, True, False, False, False, False]
        assert torch.equal(coarse.task.train_paths[:, 0], fine.task.train_paths[:, 0])
        assert (coarse.task.train_paths[:, 1] == -1).all()
        for a, b in zip(coarse.val_dataloader(), fine.val_dataloader(), strict=True):
            assert isinstance(a, Batch)
            assert isinstance(b, Batch)
            assert (a.paths[:, 1] == -1).all()
            assert torch.equal(a.paths[:, 0], b.paths[:, 0])
        for a, b in zip(coarse.test_dataloader(), fine.test_dataloader(), strict=True):
            assert torch.equal(a.paths, b.paths)
        assert coarse.base.all()
        assert coarse.summary()["protocol"] == "labels down to family"

    def test_the_finest_level_changes_nothing(self, root: Path, write_card: WriteCard) -> None:
        finest, fine = (self.module(write_card(), root, train_level=level) for level in ("species", None))
        assert finest.summary() == fine.summary()
        assert finest.task.seen.all()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"train_level": "famly"}, "did you mean 'family'"),
            ({"train_level": "family", "novel": "halves"}, "either classes or levels"),
            ({"targets": {"nowhere": None}}, "there is no card 'nowhere'"),
            ({"targets": {"fieldguide": None}, "tree": "flat"}, "read on their own trees"),
        ],
    )
    def test_faults_are_found_before_anything_is_read(
        self, root: Path, write_card: WriteCard, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(UserError, match=message):
            self.module(write_card(), root, **options)

    def test_the_source_is_no_target(self, root: Path, write_card: WriteCard) -> None:
        card = write_card()
        with pytest.raises(UserError, match="the card that is trained on"):
            self.module(card, root, targets={card: str(root)})

    def test_a_target_without_its_root_is_refused_before_training(
        self, root: Path, write_card: WriteCard, tmp_path: Path
    ) -> None:
        other = tmp_path / "cards" / "zoo.yaml"
        text = Path(write_card()).read_text().replace("name: animals", "name: zoo")
        other.write_text(text)
        data = self.module(write_card(), root, targets={str(other): None})
        with pytest.raises(UserError, match="zoo: "):
            data.setup()
