"""What is asked of logits, against brute force over the leaves."""

from __future__ import annotations

import pytest
import torch

from hierfit.decoding import BELIEF_DECODERS, Calibration, belief, level_log_softmax
from hierfit.errors import UserError
from hierfit.predict.answer import Question, answers
from hierfit.taxonomy import Taxonomy

LEVELS = ("top", "mid", "leaf")
TREE = Taxonomy.from_paths([(f"top{i // 4}", f"mid{i // 2}", f"leaf{i}") for i in range(8)], LEVELS)
RAGGED = Taxonomy.from_paths([("cat", "big", "lion"), ("cat", "big", "lynx"), ("cat", "tabby"), ("emu",)], LEVELS)
LOGITS = torch.randn(20, TREE.num_nodes, generator=torch.Generator().manual_seed(0))


def asked(logits: torch.Tensor = LOGITS, tree: Taxonomy = TREE, **keys: object) -> list[list[tuple[str, ...]]]:
    question = Question(**keys)  # type: ignore[arg-type]
    question.check(tree, Calibration())
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


@pytest.mark.parametrize("decoder", sorted(BELIEF_DECODERS.keys() - {"per_level"}))
@pytest.mark.parametrize("tree", [TREE, RAGGED])
def test_more_answers_than_there_are_end_and_never_repeat(decoder: str, tree: Taxonomy) -> None:
    logits = torch.randn(6, tree.num_nodes, generator=torch.Generator().manual_seed(1))
    for found in asked(logits, tree, decoder=decoder, top=50):
        leaves = [path[-1] for path in found]
        assert len(set(leaves)) == len(leaves) == tree.num_leaves


def test_other_answers_at_a_rank_are_other_nodes_of_that_rank() -> None:
    for found in asked(rank="mid", top=10):
        assert sorted(path[-1] for path in found) == ["mid0", "mid1", "mid2", "mid3"]
        assert all(len(path) == 2 for path in found)


@pytest.mark.parametrize("decoder", sorted(BELIEF_DECODERS))
def test_within_a_subtree_nothing_else_is_answered(decoder: str) -> None:
    for (path,) in asked(within=["mid1"], decoder=decoder):
        assert path[:2] == ("top0", "mid1")
        assert path[2] in ("leaf2", "leaf3")
    (first, *_) = answers(LOGITS, TREE, Calibration(), Question(within=["mid1"]))
    assert first[0].probabilities[:2] == pytest.approx((1.0, 1.0))
    found = {path[0] for (path,) in asked(within=["leaf0", "top1"])}
    assert found <= {"top0", "top1"}


@pytest.mark.parametrize("tree", [TREE, RAGGED])
@pytest.mark.parametrize("decoder", [None, *sorted(BELIEF_DECODERS)])
def test_a_printed_probability_is_the_beliefs_and_never_rises(tree: Taxonomy, decoder: str | None) -> None:
    logits = 3 * torch.randn(30, tree.num_nodes, generator=torch.Generator().manual_seed(2))
    scores = decoder if decoder in ("best_path", "rollup") else "best_path"
    nodes = belief(logits, tree, Calibration(scores)).nodes  # type: ignore[arg-type]
    question = Question(decoder, top=1 if decoder == "per_level" else 3)
    question.check(tree, Calibration())
    for row, found in zip(nodes, answers(logits, tree, Calibration(), question), strict=True):
        for answer in found:
            assert list(answer.probabilities) == sorted(answer.probabilities, reverse=True)
            if decoder != "per_level":
                ends = [tree.find(answer.path[: depth + 1]) for depth in range(len(answer.path))]
                assert list(answer.probabilities) == row[ends].tolist()


def test_a_path_ends_at_the_deepest_node_that_is_sure() -> None:
    for (answer,) in answers(LOGITS, TREE, Calibration(), Question(min_confidence=0.6)):
        assert not answer.path or answer.probabilities[-1] >= 0.6
        assert answer.label == (answer.path[-1] if answer.path else "")


def test_a_family_beside_the_best_leafs_is_found_when_it_is_the_surer_one() -> None:
    # emu is the most probable leaf with 0.4; but a cat it is with 0.6.
    logits = torch.full((1, RAGGED.num_nodes), 0.0)
    for name, chance in (("emu", 0.4), ("lion", 0.25), ("lynx", 0.25), ("tabby", 0.1)):
        logits[0, RAGGED.find(name)] = torch.tensor(chance).log()
    rollup = Calibration("rollup")
    assert [a.path for a in answers(logits, RAGGED, rollup, Question())[0]] == [("emu",)]
    (answer,) = answers(logits, RAGGED, rollup, Question(min_confidence=0.5))[0]
    assert answer.path == ("cat", "big")
    assert answer.probabilities == pytest.approx((0.6, 0.5))


def test_answers_under_a_promise() -> None:
    scores = torch.linspace(0, 0.99, 100)
    calibration = Calibration(conformal=scores)
    # 101 · 0.8 = 80.8: the 81st smallest of 0, 0.01, … 0.99 is 0.80.
    assert calibration.threshold(0.2) == pytest.approx(0.80)
    for (answer,) in answers(LOGITS, TREE, calibration, Question(max_error=0.2)):
        assert all(p > calibration.threshold(0.2) for p in answer.probabilities)
    with pytest.raises(UserError, match="takes at least 199 validation images with a leaf's label"):
        Question(max_error=0.005).check(TREE, calibration)
    with pytest.raises(UserError) as error:
        Question("rollup", min_confidence=0.5, max_error=0.1, within=["mid1"]).check(TREE, calibration)
    assert len(error.value.problems) == 3


def test_everything_that_cannot_be_asked_is_said_at_once() -> None:
    assert asked(LOGITS[:0], top=3) == []
    alone = Calibration("rollup", {"rollup": 1.0})
    Question("bayes").check(TREE, alone)
    for question, calibration, parts in (
        (
            Question("best", 0, "lef", 1.5, within=["mid9"]),
            Calibration(),
            ("'best' – did you mean 'bayes'", "'lef' – did you mean 'leaf'", "top is 0", "1.5", "'mid9'"),
        ),
        (Question(top=2, min_confidence=0.5), Calibration(), ("choose one",)),
        (Question("per_level", top=2), Calibration(), ("has no next best path",)),
        (Question("bayes", min_confidence=0.5), Calibration(), ("finds its own path",)),
        (Question(max_error=1.0), Calibration(), ("between 0 and 1",)),
        (Question("best_path"), alone, ("trained on leaves alone",)),
    ):
        with pytest.raises(UserError) as error:
            question.check(TREE, calibration)
        assert len(error.value.problems) == len(parts)
        assert all(part in "\n".join(error.value.problems) for part in parts)
