"""From the training images of a task to one affine score a node, under one prior and one form."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hierfit.closed import (
    Beside,
    Form,
    GaussianClasses,
    Learner,
    Statistics,
    fit_coarse,
    leave_one_out_temperature,
)
from hierfit.closed.temperature import TOO_SURE
from hierfit.closed.tree_gda import RIDGE, WEIGHT, Labelled
from hierfit.methods.head import Head
from hierfit.methods.nodes import Nodes
from hierfit.taxonomy import Taxonomy

RIDGES = (0.1, 0.3, 0.6, 0.9)
WEIGHTS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Scores(NamedTuple):
    """``x·w_v + b_v`` for every node: w ``[N, d]``, b ``[N]``; and what goes on learning from there, if anything."""

    weights: Tensor
    bias: Tensor
    learner: Learner | None = None

    def of(self, features: Tensor) -> Tensor:
        """``[B, N]``."""
        return features.to(self.weights) @ self.weights.T + self.bias

    def head(self, before: Head | None) -> Head:
        """As any other classifier; features come to it as they do to the nodes of the head ``before``."""
        image, whiten = (None, None) if before is None else (before.image, before.whiten)
        return Head(Nodes(self.weights.float(), grows=False), 1.0, image, self.bias.float(), whiten=whiten)


@dataclass(frozen=True)
class Solver:
    """A task's training images and the prior that ties their classes.

    Attributes:
        features: Of the training images ``[n, d]``.
        nodes: Finest known node of each ``[n]``, −1 for none.
        taxonomy: The tree.
        text: Text feature of every node ``[N, d]``; None for none.
        text_scale: Multiplier of cosines to text.
        form: How the means are tied.
    """

    features: Tensor
    nodes: Tensor
    taxonomy: Taxonomy
    text: Tensor | None
    text_scale: float
    form: Form

    def by_images(self, val: Labelled | None = None) -> Scores:
        """GDA of the images alone, at the temperature that they themselves tell."""
        found, statistics = self._fitted(val=val)
        leaf = self.taxonomy.leaf_index[self.nodes].where(self.nodes >= 0, -1)
        rows = leaf >= 0
        temperature = leave_one_out_temperature(found, statistics, self.features[rows], leaf[rows], self.taxonomy)
        temperature = temperature or 2 * TOO_SURE * found.noise
        weights, bias = found.affine()
        form = self.form
        if found.one_shot:  # as it was told by val
            energy = found.whiten(statistics.means[statistics.seen]).square().mean().clamp_min(1e-12)
            form = replace(form, noise_share=found.noise / float(energy))
        learner = None if form.prior == "shuffled" else Learner(statistics, form, temperature)
        return Scores(weights / temperature, bias / temperature, learner)

    def default(self) -> Scores:
        """What is fitted without validation images: beside text where there is some."""
        return self.by_images() if self.text is None else _sum(*self.beside_text(), WEIGHT)

    def beside_text(self, ridge: float = RIDGE) -> tuple[Scores, Scores]:
        """Zero-shot's scores, and those of what the images add, to be weighted."""
        assert self.text is not None
        found, statistics = self._fitted(text=self.text, ridge=ridge)
        weights, bias = found.affine()
        zero_shot = Scores(self.text_scale * self.text.double(), torch.zeros_like(bias))
        beside = Beside(self.text, self.text_scale, ridge, WEIGHT)
        learner = None if self.form.prior == "shuffled" else Learner(statistics, self.form, 1.0, beside)
        return zero_shot, Scores(weights / found.noise, bias / found.noise, learner)

    def best(self, val: Labelled) -> tuple[str, Scores]:
        """The form, ridge and weight that put most of ``val`` right; of equals the nearest to the defaults."""

        def hits(candidate: tuple[str, Scores]) -> int:
            logits = candidate[1].of(val.features)[:, self.taxonomy.leaves]
            return int((logits.argmax(dim=1) == val.labels).sum())

        return max(self._candidates(val), key=hits)  # the first of equals

    def _candidates(self, val: Labelled) -> Iterator[tuple[str, Scores]]:
        for ridge in sorted(RIDGES, key=lambda ridge: abs(ridge - RIDGE)):
            zero_shot, images = self.beside_text(ridge)
            for weight in sorted(WEIGHTS, key=lambda weight: abs(math.log(weight / WEIGHT))):
                yield f"text, ridge {ridge:g}, images × {weight:g}", _sum(zero_shot, images, weight)
        yield "images without text", self.by_images(val)

    @cached_property
    def one_shot(self) -> bool:
        """Whether the validation images are asked for the share of noise."""
        rows = self.nodes >= 0
        leaf = self.taxonomy.leaf_index[self.nodes[rows]]
        counts = torch.bincount(leaf[leaf >= 0], minlength=self.taxonomy.num_leaves)
        return bool((leaf >= 0).all()) and int(counts.sum()) - int((counts > 0).sum()) < int((counts > 0).sum()) / 2

    def _fitted(self, **options: Any) -> tuple[GaussianClasses, Statistics]:
        tree = self.taxonomy
        return fit_coarse(self.features, self.nodes, tree, lambda sums: self.form.fit(sums, tree, **options))


def _sum(zero_shot: Scores, images: Scores, weight: float) -> Scores:
    learner = images.learner
    if learner is not None and learner.text is not None:
        learner = replace(learner, text=replace(learner.text, weight=weight))
    return Scores(zero_shot.weights + weight * images.weights, zero_shot.bias + weight * images.bias, learner)
