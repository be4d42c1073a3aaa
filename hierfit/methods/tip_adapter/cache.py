"""Tip-Adapter's maths: training images as keys, the nodes on their paths as values."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from hierfit.data.batch import Task
from hierfit.errors import UserError
from hierfit.losses.levels import deepest_label
from hierfit.methods.cosine import scaled_cosine
from hierfit.tensors import fp32_island

InnerNodes = Literal["mean", "sum"]


class CacheClassifier(nn.Module):
    """``s·⟨x, t_v⟩ + (α / m_v)·Σ_k exp(−β(1 − ⟨x, x_k⟩))``, the sum over training images k at or below node v.

    At a leaf m_v is 1 and this is Tip-Adapter. Above, ``mean`` sets m_v to the number of classes of the cache below
    v: a node's evidence is the mean of its classes', which does not grow with their number. ``sum`` leaves it at 1.

    Values are kept as paths: the cache takes O(n·(d + L)) memory and O(B·n·(d + L)) a batch, however many nodes.

    Args:
        task: Gives text, logit scale and the training images. Nodes held back from training are on no path.
        alpha: α.
        beta: β.
        inner_nodes: What a node above the leaves makes of its leaves' evidence.
        trained: Whether the keys are trained.

    Raises:
        UserError: The task has no features of training images.
    """

    text: Tensor
    values: Tensor
    classes_below: Tensor

    def __init__(self, task: Task, alpha: float, beta: float, inner_nodes: InnerNodes, trained: bool) -> None:
        super().__init__()
        if task.train_features is None:
            raise UserError("Tip-Adapter keeps the training images' features, and this task has none")
        self.scale, self.alpha, self.beta = task.logit_scale, alpha, beta
        nowhere = len(task.text)
        paths = task.train_paths.masked_fill(~task.seen[task.train_paths], -1)
        kept = (paths >= 0).any(1)
        paths = paths[kept]
        classes = task.taxonomy.paths(deepest_label(paths).unique()) if inner_nodes == "mean" else paths.new_empty(0)
        below = classes[classes >= 0].bincount(minlength=nowhere).clamp_min(1)
        self.register_buffer("text", task.text, persistent=False)
        self.register_buffer("values", paths.masked_fill(paths < 0, nowhere).T.contiguous(), persistent=False)
        self.register_buffer("classes_below", below, persistent=False)
        self.keys = nn.Parameter(task.train_features[kept].to(task.text.dtype), requires_grad=trained)

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``[B, N]`` of L2-normalised features ``[B, d]``."""
        return self.zero_shot(features) + self.alpha * self.evidence(features, self.beta)

    def zero_shot(self, features: Tensor) -> Tensor:
        """Scaled cosines to the nodes' text ``[B, N]``."""
        return scaled_cosine(features, self.text, self.scale)

    def evidence(self, features: Tensor, beta: float) -> Tensor:
        """What the cache says of each node ``[B, N]``, before weighting."""
        return evidence(features, self.keys, self.values, self.classes_below, beta)


def evidence(features: Tensor, keys: Tensor, values: Tensor, classes_below: Tensor, beta: float) -> Tensor:
    """What a cache says of each node ``[B, N]``, before weighting.

    Args:
        features: L2-normalised ``[B, d]``.
        keys: Features of the cached images ``[n, d]``.
        values: Node of each image on each level ``[L, n]``; N where there is none.
        classes_below: What a node's sum is divided by ``[N]``.
        beta: β.
    """
    affinity = _affinity(keys, features, beta)
    # Rows are nodes, so that adding up runs along memory; the last one collects what has no node.
    sums = affinity.new_zeros(len(classes_below) + 1, len(features))
    for nodes in values:
        sums = sums.index_add(0, nodes, affinity)
    return (sums[:-1] / classes_below[:, None]).T


@fp32_island
def _affinity(keys: Tensor, features: Tensor, beta: float) -> Tensor:
    """``exp(−β(1 − ⟨key, x⟩))`` ``[n, B]``, never below fp32: the exponent is a difference of near-equal numbers."""
    return torch.exp(beta * (keys @ features.T - 1))
