"""What all metrics share: the tree, the check of their inputs, exact integer counts, and what tables call them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from hierfit.metrics.describe import Description
from hierfit.taxonomy import Taxonomy


class TreeMetric(Metric):
    """A metric of predicted paths [B, L], or of logits [B, N], against target paths [B, L].

    ``update(predicted, target)`` counts a batch, ``compute()`` gives a scalar; NaN where nothing was counted. Below a
    leaf that ended above the last level, a path of either kind may hold −1 or that leaf; in targets −1 is also unknown.
    States are int64 counts that add up, so that any split of the samples over batches and processes gives
    exactly the same value.

    A metric of one's own says by ``reads`` what it takes, and describes itself for tables by ``name``, ``header``,
    ``unit`` and ``higher_is_better``. It counts a batch in `tally` and reads the sums in `compute`; or it names a
    ``function (predicted, target, taxonomy)`` whose counts, a named tuple, are then summed as `counts`. Metrics of one
    function share their counts in a `MetricCollection`. It goes by its import path, ``my_file.MyMetric``.

    Args:
        taxonomy: The tree.
        **kwargs: Of `torchmetrics.Metric`: ``sync_on_compute``, ``process_group``, …
    """

    is_differentiable = False
    full_state_update = False
    higher_is_better = True
    function: ClassVar[Callable[[Tensor, Tensor, Taxonomy], Any] | None] = None
    reads: ClassVar[Literal["paths", "logits"]] = "paths"
    name: ClassVar[str] = ""
    header: ClassVar[str] = ""
    unit: ClassVar[str] = "%"

    def __init__(self, taxonomy: Taxonomy, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.taxonomy = taxonomy
        no_paths = taxonomy.parent.new_empty(0, taxonomy.num_levels)
        no_logits = torch.empty(0, taxonomy.num_nodes, device=taxonomy.parent.device)
        for name, zeros in self.tally(no_paths if self.reads == "paths" else no_logits, no_paths).items():
            self.add_state(name, zeros.cpu(), dist_reduce_fx="sum")

    @classmethod
    def description(cls) -> Description:
        """How tables show it."""
        return Description(cls.header or cls.name, cls.unit, cls.higher_is_better)

    def tally(self, predicted: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The counts of one checked batch, by state name; zeros for a batch of no samples."""
        function = type(self).function
        if function is None:
            raise NotImplementedError
        counted = function(predicted, target, self.taxonomy)._asdict()
        return {f"{function.__name__}_{name}": count for name, count in counted.items()}

    @property
    def counts(self) -> Any:
        """The sums so far, by the function's names."""
        prefix = f"{getattr(type(self).function, '__name__', '')}_"
        return SimpleNamespace(**{name.removeprefix(prefix): count for name, count in self.metric_state.items()})

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Count a batch.

        Raises:
            ValueError: Wrong shape or dtype, an id that cannot stand in its column, or logits that are NaN.
        """
        self.taxonomy = self.taxonomy.to(target.device)
        check_paths(predicted if self.reads == "paths" else target, target, self.taxonomy)
        if self.reads == "logits":
            if predicted.shape != (expected := (len(target), self.taxonomy.num_nodes)):
                raise ValueError(f"logits are {list(predicted.shape)}; expected {list(expected)}, one for each node")
            if predicted.isnan().any():
                raise ValueError("logits hold NaN")
        for name, count in self.tally(predicted, target).items():
            # Not in place: a state reset inside inference mode could not be written outside it.
            setattr(self, name, getattr(self, name) + count)


def check_paths(predicted: Tensor, target: Tensor, taxonomy: Taxonomy) -> None:
    """Refuse with a ValueError what are not paths ``[B, L]`` of ids: column l may hold a node of level l, or a leaf
    that ended above it."""
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
    column, depth = torch.arange(taxonomy.num_levels, device=both.device), taxonomy.level[nodes]
    fits = (depth == column) | ((depth < column) & (taxonomy.num_children[nodes] == 0))
    good = (both == -1) | ((both == nodes) & fits)
    if not good.all():
        which, row, level = (~good).nonzero()[0].tolist()
        own, ended = taxonomy.level_slices[level], "" if taxonomy.is_even else ", leaves that ended above it"
        raise ValueError(
            f"{('predicted', 'target')[which]}[{row}, {level}] is {int(both[which, row, level])}; level "
            f"{taxonomy.levels[level]!r} of {taxonomy} has the ids {own.start} to {own.stop - 1}{ended}, "
            "and −1 for none"
        )
