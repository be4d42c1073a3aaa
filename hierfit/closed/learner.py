"""`Learner`: TreeGDA that goes on learning, from sums over its images and without the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from hierfit.closed.statistics import Statistics
from hierfit.closed.text import fit_with_text
from hierfit.closed.tree_gda import CovarianceKind, GaussianClasses, fit_tree
from hierfit.closed.treeless import fit_elsewhere, without_tree
from hierfit.taxonomy import Taxonomy


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


@dataclass(frozen=True)
class Learner:
    """Everything a fit was made of, so that it can be made again when images or classes come and go.

    Attributes:
        statistics: Of the images, class k at the k-th leaf.
        prior: What ties the means; see `hierfit.methods.TreeGDA`.
        kind: Of the covariance.
        noise_share: See `fit_tree`.
        temperature: What logits are divided by, without text. It stays as it was: to measure it anew takes the images.
        text: None for none.
    """

    statistics: Statistics
    prior: Literal["tree", "common", "flat"]
    kind: CovarianceKind
    noise_share: float
    temperature: float
    text: Beside | None = None

    def scores(self, taxonomy: Taxonomy) -> tuple[Tensor, Tensor]:
        """``x·w_v + b_v`` for every node: w ``[N, d]`` and b ``[N]``, float64. O(C·d² + d³ + N·d)."""
        found = self._fit(self.statistics, taxonomy)
        weights, bias = found.affine()
        if self.text is None:
            return weights / self.temperature, bias / self.temperature
        share = self.text.weight / found.noise
        return self.text.scale * self.text.features.to(weights) + share * weights, share * bias

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

    def _fit(self, statistics: Statistics, taxonomy: Taxonomy) -> GaussianClasses:
        shrink = self.prior != "flat"

        def fit(sums: Statistics, tree: Taxonomy) -> GaussianClasses:
            if self.text is None:
                return fit_tree(sums, tree, kind=self.kind, shrink=shrink, noise_share=self.noise_share)
            text = self.text.features[taxonomy.leaves]
            return fit_with_text(sums, text, tree, ridge=self.text.ridge, shrink=shrink, noise_share=self.noise_share)

        if self.prior == "tree":
            return fit(statistics, taxonomy)
        count = taxonomy.num_leaves
        return fit_elsewhere(statistics, taxonomy, without_tree(count), torch.arange(count), fit)

    def saved(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What `load` takes: plain values for a JSON file, and tensors by name."""
        sums, text = self.statistics, self.text
        plain: dict[str, Any] = {
            "prior": self.prior,
            "covariance": self.kind,
            "noise_share": self.noise_share,
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
        share, temperature = float(plain["noise_share"]), float(plain["temperature"])
        return cls(statistics, plain["prior"], plain["covariance"], share, temperature, text)
