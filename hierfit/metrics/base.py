"""What all path metrics share: the tree, the check of their inputs, and exact integer counts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from hierfit.taxonomy import Taxonomy


class TreeMetric(Metric):
    """A metric of predictions of some kind against target paths [B, L].

    States are int64 counts that add up, so that any split of the samples over batches and processes gives
    exactly the same value. A subclass counts a batch in `tally` and reads the sums in `compute`.

    Subclasses share the name of a count only if they share `tally`: a `MetricCollection` takes metrics whose
    states agree on the first batch for the same, and from then on updates one for all.

    Args:
        taxonomy: The tree.
        **kwargs: Of `torchmetrics.Metric`: ``sync_on_compute``, ``process_group``, …
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, taxonomy: Taxonomy, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.taxonomy = taxonomy
        no_paths = torch.empty(0, taxonomy.num_levels, dtype=torch.int64, device=taxonomy.parent.device)
        for name, zeros in self.tally(self.no_predictions(), no_paths).items():
            self.add_state(name, zeros.cpu(), dist_reduce_fx="sum")

    def no_predictions(self) -> Tensor:
        """Predictions for a batch of no samples."""
        raise NotImplementedError

    def check(self, predicted: Tensor, target: Tensor) -> None:
        """Refuse what cannot be counted.

        Raises:
            ValueError: Names what is wrong.
        """
        raise NotImplementedError

    def tally(self, predicted: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The counts of one checked batch, by state name; zeros for a batch of no samples."""
        raise NotImplementedError

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Count a batch.

        Args:
            predicted: [B, L] node ids, −1 where the prediction has ended; or [B, N] logits.
            target: [B, L] node ids; −1 where unknown or ended.

        Raises:
            ValueError: Wrong shape or dtype, or an id that cannot stand in its column.
        """
        self.taxonomy = self.taxonomy.to(target.device)
        self.check(predicted, target)
        for name, count in self.tally(predicted, target).items():
            # Not in place: a state reset inside inference mode could not be written outside it.
            setattr(self, name, getattr(self, name) + count)


class PathMetric(TreeMetric):
    """A metric of predicted paths [B, L] against target paths [B, L].

    Below a leaf that ended above the last level, a path of either kind may hold −1 or that leaf.
    """

    def no_predictions(self) -> Tensor:
        """[0, L]."""
        device = self.taxonomy.parent.device
        return torch.empty(0, self.taxonomy.num_levels, dtype=torch.int64, device=device)

    def check(self, predicted: Tensor, target: Tensor) -> None:
        """See `check_paths`."""
        check_paths(predicted, target, self.taxonomy)


def check_paths(predicted: Tensor, target: Tensor, taxonomy: Taxonomy) -> None:
    """Refuse tensors that are not paths of ids on the tree's node axis.

    Column l may hold a node of level l, or a leaf that ended above it.

    Raises:
        ValueError: Names every wrong shape and dtype, or the first id that cannot stand in its column.
    """
    wrong = [
        f"{name} is {list(paths.shape)} {paths.dtype}"
        for name, paths in (("predicted", predicted), ("target", target))
        if paths.ndim != 2 or paths.shape[1] != taxonomy.num_levels or paths.dtype != torch.int64
    ]
    if wrong or len(predicted) != len(target):
        wrong = wrong or [f"predicted has {len(predicted)} samples and target {len(target)}"]
        raise ValueError(
            f"{'; '.join(wrong)}; both must be [B, {taxonomy.num_levels}] torch.int64, one node id for each "
            f"level of {taxonomy}. To get paths: hierfit.decoding from logits, Taxonomy.paths from nodes."
        )
    both = torch.stack([predicted, target])
    nodes = both.clamp(0, taxonomy.num_nodes - 1)
    column = torch.arange(taxonomy.num_levels, device=both.device)
    depth = taxonomy.level[nodes]
    fits = (depth == column) | ((depth < column) & (taxonomy.num_children[nodes] == 0))
    good = (both == -1) | ((both == nodes) & fits)
    if not good.all():
        which, row, level = (~good).nonzero()[0].tolist()
        nodes_of_level = taxonomy.level_slices[level]
        ended = "" if taxonomy.is_even else ", leaves that ended above it"
        raise ValueError(
            f"{('predicted', 'target')[which]}[{row}, {level}] is {int(both[which, row, level])}; level "
            f"{taxonomy.levels[level]!r} of {taxonomy} has the ids {nodes_of_level.start} to "
            f"{nodes_of_level.stop - 1}{ended}, and −1 for none"
        )
