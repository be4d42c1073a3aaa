"""What is asked of logits, against brute force over the leaves."""

from __future__ import annotations

import pytest
import torch

from hierfit.decoding import DECODERS, confident_depth, level_log_softmax
from hierfit.errors import UserError
from hierfit.inference.answer import Question, answers
from hierfit.inference.calibration import Calibration
from hierfit.taxonomy import Taxonomy

LEVELS = ("top", "mid", "leaf")
TREE = Taxonomy.from_paths([(f"top{i // 4}", f"mid{i // 2}", f"leaf{i}") for i in range(8)], LEVELS)
RAGGED = Taxonomy.from_paths([("cat", "big", "lion"), ("cat", "big", "lynx"), ("cat", "tabby"), ("emu",)], LEVELS)
LOGITS = torch.randn(20, TREE.num_nodes, generator=torch.Generator().manual_seed(0))


def asked(logits: torch.Tensor = LOGITS, tree: Taxonomy = TREE, **keys: object) -> list[list[tuple[str, ...]]]:
    question = Question(**keys)  # type: ignore[arg-type]
    question.check(tree)
    return [[answer.path for answer in found] for found in answers(logits, tree, Calibration(), question)]


def test_the_k_best_paths_are_those_of_the_sorted_leaves() -> None:
    log_p = level_log_softmax(LOGITS, TREE)
    score = log_p[:, TREE.leaf_paths].sum(-1)
    expected = [[f"leaf{leaf}" for leaf in row] for row in score.argsort(1, descending=True)[:, :5].tolist()]
    assert [[path[-1] for path in row] for row in asked(top=5)] == expected
    by_leaf = LOGITS[:, TREE.leaves].argsort(1, descending=True)[:, :5].tolist()
    assert [[path[-1] for path in row] for row in asked(top=5, decoder="rollup")] == [
        [f"leaf{v}" for v in r] for r in by_leaf
    ]


@pytest.mark.parametrize("decoder", sorted(DECODERS))
@pytest.mark.parametrize("tree", [TREE, RAGGED])
def test_more_answers_than_there_are_end_and_never_repeat(decoder: str, tree: Taxonomy) -> None:
    logits = torch.randn(6, tree.num_nodes, generator=torch.Generator().manual_seed(1))
    for found in asked(logits, tree, decoder=decoder, top=50):
        leaves = [path[-1] for path in found]
        assert len(set(leaves)) == len(leaves)
        if decoder != "per_level":
            assert len(leaves) == tree.num_leaves


def test_other_answers_at_a_rank_are_other_nodes_of_that_rank() -> None:
    for found in asked(rank="mid", top=10):
        assert sorted(path[-1] for path in found) == ["mid0", "mid1", "mid2", "mid3"]
        assert all(len(path) == 2 for path in found)


@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_within_a_subtree_nothing_else_is_answered(decoder: str) -> None:
    for (path,) in asked(within=["mid1"], decoder=decoder):
        assert path[:2] == ("top0", "mid1")
        assert path[2] in ("leaf2", "leaf3")
    (first, *_) = answers(LOGITS, TREE, Calibration(), Question(within=["mid1"]))
    assert first[0].probabilities[:2] == pytest.approx((1.0, 1.0))
    found = {path[0] for (path,) in asked(within=["leaf0", "top1"])}
    assert found <= {"top0", "top1"}


def test_a_path_ends_at_the_deepest_node_that_is_sure() -> None:
    paths = torch.tensor([[0, 2, 5], [0, 2, 5], [0, 2, 5], [0, 2, -1]])
    chance = torch.tensor([[0.9, 0.7, 0.6], [0.5, 0.9, 0.2], [0.1, 0.1, 0.1], [0.9, 0.9, 1.0]])
    assert confident_depth(paths, chance, 0.8).tolist() == [[0, -1, -1], [0, 2, -1], [-1, -1, -1], [0, 2, -1]]
    for (answer,) in answers(LOGITS, TREE, Calibration(), Question(min_confidence=0.6)):
        assert not answer.path or answer.probabilities[-1] >= 0.6
        assert answer.label == (answer.path[-1] if answer.path else "")


def test_nothing_to_ask_about_is_nothing() -> None:
    assert asked(LOGITS[:0], top=3) == []


def test_everything_that_cannot_be_asked_is_said_at_once() -> None:
    with pytest.raises(UserError) as error:
        Question("best", 0, "lef", 1.5, ["mid9"]).check(TREE)
    said = "\n".join(error.value.problems)
    for part in ("'best', did you mean 'best_path'", "'lef', did you mean 'leaf'", "top is 0", "1.5", "'mid9'"):
        assert part in said
    with pytest.raises(UserError, match="choose one"):
        Question(top=2, min_confidence=0.5).check(TREE)
