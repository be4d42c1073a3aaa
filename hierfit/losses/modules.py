"""The losses as modules, for a training loop of one's own; the functions beside this file are their maths."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hierfit.losses.hisce import Roots, sibling_smoothed_cross_entropy
from hierfit.losses.level_ce import leaf_cross_entropy, level_cross_entropy
from hierfit.losses.levels import OverLevels
from hierfit.losses.options import PerLevel
from hierfit.losses.tp_kl import tree_path_kl
from hierfit.taxonomy import Taxonomy


class TreeLoss(nn.Module):
    """A loss on one score a node; `of` is the loss.

    ``forward(logits [B, N], paths [B, L])`` gives a scalar in nats: the mean over samples with a label, 0 (still on the
    graph) where there is none. A −1 in ``paths`` is an unknown level, or one below the end of a branch. What is unknown
    costs nothing; a leaf above the last level counts, as itself, at every deeper one. Paths come from nodes
    (`Taxonomy.paths`) or from the labels of a flat classifier (`hierfit.ClassList`).

    Args:
        taxonomy: The tree of N nodes on L levels.
    """

    def __init__(self, taxonomy: Taxonomy) -> None:
        super().__init__()
        self.taxonomy = taxonomy

    def of(self, logits: Tensor, paths: Tensor) -> Tensor:
        """The loss of a checked batch."""
        raise NotImplementedError

    def forward(self, logits: Tensor, paths: Tensor) -> Tensor:
        """The loss of a batch.

        Raises:
            ValueError: A shape or type does not fit the tree.
        """
        tree = self.taxonomy = self.taxonomy.to(logits.device)
        wanted = (len(logits), tree.num_nodes), (len(logits), tree.num_levels)
        if (tuple(logits.shape), tuple(paths.shape)) != wanted or paths.dtype != torch.int64:
            raise ValueError(
                f"logits are {list(logits.shape)} and paths {list(paths.shape)} {paths.dtype}; they must be "
                f"[B, {tree.num_nodes}] and [B, {tree.num_levels}] torch.int64, on the nodes of {tree}. Labels of a "
                "flat classifier become paths, and its scores node logits, by hierfit.ClassList."
            )
        return self.of(logits, paths)

    def _try_options(self) -> None:
        """Faults of the options, at once and not in the first step."""
        tree = self.taxonomy
        self(torch.empty(0, tree.num_nodes, device=tree.parent.device), tree.parent.new_empty(0, tree.num_levels))


class LevelCrossEntropy(TreeLoss):
    """Cross-entropy within each level, one softmax over its nodes and the leaves that ended above.

    See `level_cross_entropy`.

    Args:
        taxonomy: The tree.
        over_levels: ``mean`` or ``sum`` over the labelled levels of a sample.

    Example:
        >>> import torch
        >>> tree = Taxonomy.from_paths([("cat", "lion"), ("cat", "lynx"), ("dog", "wolf")])
        >>> paths = tree.paths(tree.resolve(["lynx", "dog"]))  # of the second only the kind is known
        >>> LevelCrossEntropy(tree)(torch.zeros(2, 5), paths)  # (ln 2 + ln 3)/2, and ln 2
        tensor(0.7945)
    """

    def __init__(self, taxonomy: Taxonomy, over_levels: OverLevels = "mean") -> None:
        super().__init__(taxonomy)
        self.over_levels: OverLevels = over_levels
        self._try_options()

    def of(self, logits: Tensor, paths: Tensor) -> Tensor:
        """The loss of a checked batch."""
        return level_cross_entropy(logits, paths, self.taxonomy, over_levels=self.over_levels)


class LeafCrossEntropy(TreeLoss):
    """Cross-entropy over the leaves; a coarse label asks for the sum of the leaves below it. See `leaf_cross_entropy`.

    Args:
        taxonomy: The tree.

    Example:
        >>> import torch
        >>> tree = Taxonomy.from_paths([("cat", "lion"), ("cat", "lynx"), ("dog", "wolf")])
        >>> LeafCrossEntropy(tree)(torch.zeros(1, 5), tree.paths(tree.resolve(["cat"])))  # −ln 2/3
        tensor(0.4055)
    """

    def of(self, logits: Tensor, paths: Tensor) -> Tensor:
        """The loss of a checked batch."""
        return leaf_cross_entropy(logits, paths, self.taxonomy)


class HiSCE(TreeLoss):
    """Hierarchy-sibling smoothed cross-entropy: a label gives ε to its siblings (Li et al., arXiv 2512.21529).

    See `sibling_smoothed_cross_entropy`; ε = 0 is `LevelCrossEntropy`.

    Args:
        taxonomy: The tree.
        epsilon: ε in [0, 1): one number, a list of one a level, or numbers by level name (others: 0); under ``leaf``
            that of the leaves, whatever their depth.
        roots: ``siblings``: the roots smooth among each other; ``unsmoothed``: their ε is 0.
        over_levels: ``mean`` or ``sum`` over the labelled levels of a sample.

    Raises:
        UserError: An option is outside its range, or ``epsilon`` does not fit the levels.

    Example:
        >>> import torch
        >>> rows = [("cat", "lion"), ("cat", "lynx"), ("dog", "wolf")]
        >>> tree = Taxonomy.from_paths(rows, levels=("kind", "species"))
        >>> logits = torch.tensor([[0.0, 0.0, 3.0, 1.0, 0.0]])
        >>> paths = tree.paths(tree.resolve(["lion"]))
        >>> plain, smoothed = LevelCrossEntropy(tree), HiSCE(tree, epsilon={"species": 0.3})
        >>> round(float(smoothed(logits, paths) - plain(logits, paths)), 4)  # half of 0.3·(3 − 1)
        0.3
    """

    def __init__(
        self,
        taxonomy: Taxonomy,
        epsilon: PerLevel = 0.1,
        roots: Roots = "siblings",
        over_levels: OverLevels = "mean",
    ) -> None:
        super().__init__(taxonomy)
        self.epsilon: PerLevel = epsilon
        self.roots: Roots = roots
        self.over_levels: OverLevels = over_levels
        self._try_options()

    def of(self, logits: Tensor, paths: Tensor) -> Tensor:
        """The loss of a checked batch."""
        return sibling_smoothed_cross_entropy(
            logits, paths, self.taxonomy, epsilon=self.epsilon, roots=self.roots, over_levels=self.over_levels
        )


class TreePathKL(TreeLoss):
    """Tree-path KL divergence: from a sample's path to one softmax over all levels (H-CAST; arXiv 2512.21529).

    See `tree_path_kl`. Levels must share one logit scale.

    Args:
        taxonomy: The tree.
        level_weights: What of the path each level has, before it is made to sum to 1: one number (uniform, as
            published), a list of one a level, or numbers by level name (others: 0).

    Raises:
        UserError: ``level_weights`` does not fit the levels, or none is positive.

    Example:
        >>> import torch
        >>> tree = Taxonomy.from_paths([("cat", "lion"), ("cat", "lynx"), ("dog", "wolf")])
        >>> TreePathKL(tree)(torch.zeros(1, 5), tree.paths(tree.resolve(["wolf"])))  # ln 5 − ln 2
        tensor(0.9163)
    """

    def __init__(self, taxonomy: Taxonomy, level_weights: PerLevel = 1.0) -> None:
        super().__init__(taxonomy)
        self.level_weights: PerLevel = level_weights
        self._try_options()

    def of(self, logits: Tensor, paths: Tensor) -> Tensor:
        """The loss of a checked batch."""
        return tree_path_kl(logits, paths, self.taxonomy, level_weights=self.level_weights)
