"""Kernel ridge regression to what zero-shot leaves (ProKeR, Bendou et al., CVPR 2025): the field's closed form."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback
from torch import Tensor

from hierfit.closed import fit_kernel_ridge
from hierfit.closed.kernel_ridge import kernel
from hierfit.data.batch import Batch, Task
from hierfit.decoding.belief import node_sums
from hierfit.errors import UserError
from hierfit.methods.base import Method
from hierfit.methods.cosine import scaled_cosine
from hierfit.methods.on_val import ChooseOnVal
from hierfit.methods.values import check_values
from hierfit.tensors import fp32_island

BETAS = (1.0, 3.0, 5.5, 10.0)
RIDGES = (0.01, 0.1, 0.3, 1.0, 3.0)
SHARPNESS = 20.0
"""Times a probability is a score; the belief's temperature, fitted on val, is found about there."""


class KernelRidge(Method):
    """``s·(p(v | x) + k(x, X)·α)``, α = (K + λI)⁻¹(Y − P), k = exp(−β(1 − ⟨x, x′⟩)): nothing is trained.

    p is zero-shot's, a softmax over the leaves, and above them the sum of those below; without text it is 0. Y says 1
    for the nodes on an image's path. Published for leaves: the nodes above are ours.

    Args:
        beta: β.
        ridge: λ.
        use_val: Choose both on the validation split.

    Raises:
        UserError: Names every value out of range.
    """

    needs = "features"
    trains = False

    keys: Tensor
    values: Tensor
    text: Tensor

    def __init__(self, beta: float = 5.5, ridge: float = 0.1, use_val: bool = True) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_values("KernelRidge", self.hparams, ("beta", "ridge"), {})

    def build(self, task: Task) -> None:
        """Solves for the weights of the training images.

        Raises:
            UserError: There are none, or not as features.
        """
        hparams: Any = self.hparams
        if task.train_features is None:
            raise UserError("KernelRidge keeps the training images' features, and this task has none")
        paths = task.train_paths.masked_fill(~task.seen[task.train_paths], -1)
        used = (paths >= 0).any(dim=1)
        paths, features = paths[used], task.train_features[used].to(task.text.dtype)
        width = task.taxonomy.num_nodes
        target = features.new_zeros(len(paths), width + 1)
        target.scatter_(1, paths.masked_fill(paths < 0, width), 1.0)
        self.tree, self.scale, self.has_text = task.taxonomy, task.logit_scale, task.text_source != "class means"
        self.register_buffer("text", task.text, persistent=False)
        self.target, self.beta = target[:, :-1], hparams.beta
        self.register_buffer("keys", features, persistent=False)
        self.register_buffer("values", self._solved(hparams.beta, hparams.ridge), persistent=False)

    def _solved(self, beta: float, ridge: float) -> Tensor:
        target = self.target.to(self.keys.device)
        return fit_kernel_ridge(self.keys, target - self._without(self.keys), beta, ridge).weights

    def _without(self, features: Tensor) -> Tensor:
        """What is known without the images ``[B, N]``."""
        if not self.has_text:
            return features.new_zeros(len(features), len(self.text))
        tree = self.tree.to(features.device)
        leaves = scaled_cosine(features, self.text[tree.leaves], self.scale).softmax(dim=1)
        return node_sums(leaves, tree)

    @fp32_island
    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``[B, N]`` of L2-normalised features ``[B, d]``."""
        return SHARPNESS * (self._without(inputs) + kernel(inputs, self.keys, self.beta) @ self.values)

    @torch.no_grad()
    def choose(self, features: Tensor, leaves: Tensor) -> str | None:
        """Takes the β and λ that put most validation images right; of equals the nearest to what was given."""
        hparams: Any = self.hparams
        features, tree = features.to(self.keys), self.tree
        pairs = sorted(
            ((beta, ridge) for beta in BETAS for ridge in RIDGES),
            key=lambda pair: abs(pair[0] / hparams.beta - 1) + abs(pair[1] / hparams.ridge - 1),
        )
        hits = []
        for self.beta, ridge in pairs:
            self.values = self._solved(self.beta, ridge)
            best = self(features)[:, tree.leaves.to(features.device)].argmax(dim=1)
            hits.append(int((best.cpu() == leaves).sum()))
        self.beta, ridge = pairs[hits.index(max(hits))]
        self.values = self._solved(self.beta, ridge)
        return f"beta {self.beta:g} and ridge {ridge:g}"

    def configure_callbacks(self) -> list[Callback]:
        """The choice on val, unless it is not wanted."""
        return [ChooseOnVal()] if self.hparams["use_val"] else []

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Nothing is trained.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("KernelRidge has nothing to train; use `hierfit test`")

    def configure_optimizers(self) -> Any:
        """No optimiser."""
        return None
