"""Flat labels and flat scores on the tree, against sums written out."""

from __future__ import annotations

import pytest
import torch

from hierfit import ClassList, Taxonomy, UserError

TREE = Taxonomy.from_paths([("cat", "lion"), ("dog",), ("cat", "lynx"), ("bear", "brown"), ("bear", "black")])
CLASSES = ClassList(TREE, ["dog", ("cat", "lynx"), "brown", "lion"])  # no black bear


def test_a_label_is_the_path_of_its_name_and_minus_one_is_unknown() -> None:
    names = [
        [TREE.names[v] if v >= 0 else "" for v in path] for path in CLASSES.paths(torch.tensor([0, 1, 3])).tolist()
    ]
    assert names == [["dog", ""], ["cat", "lynx"], ["cat", "lion"]]
    assert CLASSES.paths(torch.tensor([-1])).tolist() == [[-1, -1]]
    assert CLASSES.paths(torch.empty(0, dtype=torch.int64)).shape == (0, 2)


def test_a_node_has_the_probability_of_its_classes() -> None:
    scores = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = CLASSES.logits(scores)
    p = scores.softmax(dim=1)
    expected = {"cat": p[:, 1] + p[:, 3], "dog": p[:, 0], "bear": p[:, 2], "lion": p[:, 3], "brown": p[:, 2]}
    total = scores.logsumexp(dim=1)
    for name, probability in expected.items():
        torch.testing.assert_close((logits[:, TREE.find(name)] - total).exp(), probability)
    assert (logits[:, TREE.find("black")] == -torch.inf).all()


def test_gradients_reach_the_scores() -> None:
    scores = torch.randn(2, 4, requires_grad=True)
    CLASSES.logits(scores)[:, TREE.find("cat")].sum().backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    torch.testing.assert_close(scores.grad.sum(dim=1), torch.ones(2))
    assert CLASSES.logits(torch.randn(2, 4).half()).dtype == torch.float32


@pytest.mark.parametrize("labels", [torch.tensor([4]), torch.tensor([-2]), torch.tensor([0.0])])
def test_labels_that_are_none_are_refused(labels: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="from −1 to 3"):
        CLASSES.paths(labels)


def test_classes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'lion'"):
        ClassList(TREE, ["lien"])
    with pytest.raises(UserError, match="listed twice"):
        ClassList(TREE, ["lion", ("cat", "lion")])
    with pytest.raises(UserError, match="no leaves"):
        ClassList(TREE, ["cat", "dog"]).logits(torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"\[B, 4\]"):
        CLASSES.logits(torch.zeros(1, 5))
