"""Trees and images that the closed forms are tested on, in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from hierfit.closed import GaussianClasses, Statistics, TiedForm, fit_tree
from hierfit.closed.tree_gda import CovarianceKind
from hierfit.taxonomy import Taxonomy

EVEN = Taxonomy.from_paths([(f"top{i // 6}", f"mid{i // 3}", f"leaf{i}") for i in range(12)])
RAGGED = Taxonomy.from_paths(
    [
        ("a",),
        ("b", "b0"),
        ("b", "b1"),
        ("c", "c0", "x"),
        ("c", "c0", "y"),
        ("c", "c1", "x"),
        ("c", "c2"),
        ("d", "d0", "z"),
    ]
)
FLAT = Taxonomy.from_paths([(f"leaf{i}",) for i in range(7)])
TREES = {"even": EVEN, "ragged": RAGGED, "flat": FLAT}


def images(tree: Taxonomy, per_leaf: int | Tensor, width: int = 5, noise: float = 0.5) -> tuple[Tensor, Tensor]:
    """Features ``[n, d]`` about means that are tied along the tree, and positions of their leaves ``[n]``."""
    generator = torch.Generator().manual_seed(len(tree.names) + width)
    steps = torch.randn(tree.num_nodes, width, generator=generator, dtype=torch.float64)
    paths = tree.leaf_paths
    means = torch.where(paths[..., None] >= 0, steps[paths], 0).sum(dim=1)
    counts = torch.full((tree.num_leaves,), per_leaf) if isinstance(per_leaf, int) else per_leaf
    labels = torch.arange(tree.num_leaves).repeat_interleave(counts)
    away = torch.randn(len(labels), width, generator=generator, dtype=torch.float64)
    mix = torch.randn(width, width, generator=generator, dtype=torch.float64)
    return means[labels] + noise * away @ mix, labels


def fit_treeless(
    statistics: Statistics, tree: Taxonomy, *, shrink: bool = False, kind: CovarianceKind = "within"
) -> GaussianClasses:
    """The same form without a tree: a common prior, or none."""
    return fit_tree(statistics, tree, TiedForm("common" if shrink else "flat", kind))
