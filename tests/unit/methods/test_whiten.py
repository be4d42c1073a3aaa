"""Whitened features: what the map does to a class's scatter, and that a head behind it is one head all the way."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from hierfit.data.batch import Task
from hierfit.methods import CLIPAdapter, LatHAdapter, LinearProbe, TaskRes
from hierfit.methods.base import Method
from hierfit.methods.head import Head
from hierfit.methods.whiten import Whitening
from hierfit.taxonomy import Taxonomy

TREE = Taxonomy.from_paths([(f"g{i // 2}", f"c{i}") for i in range(6)])
D = 5


def task_of(shots: int) -> Task:
    """Classes that scatter mostly along one direction; not of unit length, so that the algebra is exact."""
    generator = torch.Generator().manual_seed(shots)
    leaves = TREE.leaves.repeat_interleave(shots)
    means = torch.randn(TREE.num_nodes, D, generator=generator, dtype=torch.float64)
    stretched = torch.diag(torch.tensor([3.0, 1, 0.5, 0.2, 0.1], dtype=torch.float64))
    features = means[leaves] + torch.randn(len(leaves), D, generator=generator, dtype=torch.float64) @ stretched
    text = F.normalize(means.float(), dim=-1)
    seen = torch.ones(TREE.num_nodes, dtype=torch.bool)
    return Task(TREE, text, "bundle", None, seen, 30.0, None, features.float(), TREE.paths(leaves))


def test_with_many_images_classes_scatter_alike_in_all_directions() -> None:
    task = task_of(4000)
    whiten = Whitening.of(task, "test")
    assert task.train_features is not None
    z = ((task.train_features - whiten.center) @ whiten.weight).view(6, 4000, D)
    within = z - z.mean(dim=1, keepdim=True)
    covariance = torch.einsum("cnd,cne->de", within, within) / (6 * 3999)
    torch.testing.assert_close(covariance, torch.eye(D), rtol=0, atol=0.05)  # the ridge
    torch.testing.assert_close(z.mean(dim=(0, 1)), torch.zeros(D), rtol=0, atol=1e-4)
    torch.testing.assert_close(whiten(task.text).norm(dim=-1), torch.ones(TREE.num_nodes))
    assert Whitening.of(task_of(1), "test")(task.text).isfinite().all()  # one image a class is enough


@pytest.mark.parametrize("kind", [LinearProbe, CLIPAdapter, TaskRes, LatHAdapter])
def test_a_whitened_head_is_that_of_whitened_features(kind: type[Method]) -> None:
    task = task_of(8)
    whiten = Whitening.of(task, "test")
    logits = []
    for whitened, seen in ((True, task), (False, whiten.task(task))):
        torch.manual_seed(0)
        method = kind(whiten=whitened)  # type: ignore[call-arg]
        method.build(seen)
        assert seen.train_features is not None
        logits.append(method(seen.train_features))
        if whitened:
            again = Head.load(*method.classifier.saved())
            torch.testing.assert_close(again(seen.train_features), logits[0])
            if method.classifier.grows:  # the same classes as if they were others
                method.taxonomy = task.taxonomy
                torch.testing.assert_close(method.over(task)(seen.train_features), logits[0])
    torch.testing.assert_close(logits[0], logits[1])
