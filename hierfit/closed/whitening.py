"""A covariance from few images: its ridge, without tuning, and what makes it the identity."""

from __future__ import annotations

import torch
from torch import Tensor


def ridge(width: int, dof: float) -> float:
    """How far a covariance of ``dof`` degrees of freedom is drawn to a multiple of the identity: q/(1+q), q = d/dof."""
    ratio = width / dof
    return ratio / (1 + ratio)


def whitener(covariance: Tensor, share: float) -> Tensor:
    """W ``[d, d]`` under which (1−r)·S + r·(tr S/d)·I has the identity for its covariance: z = x W.

    Distances and inner products of z are all that is read of it, and a rotation leaves them: so Cholesky's factor
    serves as well as the symmetric root, in a tenth of the time.

    Args:
        covariance: S ``[d, d]``.
        share: r.
    """
    width = len(covariance)
    mean = float(covariance.trace()) / width
    eye = torch.eye(width, dtype=covariance.dtype, device=covariance.device)
    if not mean > 1e-12:  # all images of a class alike: nothing to whiten by
        return eye
    blended = (1 - share) * covariance + max(share, 1e-6) * mean * eye
    factor = torch.linalg.cholesky((blended + blended.T) / 2)
    return torch.linalg.solve_triangular(factor, eye, upper=False).T.contiguous()
