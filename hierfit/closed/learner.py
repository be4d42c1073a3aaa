"""TreeGDA that learns on from sums, without its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hierfit.closed.statistics import Statistics
from hierfit.closed.tree_gda import GaussianClasses, TiedForm, fit_tree
from hierfit.taxonomy import Taxonomy


@dataclass(frozen=True)
class Beside:
    """The text that a fit stands beside: of every node ``[N, d]``, with the multiplier of cosines to it; how far the
    covariance about it is drawn to the identity; and the weight of what the images add."""

    features: Tensor
    scale: float
    ridge: float
    weight: float


@dataclass(frozen=True)
class Learner:
    """Everything a fit was made of, so that it can be made again when images or classes come and go.

    Attributes:
        statistics: Of the images, class k at the k-th leaf.
        form: How the fit is made, on whatever tree: not ``shuffled``.
        temperature: What logits are divided by, without text. It stays as it was: to measure it anew takes the images.
        text: None for none.
    """

    statistics: Statistics
    form: TiedForm
    temperature: float
    text: Beside | None = None

    def scores(self, taxonomy: Taxonomy, fitted: GaussianClasses | None = None) -> tuple[Tensor, Tensor]:
        """``x·w_v + b_v`` for every node: w ``[N, d]``, b ``[N]``, float64. From a fit to the statistics where there is
        one already. O(C·d² + d³ + N·d)."""
        text = self.text
        beside = {} if text is None else {"text": text.features[taxonomy.leaves], "text_ridge": text.ridge}
        found = fitted or fit_tree(self.statistics, taxonomy, self.form, **beside)  # type: ignore[arg-type]
        weights, bias = found.affine
        if text is None:
            return weights / self.temperature, bias / self.temperature
        adapted = text.weight * (weights / found.noise)
        return text.scale * text.features.to(weights) + adapted, text.weight * (bias / found.noise)

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
            leaves: Position there of the class at each leaf here ``[C]``; −1 for one that was dropped.
            text: Features of its nodes ``[N', d]``; None without text.
        """
        there, sums = leaves >= 0, self.statistics
        kept = replace(sums, counts=sums.counts[there], sums=sums.sums[there])
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
