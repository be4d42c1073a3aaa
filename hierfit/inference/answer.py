"""From logits to answers: which path, how sure, how deep, and what else it might be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hierfit.decoding import DECODERS, confident_depth
from hierfit.errors import UserError
from hierfit.inference.calibration import Calibration
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.spelling import Speller


@dataclass(frozen=True)
class Answer:
    """One path through the tree.

    Attributes:
        path: Names, coarse to fine; empty where not even the coarsest level is sure enough.
        probabilities: Of each of these among the nodes of its level, as the decoder sees them, calibrated.
    """

    path: tuple[str, ...]
    probabilities: tuple[float, ...]

    @property
    def label(self) -> str:
        """The finest name, or nothing."""
        return self.path[-1] if self.path else ""


@dataclass(frozen=True)
class Question:
    """What is asked of each image.

    Attributes:
        decoder: Name of a decoder, see `hierfit.decoding.DECODERS`.
        top: Number of answers, best first.
        rank: Level to stop at; None goes down to the leaf.
        min_confidence: Stop at the deepest level whose probability is at least this.
        within: Only nodes at, below or above these count, by name or path; empty for all.
    """

    decoder: str = "best_path"
    top: int = 1
    rank: str | None = None
    min_confidence: float | None = None
    within: Sequence[str] = ()

    def check(self, taxonomy: Taxonomy) -> None:
        """Refuses what cannot be asked of a tree.

        Raises:
            UserError: Names every fault.
        """
        problems = []
        if self.decoder not in DECODERS:
            near = Speller(DECODERS).did_you_mean(self.decoder)
            problems.append(f"decoder: there is no {self.decoder!r}{near}; there are {', '.join(DECODERS)}")
        if self.rank is not None and self.rank not in taxonomy.levels:
            near = Speller(taxonomy.levels).did_you_mean(self.rank)
            problems.append(f"rank: there is no level {self.rank!r}{near}; there are {', '.join(taxonomy.levels)}")
        if self.top < 1:
            problems.append(f"top is {self.top}; it must be 1 or more")
        if self.min_confidence is not None and not 0 <= self.min_confidence <= 1:
            problems.append(f"min-confidence is {self.min_confidence}; it is a probability, from 0 to 1")
        if self.min_confidence is not None and self.top > 1:
            problems.append("min-confidence and top: the one gives a single answer, the other several; choose one")
        try:
            taxonomy.resolve(self.within)
        except UserError as error:
            problems += [f"within: {problem}" for problem in error.problems or (error.summary,)]
        if problems:
            raise UserError("this cannot be asked of the model", problems)


def answers(logits: Tensor, taxonomy: Taxonomy, calibration: Calibration, question: Question) -> list[list[Answer]]:
    """Answers for each image, best first; fewer than ``top`` where there are no more.

    Paths are decoded from the logits as they are: calibration says how sure they are and changes none of them. The
    next best answer is what the decoder finds once the one before, with all below it, is taken away. O(top·B·N).

    Args:
        logits: ``[B, N]``.
        taxonomy: The tree.
        calibration: Gives the probabilities.
        question: Has been checked.
    """
    if question.within:
        logits = logits.masked_fill(~_around(taxonomy, taxonomy.resolve(question.within)), -torch.inf)
    chances = calibration.probabilities(logits, taxonomy, question.decoder)
    decode = DECODERS[question.decoder]
    deepest = taxonomy.num_levels if question.rank is None else taxonomy.levels.index(question.rank) + 1
    found: list[list[Answer]] = [[] for _ in logits]
    for place in range(question.top):
        paths = decode(logits, taxonomy)
        paths[:, deepest:] = -1
        chance = chances.gather(1, paths.clamp_min(0))
        if question.min_confidence is not None:
            paths = confident_depth(paths, chance, question.min_confidence)
        # What was taken away has no logit: then nothing is left.
        left = logits.gather(1, paths.amax(dim=1, keepdim=True).clamp_min(0)).isfinite()[:, 0].tolist()
        for answer, is_left, path, p in zip(found, left, paths.tolist(), chance.tolist(), strict=True):
            if is_left:
                depth = sum(node >= 0 for node in path)
                answer.append(Answer(tuple(taxonomy.names[v] for v in path[:depth]), tuple(p[:depth])))
        if place + 1 < question.top:
            logits = _without(logits, paths.amax(dim=1), taxonomy)
    return found


def _around(taxonomy: Taxonomy, nodes: Tensor) -> Tensor:
    """Which nodes are at, below or above some nodes ``[N]`` bool."""
    chosen = torch.zeros(taxonomy.num_nodes + 1, dtype=torch.bool)  # the last stands for −1
    chosen[nodes] = True
    below = chosen[taxonomy.paths(torch.arange(taxonomy.num_nodes))].any(dim=1)
    above = taxonomy.paths(nodes)
    below[above[above >= 0]] = True
    return below


def _without(logits: Tensor, nodes: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Logits without each row's node, all below it, and every node above that has no leaf left ``[B, N]``."""
    gone = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, nodes[:, None], True)
    for upper, lower in zip(taxonomy.level_slices, taxonomy.level_slices[1:], strict=False):
        gone[:, lower] |= gone[:, upper].index_select(1, taxonomy.parent[lower] - upper.start)
    logits = logits.masked_fill(gone, -torch.inf)
    pairs = list(zip(taxonomy.level_slices, taxonomy.level_slices[1:], strict=False))
    for upper, lower in reversed(pairs):
        alive = torch.zeros(len(logits), upper.stop - upper.start)
        alive.index_add_(1, taxonomy.parent[lower] - upper.start, logits[:, lower].isfinite().float())
        empty = (alive == 0) & (taxonomy.num_children[upper] > 0)
        logits[:, upper] = logits[:, upper].masked_fill(empty, -torch.inf)
    return logits
