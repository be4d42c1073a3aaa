"""Tip-Adapter and Tip-Adapter-F as LightningModules. The maths is in ``cache.py``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lightning import Callback
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from hierfit.data.batch import Batch, Task
from hierfit.methods.base import Method
from hierfit.methods.baseline import Baseline
from hierfit.methods.head import Cache, Head
from hierfit.methods.tip_adapter.cache import CacheClassifier, InnerNodes
from hierfit.methods.tip_adapter.search import SearchOnVal
from hierfit.methods.values import check_values


def _head(classifier: nn.Module) -> Head:
    assert isinstance(classifier, CacheClassifier)
    cache = classifier
    kept = Cache(cache.keys, cache.values, cache.classes_below, cache.alpha, cache.beta)
    return Head(cache.text, cache.scale, cache=kept)


class TipAdapter(Method):
    """Tip-Adapter (Zhang et al., arXiv 2111.03930, ECCV 2022): a cache of the training images; nothing is trained.

    Args:
        alpha: Weight of the cache beside zero-shot.
        beta: Sharpness of an image's similarity to those of the cache.
        inner_nodes: Evidence for a node above the leaves: the ``mean`` of its classes', or their ``sum``.
        search: Choose alpha and beta on the validation split, from 1/8 to 16 times what they are.

    Raises:
        UserError: Names every value out of range.
    """

    needs = "features"
    trains = False

    def __init__(
        self, alpha: float = 1.0, beta: float = 5.5, inner_nodes: InnerNodes = "mean", search: bool = False
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_values("TipAdapter", self.hparams, ("alpha", "beta"), {})

    def build(self, task: Task) -> None:
        """Fills the cache."""
        hparams: Any = self.hparams
        with task.text.device:
            self.classifier = CacheClassifier(task, hparams.alpha, hparams.beta, hparams.inner_nodes, trained=False)

    def head(self) -> Head:
        """Text and cache."""
        return _head(self.classifier)

    def configure_callbacks(self) -> list[Callback]:
        """The search, if asked for."""
        hparams: Any = self.hparams
        return [SearchOnVal()] if hparams.search else []

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``[B, N]`` of L2-normalised features ``[B, d]``."""
        logits: Tensor = self.classifier(inputs)
        return logits

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Nothing is trained.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("TipAdapter has nothing to train; use `hierfit test`, or TipAdapterF")

    def configure_optimizers(self) -> Any:
        """No optimiser."""
        return None


class TipAdapterF(Baseline):
    """Tip-Adapter-F (Zhang et al., arXiv 2111.03930, ECCV 2022): Tip-Adapter's keys, trained.

    Args:
        objective: Losses and their weights or options (see ``hierfit.losses.objective``); cross-entropy at every
            level, ``{level_ce: 1}``, if None. Published is ``{leaf_ce: 1}``.
        alpha: Weight of the cache beside zero-shot.
        beta: Sharpness of an image's similarity to those of the cache.
        inner_nodes: Evidence for a node above the leaves: the ``mean`` of its classes', or their ``sum``.
        search: After training, choose alpha and beta on the validation split, from 1/8 to 16 times what they are.
        lr: Peak learning rate of AdamW (eps 1e-4); cosine to 0 over the run.
        weight_decay: Decoupled decay.

    Raises:
        UserError: Names every value out of range.
    """

    def __init__(
        self,
        objective: dict[str, Any] | None = None,
        alpha: float = 1.0,
        beta: float = 5.5,
        inner_nodes: InnerNodes = "mean",
        search: bool = False,
        lr: float = 1e-3,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_values("TipAdapterF", self.hparams, ("alpha", "beta", "lr"), {"weight_decay": 0})

    def make_classifier(self, task: Task) -> CacheClassifier:
        """The cache of Tip-Adapter."""
        hparams: Any = self.hparams
        return CacheClassifier(task, hparams.alpha, hparams.beta, hparams.inner_nodes, trained=True)

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """AdamW with the published eps."""
        hparams: Any = self.hparams
        return AdamW(parameters, lr=hparams.lr, weight_decay=hparams.weight_decay, eps=1e-4)

    def head(self) -> Head:
        """Text and cache."""
        return _head(self.classifier)

    def configure_callbacks(self) -> list[Callback]:
        """The search, if asked for."""
        hparams: Any = self.hparams
        return [SearchOnVal()] if hparams.search else []
