"""One pass over a run's test logits: what every decoder predicts, and how sure each level is of itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hierfit.decoding import DECODERS, level_log_softmax
from hierfit.taxonomy import Taxonomy

VALUES_AT_ONCE = 1 << 22
"""Logits read at once: 16 MiB."""


@dataclass(frozen=True)
class Reading:
    """What remains of the logits once they are read: O(n·L) numbers, however many nodes there are.

    Attributes:
        taxonomy: The run's tree.
        target: True node ids ``[n, L]``, −1 where unknown or ended.
        predicted: Node ids ``[n, L]`` by decoder.
        top: The best node of each level on its own ``[n, L]``, also below a leaf.
        confidence: Its probability among the nodes of its level ``[n, L]``.
    """

    taxonomy: Taxonomy
    target: Tensor
    predicted: Mapping[str, Tensor]
    top: Tensor
    confidence: Tensor

    @classmethod
    def of(cls, batches: Iterable[tuple[Tensor, Tensor]], taxonomy: Taxonomy) -> Reading:
        """From batches of logits ``[B, N]`` and true paths ``[B, L]``. O(n·N) time, memory of one batch.

        Raises:
            UserError: Logits hold NaN or +inf.
        """
        targets, tops, confidences = [], [], []
        predicted: dict[str, list[Tensor]] = {name: [] for name in DECODERS}
        for logits, paths in batches:
            for name, decode in DECODERS.items():
                predicted[name].append(decode(logits, taxonomy))
            best = [_best(level) for level in level_log_softmax(logits, taxonomy).split(taxonomy.level_sizes, dim=1)]
            starts = torch.tensor([nodes.start for nodes in taxonomy.level_slices])
            confidences.append(torch.stack([sure for sure, _ in best], dim=1).exp())
            tops.append(torch.stack([where for _, where in best], dim=1) + starts)
            targets.append(paths)
        return cls(
            taxonomy,
            torch.cat(targets),
            {name: torch.cat(parts) for name, parts in predicted.items()},
            torch.cat(tops),
            torch.cat(confidences),
        )


def _best(level: Tensor) -> tuple[Tensor, Tensor]:
    found = level.max(dim=1)
    return found.values, found.indices


def batch_size(num_nodes: int) -> int:
    """Samples whose logits are read at once."""
    return max(1, VALUES_AT_ONCE // num_nodes)
