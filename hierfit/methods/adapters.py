"""Bottlenecks on frozen features."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Blend(nn.Module):
    """``v′ = norm(r·relu(W₂ relu(W₁v)) + (1 − r)·v)`` (CLIP-Adapter).

    Without biases the bottleneck is homogeneous of degree one, so the length of v cancels: on L2-normalised
    features it is the very function that the paper puts on raw ones.

    Args:
        width: d of the features.
        hidden: Width of the bottleneck.
        ratio: r.
    """

    def __init__(self, width: int, hidden: int, ratio: float) -> None:
        super().__init__()
        self.ratio = ratio
        self.down = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(hidden, width, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Features ``[n, d]`` to adapted ones, L2-normalised."""
        adapted = F.relu(self.up(F.relu(self.down(features))))
        return F.normalize(self.ratio * adapted + (1 - self.ratio) * features, dim=-1)


class ResidualAdapter(nn.Module):
    """``v′ = norm(v + ratio·(W₂ relu(W₁v + b₁) + b₂))`` with W₂ = b₂ = 0 at the start, so that v′ = v (LatHAdapter).

    Additive from zero, unlike `Blend`: that starts away from CLIP and, at ratios of 0.5 and more, forgets unseen
    classes.
    """

    def __init__(self, width: int, hidden: int, ratio: float) -> None:
        super().__init__()
        self.ratio = ratio
        self.down = nn.Linear(width, hidden)
        self.up = nn.Linear(hidden, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, features: Tensor) -> Tensor:
        """L2-normalised features ``[n, d]`` to adapted ones, L2-normalised again."""
        return F.normalize(features + self.ratio * self.up(F.relu(self.down(features))), dim=-1)


ADAPTERS: dict[str, type[Blend] | type[ResidualAdapter]] = {"blend": Blend, "residual": ResidualAdapter}
"""By the names that saved heads use."""
