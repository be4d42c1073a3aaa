"""Kernel ridge regression to what zero-shot leaves (ProKeR, Bendou et al., CVPR 2025): the field's closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from hierfit.data.batch import Task
from hierfit.decoding.belief import node_sums
from hierfit.methods.base import Method
from hierfit.methods.head import scaled_cosine
from hierfit.methods.keys import Positive
from hierfit.methods.saved import seen_through
from hierfit.methods.tasks import training_images
from hierfit.tensors import fp32_island

_BETAS = (1.0, 3.0, 5.5, 10.0)
_LAMBDAS = (0.01, 0.1, 0.3, 1.0, 3.0)
_SHARPER = 20.0
"""Times a probability is a score; the belief's temperature, fitted on val, is found about there."""


def kernel(a: Tensor, b: Tensor, beta: float) -> Tensor:
    """exp(−β(1 − ⟨a, b⟩)) of L2-normalised rows ``[n, m]``: a Gaussian kernel on the sphere."""
    return torch.exp(beta * (a @ b.T - 1))


def fit_kernel_ridge(features: Tensor, residual: Tensor, beta: float, ridge: float) -> Tensor:
    """α = (K + λI)⁻¹(Y − Y₀) ``[n, N]``, of L2-normalised features ``[n, d]`` and of Y − Y₀, targets less what is known
    without the images ``[n, N]``. O(n³ + n²·(d + N))."""
    gram = kernel(features, features, beta)
    gram.diagonal().add_(ridge)
    factor = torch.linalg.cholesky(gram.double())
    return torch.cholesky_solve(residual.double(), factor).to(features)


class KernelRidge(Method):
    """``s·(p(v | x) + k(x, X)·α)``, α = (K + λI)⁻¹(Y − P), k = exp(−β(1 − ⟨x, x′⟩)): nothing is trained.

    p is zero-shot's, a softmax over the leaves, and above them the sum of those below; without text it is 0. Y says 1
    for the nodes on an image's path. Published for leaves: the nodes above are ours. It is no `Head`.

    Args:
        beta: β.
        ridge: λ.
        use_val: Choose both on the validation split.
        adapted_by: Folder of a finished run through whose trained adapters features are read, see `hierfit fit-head`.
    """

    trains = False
    choice_key = "use_val"

    images: Tensor
    values: Tensor
    text: Tensor

    def __init__(
        self, beta: Positive = 5.5, ridge: Positive = 0.1, use_val: bool = True, adapted_by: str | None = None
    ) -> None:
        super().__init__()

    def build(self, task: Task) -> None:
        """Solves for the weights of the training images.

        Raises:
            UserError: There are none, or not as features, or they are not those that `adapted_by` reads.
        """
        self.before, task = seen_through(self.keys.adapted_by, task)
        features, paths = training_images(task, "KernelRidge")
        used = (paths >= 0).any(dim=1)
        paths, features = paths[used], features[used].to(task.text.dtype)
        width = task.taxonomy.num_nodes
        target = features.new_zeros(len(paths), width + 1)
        target.scatter_(1, paths.masked_fill(paths < 0, width), 1.0)
        self.tree, self.scale, self.has_text = task.taxonomy, task.logit_scale, task.text_source != "class means"
        self.target, self.beta = target[:, :-1], self.keys.beta
        self.register_buffer("text", task.text, persistent=False)
        self.register_buffer("images", features, persistent=False)
        self.register_buffer("values", self._solved(self.beta, self.keys.ridge), persistent=False)

    def _solved(self, beta: float, ridge: float) -> Tensor:
        target = self.target.to(self.images.device)
        return fit_kernel_ridge(self.images, target - self._without(self.images), beta, ridge)

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
        if self.before is not None:
            inputs = self.before.adapted(inputs)
        return _SHARPER * (self._without(inputs) + kernel(inputs, self.images, self.beta) @ self.values)

    @torch.no_grad()
    def choose(self, features: Tensor, labels: Tensor) -> str | None:
        """Takes the β and λ that put most images right; of equals the nearest to what was given."""
        keys, tree = self.keys, self.tree.to("cpu")
        leaves = tree.leaf_index[labels]
        features, leaves = features[leaves >= 0].to(self.images), leaves[leaves >= 0]
        if not len(leaves):
            return None
        pairs = sorted(
            ((beta, ridge) for beta in _BETAS for ridge in _LAMBDAS),
            key=lambda pair: abs(pair[0] / keys.beta - 1) + abs(pair[1] / keys.ridge - 1),
        )
        hits = []
        for self.beta, ridge in pairs:
            self.values = self._solved(self.beta, ridge)
            best = self(features)[:, tree.leaves.to(features.device)].argmax(dim=1)
            hits.append(int((best.cpu() == leaves).sum()))
        self.beta, ridge = pairs[hits.index(max(hits))]
        self.values = self._solved(self.beta, ridge)
        return f"beta {self.beta:g} and ridge {ridge:g}"
