"""Metrics of the predicted tuple as a whole: is all of it right (FPA), is it a path of the tree (TICE)?"""

from __future__ import annotations

from torch import Tensor

from hierfit.metrics.base import PathMetric
from hierfit.metrics.functional import full_path_right, is_tree_path, labelled


class FullPathAccuracy(PathMetric):
    """Full path accuracy (FPA): share of samples with every labelled level right.

    With partial labels a sample is held only to the levels it has; a label that ends at a leaf has all. Where all
    levels are labelled, FPA is at most the accuracy of the worst level.

    Source: H-CAST (Park et al., ICLR 2025); Li et al., arXiv 2512.21529.

    Shapes: ``update([B, L], [B, L])``; ``compute()`` is a scalar in [0, 1], NaN without samples.

    Example:
        >>> import torch
        >>> from hierfit.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_paths([("bird", "hawk"), ("bird", "owl"), ("fish", "eel")])
        >>> predicted = torch.tensor([[0, 2], [0, 2], [0, 4]])  # bird/hawk, bird/hawk, bird/eel
        >>> target = torch.tensor([[0, 2], [0, 3], [0, -1]])  # bird/hawk, bird/owl, bird/unknown
        >>> FullPathAccuracy(tree)(predicted, target)
        tensor(0.6667)
    """

    higher_is_better = True
    fpa_right: Tensor
    fpa_samples: Tensor

    def tally(self, predicted: Tensor, target: Tensor) -> dict[str, Tensor]:
        right = full_path_right(predicted, target, self.taxonomy)
        return {"fpa_right": right.sum(), "fpa_samples": labelled(target).sum()}

    def compute(self) -> Tensor:
        return self.fpa_right / self.fpa_samples


class TreeInconsistency(PathMetric):
    """Tree inconsistency error (TICE): share of predictions that are no path of the tree, right or wrong.

    Zero for every decoder that walks the tree, and for a constant prediction: read it beside FPA, and on
    per-level argmax. What counts as a path is said in `hierfit.metrics.functional.is_tree_path`. As in every
    metric here, samples without any label are left out.

    Source: H-CAST (Park et al., ICLR 2025); Li et al., arXiv 2512.21529.

    Shapes: ``update([B, L], [B, L])``; ``compute()`` is a scalar in [0, 1], NaN without samples.

    Example:
        >>> import torch
        >>> from hierfit.taxonomy import Taxonomy
        >>> tree = Taxonomy.from_paths([("bird", "hawk"), ("bird", "owl"), ("fish", "eel")])
        >>> predicted = torch.tensor([[0, 2], [0, 4], [1, -1], [1, 4]])  # bird/eel is not in the tree
        >>> target = torch.tensor([[0, 2], [0, 2], [0, 2], [0, 2]])
        >>> TreeInconsistency(tree)(predicted, target)
        tensor(0.2500)
    """

    higher_is_better = False
    tice_broken: Tensor
    tice_samples: Tensor

    def tally(self, predicted: Tensor, target: Tensor) -> dict[str, Tensor]:
        counted = labelled(target)
        broken = counted & ~is_tree_path(predicted, self.taxonomy)
        return {"tice_broken": broken.sum(), "tice_samples": counted.sum()}

    def compute(self) -> Tensor:
        return self.tice_broken / self.tice_samples
