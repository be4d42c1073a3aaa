"""One pass over a run's test logits: what it believes of each image, and the path that is read off it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from hierfit.decoding import Calibration, belief, leaf_rollup
from hierfit.metrics.served import Served, serve
from hierfit.taxonomy import Taxonomy

VALUES_AT_ONCE = 1 << 22
"""Logits read at once: 16 MiB."""


@dataclass(frozen=True)
class Reading:
    """What remains of the logits once they are read: O(n·L) numbers, however many nodes there are.

    Attributes:
        taxonomy: The run's tree.
        target: True node ids ``[n, L]``, −1 where unknown or ended.
        best_leaf: Path of the leaf with the best logit ``[n, L]``.
        decoded: Path of the most probable leaf by the belief ``[n, L]``.
        served: The belief's descent and its probabilities.
    """

    taxonomy: Taxonomy
    target: Tensor
    best_leaf: Tensor
    decoded: Tensor
    served: Served

    @classmethod
    def of(cls, batches: Iterable[tuple[Tensor, Tensor]], taxonomy: Taxonomy, calibration: Calibration) -> Reading:
        """From batches of logits ``[B, N]`` and true paths ``[B, L]``. O(n·N) time, memory of one batch.

        Raises:
            UserError: Logits hold NaN or +inf.
        """
        none = torch.zeros(0, taxonomy.num_levels, dtype=torch.long)
        best, decoded = [none], [none]

        def decoding() -> Iterable[tuple[Tensor, Tensor]]:
            for logits, target in batches:
                best.append(leaf_rollup(logits, taxonomy))
                decoded.append(leaf_rollup(belief(logits, taxonomy, calibration).nodes, taxonomy))
                yield logits, target

        served = serve(decoding(), taxonomy, calibration)
        return cls(taxonomy, served.target, torch.cat(best), torch.cat(decoded), served)


def batch_size(num_nodes: int) -> int:
    """Samples whose logits are read at once."""
    return max(1, VALUES_AT_ONCE // num_nodes)
