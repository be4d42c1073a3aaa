"""Which prior ties the means (`TiedForm`), and TreeGDA that learns on from sums, without its images (`Learner`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from hierfit.closed.statistics import Statistics
from hierfit.closed.tree_gda import (
    RIDGE,
    CovarianceKind,
    GaussianClasses,
    Labelled,
    fit_elsewhere,
    fit_tree,
    fit_with_text,
    without_tree,
)
from hierfit.taxonomy import Taxonomy

Prior = Literal["tree", "shuffled", "common", "flat"]


@dataclass(frozen=True)
class TiedForm:
    """How a fit is made; see `hierfit.methods.TreeGDA`.

    Attributes:
        prior: What ties the means.
        kind: Of the covariance.
        noise_share: See `fit_tree`.
        places: Leaf that each class stands at under the ``shuffled`` prior ``[C]``; else not read.
    """

    prior: Prior
    kind: CovarianceKind
    noise_share: float
    places: Tensor | None = None

    def fit(
        self,
        statistics: Statistics,
        taxonomy: Taxonomy,
        text: Tensor | None = None,
        ridge: float = RIDGE,
        val: Labelled | None = None,
    ) -> GaussianClasses:
        """Means of the nodes of a tree.

        Args:
            statistics: Of the images, class k at the k-th leaf.
            taxonomy: The tree.
            text: Of every node ``[N, d]``, to stand beside; None for images alone.
            ridge: Beside text, see `fit_with_text`.
            val: Without text, see `fit_tree`.
        """
        count, shrink = taxonomy.num_leaves, self.prior != "flat"
        places = torch.arange(count) if self.places is None else self.places

        def on(sums: Statistics, tree: Taxonomy) -> GaussianClasses:
            if text is None:
                there = None if val is None else Labelled(val.features, places[val.labels])
                share = self.noise_share
                return fit_tree(sums, tree, kind=self.kind, shrink=shrink, noise_share=share, val=there)
            leaves = text[taxonomy.leaves]
            leaves = torch.zeros_like(leaves).index_copy_(0, places, leaves)
            return fit_with_text(sums, leaves, tree, ridge=ridge, shrink=shrink, noise_share=self.noise_share)

        if self.prior == "tree":
            return on(statistics, taxonomy)
        other = taxonomy if self.prior == "shuffled" else without_tree(count)
        return fit_elsewhere(statistics, taxonomy, other, places, on)


@dataclass(frozen=True)
class Beside:
    """The text that a fit stands beside.

    Attributes:
        features: Of every node ``[N, d]``.
        scale: Multiplier of cosines to it.
        ridge: See `fit_with_text`.
        weight: Of what the images add.
    """

    features: Tensor
    scale: float
    ridge: float
    weight: float


class Scores(NamedTuple):
    """``x·w_v + b_v`` for every node: w ``[N, d]``, b ``[N]``, float64."""

    weights: Tensor
    bias: Tensor

    def of(self, features: Tensor) -> Tensor:
        """``[B, N]``."""
        return features.to(self.weights) @ self.weights.T + self.bias


@dataclass(frozen=True)
class Learner:
    """Everything a fit was made of, so that it can be made again when images or classes come and go.

    Attributes:
        statistics: Of the images, class k at the k-th leaf.
        form: What ties the means, on whatever tree: not ``shuffled``.
        temperature: What logits are divided by, without text. It stays as it was: to measure it anew takes the images.
        text: None for none.
    """

    statistics: Statistics
    form: TiedForm
    temperature: float
    text: Beside | None = None

    def scores(self, taxonomy: Taxonomy, fitted: GaussianClasses | None = None) -> Scores:
        """Scores of every node, from a fit to the statistics where there is one already. O(C·d² + d³ + N·d)."""
        text = self.text
        beside = (None,) if text is None else (text.features, text.ridge)
        found = fitted or self.form.fit(self.statistics, taxonomy, *beside)
        weights, bias = found.affine
        if text is None:
            return Scores(weights / self.temperature, bias / self.temperature)
        adapted = text.weight * (weights / found.noise)
        return Scores(text.scale * text.features.to(weights) + adapted, text.weight * (bias / found.noise))

    def with_images(self, features: Tensor, leaf: int) -> Learner:
        """With images ``[n, d]`` of the class at a leaf's position. O(n·d²)."""
        labels = torch.full((len(features),), leaf)
        more = Statistics.of(features, labels, len(self.statistics.counts))
        return replace(self, statistics=self.statistics + more)

    def without_class(self, leaf: int) -> Learner:
        """Without the images of a class; how they lay about their mean stays part of the covariance."""
        return replace(self, statistics=self.statistics.dropped(leaf))

    def on(self, taxonomy: Taxonomy, leaves: Tensor, text: Tensor | None) -> Learner:
        """On another tree.

        Args:
            taxonomy: That tree.
            leaves: Position there of the class at each leaf here ``[C]``; −1 for one that is not there.
            text: Features of its nodes ``[N', d]``; None without text.
        """
        there = leaves >= 0
        kept = replace(
            self.statistics, counts=self.statistics.counts[there], sums=self.statistics.sums[there]
        )  # images of the others have been dropped
        beside = None if self.text is None or text is None else replace(self.text, features=text)
        return replace(self, statistics=kept.at(leaves[there], taxonomy.num_leaves), text=beside)

    def saved(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What `load` takes: plain values for a JSON file, and tensors by name."""
        sums, text, form = self.statistics, self.text, self.form
        plain: dict[str, Any] = {
            "prior": form.prior,
            "covariance": form.kind,
            "noise_share": form.noise_share,
            "temperature": self.temperature,
            "spare": sums.spare,
            "text": None if text is None else {"scale": text.scale, "ridge": text.ridge, "weight": text.weight},
        }
        tensors = {"counts": sums.counts, "sums": sums.sums, "second": sums.second}
        if text is not None:
            tensors["text"] = text.features
        return plain, {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}

    @classmethod
    def load(cls, plain: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Learner:
        """The learner that was `saved`.

        Raises:
            KeyError, TypeError, ValueError: They do not belong together.
        """
        counts, sums, second = (tensors[name] for name in ("counts", "sums", "second"))
        if len(counts) != len(sums) or second.shape != (sums.shape[1],) * 2:
            raise ValueError("the sums do not fit each other")
        text = None if plain["text"] is None else Beside(tensors["text"], **plain["text"])
        statistics = Statistics(counts, sums, second, float(plain["spare"]))
        form = TiedForm(plain["prior"], plain["covariance"], float(plain["noise_share"]))
        return cls(statistics, form, float(plain["temperature"]), text)
