"""Answers as deep as a belief allows: what they cost and keep at every threshold, and the threshold that is promised.

A predicted path has the belief of each of its nodes, which never rises along it. The answer at threshold t is the path
cut to its nodes of belief > t; nothing left is silence, and silence counts as right. An answer is wrong if it holds a
node that the label contradicts. Nodes below a coarse label are neither right nor wrong: only what is known is counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hierfit.decoding.calibration import conformal_scores
from hierfit.metrics.functional import labelled, stands_at_its_level
from hierfit.taxonomy import Taxonomy


@dataclass(frozen=True)
class Curve:
    """What answers cost and keep; float64 ``[K]`` each, by ascending threshold: from the whole path to silence.

    Attributes:
        threshold: 0, then each distinct belief.
        error: Share of all samples whose answer is wrong.
        coverage: Share of all samples that are answered at all.
        depth: Nodes of the answer over nodes of the whole predicted path, mean over samples.
        information: log(C / leaves below the answer) / log C, mean over samples: 1 for a leaf, 0 for silence
            (Deng et al., CVPR 2012).
    """

    threshold: Tensor
    error: Tensor
    coverage: Tensor
    depth: Tensor
    information: Tensor

    @property
    def answered_error(self) -> Tensor:
        """[K] share wrong of the samples that are answered; NaN where none is."""
        return self.error / self.coverage

    def figures(self) -> dict[str, Tensor]:
        """All of it by name, as result cards hold it."""
        names = ("threshold", "error", "coverage", "answered_error", "depth", "information")
        return {name: getattr(self, name) for name in names}

    @property
    def haurc(self) -> float:
        """Area under ``error`` over ``information``, by trapezoids, from silence to the whole paths; less is better.

        Goren et al., NeurIPS 2024, as their code computes it: hierarchical coverage is the information kept, risk the
        0/1 loss over all samples; the area is not divided by its width.
        """
        return float(torch.trapezoid(self.error.flip(0), self.information.flip(0)))

    def sampled(self, points: int = 200) -> Curve:
        """At most so many points (two or more), evenly by rank and with both ends."""
        count = len(self.threshold)
        if count <= points:
            return self
        chosen = torch.linspace(0, count - 1, points, dtype=torch.float64).round().long().to(self.threshold.device)
        return Curve(*(values[chosen] for values in vars(self).values()))


def operating_curve(paths: Tensor, confidence: Tensor, target: Tensor, taxonomy: Taxonomy) -> Curve:
    """Error, coverage, depth and information of the answers at every threshold that makes a difference.

    Each is a sum of what the answered nodes contribute, so one sort serves all thresholds: O(n·L·log(n·L)). A
    ValueError where shapes differ, nothing is labelled, or a belief lies outside [0, 1] or rises along its path.

    Args:
        paths: Predicted paths ``[n, L]``, −1 or repeated below the leaf.
        confidence: Belief of their nodes ``[n, L]``; not read below the leaf.
        target: ``[n, L]``, −1 where unknown or ended. Samples without any label are left out.
        taxonomy: The tree.
    """
    if paths.ndim != 2 or not paths.shape == confidence.shape == target.shape:
        shapes = [list(tensor.shape) for tensor in (paths, confidence, target)]
        raise ValueError(f"paths, confidence and target must be [n, L] alike, got {shapes}")
    rows = labelled(target)
    paths, confidence, target = paths[rows], confidence[rows].double(), target[rows]
    if not len(paths):
        raise ValueError("an operating curve needs samples with a label")
    taxonomy = taxonomy.to(paths.device)
    own = stands_at_its_level(paths, taxonomy)
    below = confidence.masked_fill(~own, 0.0)
    if not ((below >= 0) & (below <= 1)).all() or (below[:, 1:] > below[:, :-1] + 1e-4).any():
        raise ValueError("a belief lies outside [0, 1] or rises along its path")
    belief = below.cummin(dim=1).values  # sums of floats may round upwards
    first_wrong = conformal_scores(paths, belief, target)[:, None]
    leaves_below = torch.where(own, taxonomy.num_leaves_below[paths], 1).double()
    information = 1 - leaves_below.log() / math.log(taxonomy.num_leaves) if taxonomy.num_leaves > 1 else own.double()
    gains = torch.cat([information[:, :1], information.diff(dim=1)], dim=1)
    threshold = torch.cat([belief.new_zeros(1), belief[own]]).unique()

    def mean(value: Tensor, weight: Tensor) -> Tensor:
        """[K] Σ weight·[value > t] / n."""
        order = value.argsort()
        weights = torch.cat([weight.new_zeros(1), weight[order].cumsum(0)])
        return (weights[-1] - weights[torch.searchsorted(value[order], threshold, right=True)]) / len(paths)

    once = torch.ones_like(belief)
    return Curve(
        threshold,
        error=mean(first_wrong[:, 0], once[:, 0]),
        coverage=mean(belief[:, 0], once[:, 0]),
        depth=mean(belief[own], (once / own.sum(dim=1, keepdim=True))[own]),
        information=mean(belief[own], gains[own]),
    )
