"""What a run says of the leaves, read on the data set's own tree, whatever tree it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hierfit.errors import UserError
from hierfit.metrics.base_to_novel import base_to_novel
from hierfit.metrics.functional import path_overlap
from hierfit.results.kept import LOGITS, TREE
from hierfit.taxonomy import Taxonomy

TRUE_TREE = "true_taxonomy.csv"
"""Kept by runs on another tree than the data set's own."""

_OF_LEAVES = ("base", "novel", "h", "generalised_base", "generalised_novel", "generalised_h", "ausuc")


@dataclass(frozen=True)
class LeafScores:
    """Test samples labelled at a leaf, and what a run says of each leaf.

    Runs on different trees can be compared by these alone: nodes and levels differ, the leaves do not.

    Attributes:
        taxonomy: The data set's own tree, of C leaves.
        logits: Scores of its leaves, in its order ``[n, C]``.
        labels: Leaf index of each sample ``[n]``.
        seen: Leaves that were candidates in training ``[C]`` bool.
    """

    taxonomy: Taxonomy
    logits: Tensor
    labels: Tensor
    seen: Tensor

    @classmethod
    def of(cls, kept: Mapping[str, Tensor], tree: Taxonomy, true: Taxonomy) -> LeafScores:
        """From a run's test logits.

        Args:
            kept: ``logits [n, N]``, ``paths [n, L]``, ``seen [N]`` and ``true_leaf [C]``, see `KeepTestLogits`.
            tree: The run's, of N nodes.
            true: The data set's own.
        """
        deepest = kept["paths"].amax(dim=1)
        leaf = torch.where(deepest >= 0, tree.leaf_index[deepest], -1)
        rows, true_leaf = leaf >= 0, kept["true_leaf"]
        in_true_order = tree.leaves[true_leaf.argsort()]
        logits = kept["logits"][rows][:, in_true_order].float()
        return cls(true, logits, true_leaf[leaf[rows]], kept["seen"][in_true_order])

    @classmethod
    def read(cls, folder: Path) -> LeafScores:
        """From a run's folder.

        Raises:
            UserError: The run keeps no test logits, or is too old to say which leaf is which.
        """
        try:
            kept = load_file(folder / LOGITS)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{folder / LOGITS} cannot be read: {error}") from error
        if "true_leaf" not in kept:
            raise UserError(f"{folder} was made before runs kept their data set's own tree; run it again.")
        tree = Taxonomy.from_csv(folder / TREE)
        own = folder / TRUE_TREE
        return cls.of(kept, tree, Taxonomy.from_csv(own) if own.is_file() else tree)

    def predicted(self, among: Tensor | None = None) -> Tensor:
        """Leaf index of the best leaf ``[n]``; only ``among`` some ``[C]`` bool, if given."""
        logits = self.logits if among is None else self.logits.masked_fill(~among, -torch.inf)
        return logits.argmax(dim=1)

    def figures(self) -> dict[str, float | None]:
        """Metrics of the predicted leaves and their paths (so FPA is leaf accuracy, and TICE would be 0).

        Returns:
            ``leaf_accuracy``, ``fpa``, ``mistake_severity`` (None where there is no mistake), ``tree_distance``,
            ``hierarchical_f1``, see `hierfit.metrics`; where classes were held back also those of `base_to_novel` that
            rest on leaves: ``base``, ``novel``, ``h``, ``ausuc`` and the generalised ones. Empty without samples.
        """
        if not len(self.labels):
            return {}
        best, paths = self.predicted(), self.taxonomy.leaf_paths
        overlap = path_overlap(paths[best], paths[self.labels], self.taxonomy)
        common, height = overlap.common.sum(), overlap.target - overlap.common
        accuracy = float((best == self.labels).float().mean())
        both = (overlap.predicted + overlap.target).sum()
        figures: dict[str, float | None] = {
            "leaf_accuracy": accuracy,
            "fpa": accuracy,
            "mistake_severity": float(height.sum() / (height > 0).sum()) if height.any() else None,
            "tree_distance": float((both - 2 * common) / len(self.labels)),
            "hierarchical_f1": float(2 * common / both),
        }
        if self.seen.all():
            return figures
        count = len(self.seen)
        leaves = Taxonomy(tuple(map(str, range(count))), ("leaf",), torch.full((count,), -1))
        found = base_to_novel(self.logits, self.labels[:, None], leaves, self.seen)
        return figures | {name: value for name, value in found.items() if name in _OF_LEAVES}
