"""The losses as modules, for a training loop of one's own: thin classes around the functions beside this file."""

from __future__ import annotations

from inspect import Parameter, Signature, signature
from typing import Any, ClassVar

from torch import Tensor, nn

from hierfit.losses import cuts, leaves, levels
from hierfit.losses.levels import Loss, check_batch, empty_batch
from hierfit.taxonomy import Taxonomy


class TreeLoss(nn.Module):
    """A loss on one score a node: its ``function`` with options that stay.

    ``forward(logits [B, N], paths [B, L])`` gives a scalar in nats: the mean over samples with a label, 0 (still on the
    graph) where there is none. A −1 in ``paths`` is an unknown level, or one below the end of a branch. What is unknown
    costs nothing; a leaf above the last level counts, as itself, at every deeper one. Paths come from nodes
    (`Taxonomy.paths`) or from the labels of a flat classifier (`hierfit.ClassList`).

    Args:
        taxonomy: The tree of N nodes on L levels.
        *values: Of the function's options, in their order.
        **options: The same by name.

    Raises:
        UserError: An option is outside its range, or does not fit the levels; said at once and not in the first step.
    """

    function: ClassVar[Loss]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _, _, tree, *options = signature(cls.function).parameters.values()
        named = [o.replace(kind=Parameter.POSITIONAL_OR_KEYWORD) for o in options if o.name != "reading"]
        cls.__signature__ = Signature([tree, *named])  # type: ignore[attr-defined]

    def __init__(self, taxonomy: Taxonomy, *values: Any, **options: Any) -> None:
        super().__init__()
        self.options = signature(type(self)).bind(taxonomy, *values, **options).arguments
        self.taxonomy = self.options.pop("taxonomy")
        self(*empty_batch(taxonomy))

    def forward(self, logits: Tensor, paths: Tensor) -> Tensor:
        """The loss of a batch; a ValueError where a shape or type does not fit the tree."""
        tree = self.taxonomy = self.taxonomy.to(logits.device)
        check_batch(logits, paths, tree.num_nodes, tree.num_levels)
        return type(self).function(logits, paths, tree, **self.options)


class LevelCrossEntropy(TreeLoss):
    """`level_cross_entropy`: within each level, one softmax over its nodes and the leaves that ended above.

    Example:
        >>> import torch
        >>> tree = Taxonomy.from_paths([("cat", "lion"), ("cat", "lynx"), ("dog", "wolf")])
        >>> paths = tree.paths(tree.resolve(["lynx", "dog"]))  # of the second only the kind is known
        >>> LevelCrossEntropy(tree)(torch.zeros(2, 5), paths)  # (ln 2 + ln 3)/2, and ln 2
        tensor(0.7945)
    """

    function = levels.level_cross_entropy


class LeafCrossEntropy(TreeLoss):
    """`leaf_cross_entropy`: over the leaves; a coarse label asks for the sum of the leaves below it.

    Example:
        >>> import torch
        >>> tree = Taxonomy.from_paths([("cat", "lion"), ("cat", "lynx"), ("dog", "wolf")])
        >>> LeafCrossEntropy(tree)(torch.zeros(1, 5), tree.paths(tree.resolve(["cat"])))  # −ln 2/3
        tensor(0.4055)
    """

    function = leaves.leaf_cross_entropy


class HiSCE(TreeLoss):
    """`sibling_smoothed_cross_entropy`: a label gives ε to its siblings; ε = 0 is `LevelCrossEntropy`.

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

    function = cuts.sibling_smoothed_cross_entropy


class TreePathKL(TreeLoss):
    """`tree_path_kl`: from a sample's path to one softmax over all levels, which must share one logit scale.

    Example:
        >>> import torch
        >>> tree = Taxonomy.from_paths([("cat", "lion"), ("cat", "lynx"), ("dog", "wolf")])
        >>> TreePathKL(tree)(torch.zeros(1, 5), tree.paths(tree.resolve(["wolf"])))  # ln 5 − ln 2
        tensor(0.9163)
    """

    function = cuts.tree_path_kl
