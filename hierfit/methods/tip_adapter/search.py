"""The search for α and β on the validation split."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, cast

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from hierfit.data.batch import Batch
from hierfit.data.datamodule import datamodule_of
from hierfit.errors import UserError
from hierfit.losses.levels import deepest_label
from hierfit.methods.base import method_of
from hierfit.methods.tip_adapter.cache import CacheClassifier

FACTORS = sorted((2 ** (step / 2) for step in range(-6, 9)), key=lambda factor: abs(math.log(factor)))
"""What α and β are multiplied by, 1/8 to 16, from near to far: of equally good pairs the first one stays."""


class SearchOnVal(Callback):
    """Sets a cache's α and β, before the test, to what classifies the leaves of the validation split best.

    The published code searches on the test split.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuses a data set without validation split before anything is done."""
        if not datamodule_of(trainer).has_val:
            raise UserError("model.search needs a validation split, and this data set has none")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Searches with the weights that are tested."""
        self._search(trainer, pl_module)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Searches with the weights that predict."""
        self._search(trainer, pl_module)

    def _search(self, trainer: Trainer, pl_module: LightningModule) -> None:
        cache, data = pl_module.classifier, datamodule_of(trainer)
        assert isinstance(cache, CacheClassifier)
        hparams: Any = pl_module.hparams
        cache.alpha, cache.beta = hparams.alpha, hparams.beta  # a second search starts where the first one did
        seen, kept = data.task.taxonomy.keeping(data.task.seen.nonzero()[:, 0])
        # Where only coarse labels are told, the classes are the finest of those.
        mine = count_hits(cache, cast("Iterable[Batch]", data.val_dataloader()), kept[seen.leaves])
        # Each process has counted its share of the split.
        hits, count = (trainer.strategy.reduce(part, reduce_op="sum") for part in mine)
        alpha, beta = divmod(int(hits.argmax()), len(FACTORS))
        cache.alpha, cache.beta = hparams.alpha * FACTORS[alpha], hparams.beta * FACTORS[beta]
        method_of(pl_module).tuned_on = "val"
        if trainer.is_global_zero:
            before, after = (100 * float(x / count) for x in (hits[0, 0], hits.max()))
            print(
                f"alpha {cache.alpha:.3g} and beta {cache.beta:.3g} were chosen on val: leaf accuracy {after:.2f} % "
                f"({before:.2f} % with {hparams.alpha:g} and {hparams.beta:g})"
            )


@torch.no_grad()
def count_hits(cache: CacheClassifier, batches: Iterable[Batch], leaves: Tensor) -> tuple[Tensor, Tensor]:
    """How often the best of ``leaves`` is right, for every pair of factors.

    Args:
        cache: Its α and β are what the factors multiply.
        batches: Labelled features.
        leaves: Ids of the candidates.

    Returns:
        Counts ``[A, B]`` for A factors of α and B of β, and the number of images that belong to one of the leaves.
    """
    device = cache.text.device
    leaves = leaves.to(device)
    hits, count = torch.zeros(len(FACTORS), len(FACTORS), device=device), torch.zeros((), device=device)
    for batch in batches:
        features, labels = batch.inputs.to(device), deepest_label(batch.paths).to(device)
        text = cache.zero_shot(features)[:, leaves]
        count += torch.isin(labels, leaves).sum()
        for column, beta in enumerate(FACTORS):
            evidence = cache.evidence(features, cache.beta * beta)[:, leaves]
            for row, alpha in enumerate(FACTORS):
                best = leaves[(text + cache.alpha * alpha * evidence).argmax(1)]
                hits[row, column] += (best == labels).sum()
    return hits, count
