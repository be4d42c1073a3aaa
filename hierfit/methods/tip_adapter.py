"""Tip-Adapter and Tip-Adapter-F: a cache of the training images beside zero-shot."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from hierfit.data.batch import Task
from hierfit.data.datamodule import datamodule_of
from hierfit.errors import UserError
from hierfit.losses.levels import deepest_label
from hierfit.methods.base import Method
from hierfit.methods.head import Cache, Head
from hierfit.methods.keys import NotNegative, Positive
from hierfit.methods.nodes import Nodes
from hierfit.methods.tasks import training_images

InnerNodes = Literal["mean", "sum"]
FACTORS = sorted((2 ** (step / 2) for step in range(-6, 9)), key=lambda factor: abs(math.log(factor)))
"""What α and β are multiplied by, 1/8 to 16, from near to far: of equally good pairs the first one stays."""
_ROWS = 1024  # of val at once


class TipAdapter(Method):
    """Tip-Adapter (Zhang et al., arXiv 2111.03930, ECCV 2022): a cache of the training images; nothing is trained.

    Args:
        alpha: Weight of the cache beside zero-shot.
        beta: Sharpness of an image's similarity to those of the cache.
        inner_nodes: Evidence for a node above the leaves: the ``mean`` of its classes', or their ``sum``.
        search: Choose alpha and beta on the validation split, from 1/8 to 16 times what they are.
    """

    trains = False
    choice_key = "search"

    def __init__(
        self, alpha: Positive = 1.0, beta: Positive = 5.5, inner_nodes: InnerNodes = "mean", search: bool = False
    ) -> None:
        super().__init__()

    def head(self, task: Task) -> Head:
        """Zero-shot and the cache; images of no known node are left out of it."""
        features, paths = training_images(task, type(self).__name__)
        seen, kept = task.taxonomy.keeping(task.seen.nonzero()[:, 0])
        self.candidates = kept[seen.leaves]  # where only coarse labels are told, the finest of those
        used = (paths >= 0).any(1)
        paths, nowhere = paths[used], len(task.text)
        # The sum of a node's images would grow with the number of its classes; their mean does not.
        mean = self.keys.inner_nodes == "mean"
        classes = task.taxonomy.paths(deepest_label(paths).unique()) if mean else paths.new_empty(0)
        below = classes[classes >= 0].bincount(minlength=nowhere).clamp_min(1)
        values = paths.masked_fill(paths < 0, nowhere).T.contiguous()
        keys = features[used].to(task.text.dtype)
        cache = Cache(keys, values, below, self.keys.alpha, self.keys.beta, self.trains)
        return Head(Nodes(task.text), task.logit_scale, cache=cache)

    def setup(self, stage: str) -> None:
        """Refuses to search a data set without validation split before anything is done."""
        if self.chooses and not datamodule_of(self.trainer).has_val:
            raise UserError("model.search needs a validation split, and this data set has none")

    @torch.no_grad()
    def choose(self, features: Tensor, labels: Tensor) -> str:
        """Takes the α and β that classify the leaves best. The published code searches on the test split."""
        cache = self.classifier.cache
        assert cache is not None
        hits, count = self.hits(features, labels)
        alpha, beta = divmod(int(hits.argmax()), len(FACTORS))
        cache.alpha, cache.beta = self.keys.alpha * FACTORS[alpha], self.keys.beta * FACTORS[beta]
        before, after = (100 * float(x / count) for x in (hits[0, 0], hits.max()))
        return (
            f"alpha {cache.alpha:.3g} and beta {cache.beta:.3g}: leaf accuracy {after:.2f} % ({before:.2f} % with "
            f"{self.keys.alpha:g} and {self.keys.beta:g})"
        )

    def hits(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """How often the best candidate is right, for every pair of factors ``[A, B]``, and of how many images."""
        head, cache = self.classifier, self.classifier.cache
        assert cache is not None
        device = cache.keys.device
        leaves, nodes = self.candidates.to(device), head.nodes()
        hits, count = torch.zeros(len(FACTORS), len(FACTORS), device=device), torch.zeros((), device=device)
        for rows in torch.arange(len(features)).split(_ROWS):
            images, own = features[rows].to(device), labels[rows].to(device)
            text = head.cosines(images, nodes)[:, leaves]
            count += torch.isin(own, leaves).sum()
            for column, beta in enumerate(FACTORS):
                evidence = cache.evidence(images, self.keys.beta * beta)[:, leaves]
                for row, alpha in enumerate(FACTORS):
                    best = leaves[(text + self.keys.alpha * alpha * evidence).argmax(1)]
                    hits[row, column] += (best == own).sum()
        return hits, count


class TipAdapterF(TipAdapter):
    """Tip-Adapter-F (Zhang et al., arXiv 2111.03930, ECCV 2022): Tip-Adapter's keys, trained.

    Args:
        objective: Losses and their weights or options (see ``hierfit.losses.objective``); cross-entropy at every
            level, ``{level_ce: 1}``, if None, and of the leaves where labels are coarse. Published is ``{leaf_ce: 1}``.
        alpha: Weight of the cache beside zero-shot.
        beta: Sharpness of an image's similarity to those of the cache.
        inner_nodes: Evidence for a node above the leaves: the ``mean`` of its classes', or their ``sum``.
        search: After training, choose alpha and beta on the validation split, from 1/8 to 16 times what they are.
        lr: Peak learning rate of AdamW (eps 1e-4); cosine to 0 over the run.
        weight_decay: Decoupled decay.
    """

    trains = True
    checkpoint_names: ClassVar = {"classifier.cache.keys": "classifier.keys"}

    def __init__(
        self,
        objective: dict[str, Any] | None = None,
        alpha: Positive = 1.0,
        beta: Positive = 5.5,
        inner_nodes: InnerNodes = "mean",
        search: bool = False,
        lr: Positive = 1e-3,
        weight_decay: NotNegative = 1e-2,
    ) -> None:
        super().__init__(alpha, beta, inner_nodes, search)

    def make_optimizer(self, parameters: list[nn.Parameter]) -> Optimizer:
        return AdamW(parameters, lr=self.keys.lr, weight_decay=self.keys.weight_decay, eps=1e-4)
