"""From logits to answers: which path, how sure, how deep, and what else it might be; all read off one belief."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from hierfit.decoding import BELIEF_DECODERS, Calibration, belief, cut_to, deepest_sure, top_down
from hierfit.decoding.belief import LeafScores, node_sums
from hierfit.decoding.calibration import images_needed
from hierfit.errors import UserError, nearest
from hierfit.taxonomy import Taxonomy

_SCORE_LEAVES = ("best_path", "rollup")  # of the decoders


@dataclass(frozen=True)
class Answer:
    """One path through the tree.

    Attributes:
        path: Names, coarse to fine; empty where not even the coarsest level is sure enough.
        probabilities: Of each of these: the sum over the leaves below it, calibrated. Never rising.
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
        decoder: Name in `hierfit.decoding.BELIEF_DECODERS`; None for the one that was chosen on val.
        top: Number of answers, best first.
        rank: Level to stop at; None goes down to the leaf.
        min_confidence: Stop at the deepest node whose probability is at least this.
        max_error: Stop so that at most this share of all answers is wrong (split conformal).
        within: Only leaves at or below these nodes count, by name or path; empty for all.
    """

    decoder: str | None = None
    top: int = 1
    rank: str | None = None
    min_confidence: float | None = None
    max_error: float | None = None
    within: Sequence[str] = ()

    def check(self, taxonomy: Taxonomy, calibration: Calibration) -> None:
        """Raises `UserError` with every reason why this cannot be asked of a model."""
        if problems := list(self._faults(taxonomy, calibration)):
            raise UserError("this cannot be asked of the model", problems)

    def _faults(self, taxonomy: Taxonomy, calibration: Calibration) -> Iterator[str]:
        decoder, stops_early = self.decoder, self.min_confidence is not None or self.max_error is not None
        if decoder is not None and decoder not in BELIEF_DECODERS:
            yield f"decoder: there is no {decoder!r}{nearest(decoder, BELIEF_DECODERS)}"
        elif decoder in _SCORE_LEAVES and decoder not in calibration.temperatures:
            yield f"decoder: {decoder!r} reads inner nodes, and this model was trained on leaves alone"
        elif decoder is not None and stops_early and decoder not in _SCORE_LEAVES:
            yield f"decoder: {decoder!r} finds its own path; min-confidence and max-error descend"
        if self.rank is not None and self.rank not in taxonomy.levels:
            yield f"rank: there is no level {self.rank!r}{nearest(self.rank, taxonomy.levels)}"
        if self.top < 1:
            yield f"top is {self.top}; it must be 1 or more"
        if self.top > 1 and decoder == "per_level":
            yield "top: per_level answers each level on its own and has no next best path; leave one out"
        if self.min_confidence is not None and not 0 <= self.min_confidence <= 1:
            yield f"min-confidence is {self.min_confidence}; it is a probability, from 0 to 1"
        if stops_early and self.top > 1:
            yield "min-confidence, max-error and top: these give a single answer, or several; choose one"
        if self.max_error is not None and not 0 < self.max_error < 1:
            yield f"max-error is {self.max_error}; it is a share of answers, between 0 and 1"
        elif self.max_error is not None:
            if self.min_confidence is not None:
                yield "min-confidence and max-error: choose one"
            if self.within:
                yield "max-error and within: the promise was measured with all classes as candidates"
            if decoder not in (None, calibration.scores):
                yield f"max-error goes with the scores that val chose ({calibration.scores}), not {decoder}"
            if not math.isfinite(calibration.threshold(self.max_error)):
                have = 0 if calibration.conformal is None else len(calibration.conformal)
                yield (
                    f"max-error {self.max_error:g} takes at least {images_needed(self.max_error)} validation images "
                    f"with a leaf's label; this model was made with {have}"
                )
        try:
            taxonomy.resolve(self.within)
        except UserError as error:
            yield from (f"within: {problem}" for problem in error.problems or (error.summary,))


def answers(logits: Tensor, taxonomy: Taxonomy, calibration: Calibration, question: Question) -> list[list[Answer]]:
    """Answers for each image, best first; fewer than ``top`` where there are no more.

    The next best answer is what the decoder finds once the one before, with all below it, is taken away; what is
    printed of it is the probability that it had before. O(top·B·N).

    Args:
        logits: ``[B, N]``.
        taxonomy: The tree.
        calibration: Makes logits a belief.
        question: Has been checked.
    """
    decoder = question.decoder or calibration.scores
    if decoder in _SCORE_LEAVES:
        calibration = replace(calibration, scores=cast("LeafScores", decoder))
    if question.within:
        chosen = taxonomy.resolve(question.within)
        around = torch.zeros(taxonomy.num_nodes + 1, dtype=torch.bool)  # the last stands for −1
        around[chosen] = True
        around[:-1] = around[taxonomy.paths(torch.arange(taxonomy.num_nodes))].any(dim=1)  # at or below
        around[taxonomy.paths(chosen)] = True  # above
        logits = logits.masked_fill(~around[:-1], -torch.inf)
    leaves, nodes = belief(logits, taxonomy, calibration)
    deepest = taxonomy.num_levels if question.rank is None else taxonomy.levels.index(question.rank) + 1
    if question.min_confidence is not None:
        paths = deepest_sure(nodes, taxonomy, question.min_confidence)
        return [[answer] for answer in _named_answers(paths[:, :deepest], nodes, taxonomy)]
    if question.max_error is not None:
        paths = cut_to(top_down(nodes, taxonomy), nodes, calibration.threshold(question.max_error))
        return [[answer] for answer in _named_answers(paths[:, :deepest], nodes, taxonomy)]
    found: list[list[Answer]] = [[] for _ in logits]
    alive = leaves > 0 if question.within else torch.ones_like(leaves, dtype=torch.bool)
    for _ in range(question.top):
        rows = alive.any(dim=1).nonzero()[:, 0]
        if not len(rows):
            break
        left = node_sums(leaves[rows].masked_fill(~alive[rows], 0), taxonomy)
        left = left.masked_fill(node_sums(alive[rows].float(), taxonomy) == 0, -torch.inf)
        paths = BELIEF_DECODERS[decoder](left, taxonomy)[:, :deepest]
        for row, answer in zip(rows.tolist(), _named_answers(paths, nodes[rows], taxonomy), strict=True):
            found[row].append(answer)
        node = paths.amax(dim=1)
        above = taxonomy.padded(taxonomy.leaf_paths)[:, taxonomy.level[node]].T
        alive[rows] &= above != node[:, None]
    return found


def _named_answers(paths: Tensor, nodes: Tensor, taxonomy: Taxonomy) -> Iterator[Answer]:
    """The names along each path, each once, with their probabilities."""
    for path, chance in zip(paths.tolist(), nodes.gather(1, paths.clamp_min(0)).tolist(), strict=True):
        known = {v: p for v, p in zip(path, chance, strict=True) if v >= 0}  # a leaf that ended fills deeper columns
        yield Answer(tuple(taxonomy.names[v] for v in known), tuple(known.values()))
