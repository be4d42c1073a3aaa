"""What the labels of a split cover, and how evenly."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hierfit.data.table import Split
from hierfit.taxonomy import Taxonomy


@dataclass(frozen=True)
class Labels:
    """Counts of one split.

    Attributes:
        images: Samples.
        leaves: Leaves with samples.
        fewest, median, most: Samples of a leaf, over the leaves that have any.
        partial: Samples labelled at inner nodes, by level name; levels without any are left out.
        unknown: Samples whose label is not in the tree.
        empty: Full names of the leaves without samples.
    """

    images: int
    leaves: int
    fewest: int
    median: float
    most: int
    partial: dict[str, int]
    unknown: int
    empty: tuple[str, ...]

    @property
    def imbalance(self) -> float:
        """Samples of the largest leaf for one of the smallest that has any; 1 where there are none."""
        return self.most / max(self.fewest, 1)


def count_labels(split: Split, taxonomy: Taxonomy) -> Labels:
    """Count what is labelled, and how finely. O(n + N)."""
    known = split.nodes[split.nodes >= 0]
    leaf = taxonomy.leaf_index[known]
    counts = torch.bincount(leaf[leaf >= 0], minlength=taxonomy.num_leaves)
    filled = counts[counts > 0]
    inner = torch.bincount(taxonomy.level[known[leaf < 0]], minlength=taxonomy.num_levels).tolist()
    return Labels(
        images=len(split),
        leaves=len(filled),
        fewest=int(filled.min()) if len(filled) else 0,
        median=float(filled.double().quantile(0.5)) if len(filled) else 0.0,
        most=int(counts.max()) if len(counts) else 0,
        partial={level: count for level, count in zip(taxonomy.levels, inner, strict=True) if count},
        unknown=len(split) - len(known),
        empty=tuple(taxonomy.full_name(int(v)) for v in taxonomy.leaves[counts == 0]),
    )
