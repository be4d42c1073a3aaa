"""Closed forms on what a finished run makes of features: the same as on features adapted beforehand, all the way."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from hierfit.data.batch import Task
from hierfit.decoding import Calibration
from hierfit.errors import UserError
from hierfit.methods import CLIPAdapter, KernelRidge, LatHAdapter, LinearProbe, TaskRes, TreeGDA
from hierfit.methods.base import Method
from hierfit.methods.head import Head
from hierfit.methods.saved import SavedModel, SavedTowers, seen_through
from hierfit.taxonomy import Taxonomy

from .made import TREE, D, batch_of, built, made_task, train


def kept(kind: type[Method], task: Task, folder: Path, **keys: Any) -> Head:
    """The head of a short training, as its run keeps it."""
    method = built(kind, task, **keys)
    train(method, batch_of(task))
    towers = SavedTowers("made", "before")
    SavedModel(TREE, method.classifier, Calibration(), towers, {}, {}).write(folder / "predictor")
    return SavedModel.read(folder).head


def pictures(count: int = 40) -> torch.Tensor:
    return F.normalize(torch.randn(count, D, generator=torch.Generator().manual_seed(1)), dim=1)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("kind", [LinearProbe, CLIPAdapter, TaskRes, LatHAdapter])
@pytest.mark.parametrize("closed", [TreeGDA, KernelRidge])
def test_it_is_the_closed_form_on_adapted_features(
    closed: type[Method], kind: type[Method], whiten: bool, tmp_path: Path
) -> None:
    task, images = made_task(), pictures()
    labels = TREE.leaves.repeat(5)
    head = kept(kind, task, tmp_path, whiten=whiten, lr=0.1)
    on, beside = built(closed, task, adapted_by=str(tmp_path)), built(closed, seen_through(str(tmp_path), task)[1])
    for chosen in (False, True):
        if chosen:
            assert on.choose(images, labels) == beside.choose(head.adapted(images), labels)
        torch.testing.assert_close(on(images), beside(head.adapted(images)))
        if closed is TreeGDA:
            again = Head.load(*on.classifier.saved())
            torch.testing.assert_close(again(images), on(images))
            assert (again.whiten is not None) is whiten
            # Sums go on learning where the text of a new class can be read without the run.
            assert (on.learner is None) is head.nodes.changes_text
    if whiten or head.image is not None:
        assert not torch.equal(on(images), built(closed, task)(images))


def test_without_text_sums_go_on_learning(tmp_path: Path) -> None:
    task = dataclasses.replace(made_task(), text_source="class means")
    kept(LatHAdapter, task, tmp_path, whiten=True)
    assert built(TreeGDA, task, adapted_by=str(tmp_path)).learner is not None


def test_a_run_of_other_data_is_refused(tmp_path: Path) -> None:
    task = made_task()
    kept(CLIPAdapter, task, tmp_path)
    other = Taxonomy.from_paths([(f"top{i // 4}", f"mid{i // 2}", f"other{i}") for i in range(8)])
    wider = dataclasses.replace(task, text=torch.ones(TREE.num_nodes, D + 1))
    towers: Any = SimpleNamespace(fingerprint="after", source="others")
    for seen, problem in (
        (dataclasses.replace(task, taxonomy=other), "another tree"),
        (wider, f"features {D} wide, these are {D + 1}"),
        (dataclasses.replace(task, backbone=towers), "trained on the towers 'made', these are 'others'"),
    ):
        for closed in (TreeGDA, KernelRidge):
            with pytest.raises(UserError, match="does not go with these data") as error:
                built(closed, seen, adapted_by=str(tmp_path))
            assert problem in error.value.problems[0]
