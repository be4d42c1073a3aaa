"""Kernel ridge regression on top of zero-shot (ProKeR, Bendou et al., CVPR 2025): the field's other closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class KernelRidge:
    """``k(x, X) α``, to be added to what was known without the images.

    Attributes:
        keys: X, L2-normalised features of the training images ``[n, d]``.
        weights: α ``[n, N]``.
        beta: Sharpness of the kernel.
    """

    keys: Tensor
    weights: Tensor
    beta: float

    def scores(self, features: Tensor) -> Tensor:
        """``[B, N]`` of L2-normalised features ``[B, d]``."""
        return kernel(features.to(self.keys), self.keys, self.beta) @ self.weights


def kernel(a: Tensor, b: Tensor, beta: float) -> Tensor:
    """exp(−β(1 − ⟨a, b⟩)) of L2-normalised rows ``[n, m]``: a Gaussian kernel on the sphere."""
    return torch.exp(beta * (a @ b.T - 1))


def fit_kernel_ridge(features: Tensor, residual: Tensor, beta: float, ridge: float) -> KernelRidge:
    """α = (K + λI)⁻¹ (Y − Y₀). O(n³ + n²·(d + N)).

    Args:
        features: L2-normalised ``[n, d]``.
        residual: Y − Y₀, targets less what is known without the images ``[n, N]``.
        beta: β.
        ridge: λ.
    """
    gram = kernel(features, features, beta)
    gram.diagonal().add_(ridge)
    factor = torch.linalg.cholesky(gram.double())
    weights = torch.cholesky_solve(residual.double(), factor)
    return KernelRidge(features, weights.to(features), beta)
