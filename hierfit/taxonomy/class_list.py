"""From a flat classifier to the tree: labels 0 … C − 1 as paths, one score a class as one score a node."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.upward import leaf_marginals


class ClassList:
    """The classes of a plain classifier, in the order of its labels, found in a tree.

    Everything here works on the tree's own node axis; this is the way there, and the order is stated once.

    Args:
        taxonomy: The tree.
        classes: For each label 0 … C − 1 the name of its node, or its path from the root.

    Raises:
        UserError: Names every class that the tree does not have, has more than once, or that is listed twice.

    Example:
        >>> import torch
        >>> tree = Taxonomy.from_paths([("cat", "lion"), ("dog", "wolf"), ("cat", "lynx")])
        >>> classes = ClassList(tree, ["wolf", "lynx", "lion"])  # label 0 is the wolf
        >>> paths = classes.paths(torch.tensor([0, 2]))
        >>> [[tree.names[node] for node in path] for path in paths.tolist()]
        [['dog', 'wolf'], ['cat', 'lion']]
        >>> flat = torch.tensor([[2.0, 1.9, 1.8]])  # the wolf leads, but there are two cats
        >>> classes.logits(flat).softmax(dim=1).shape
        torch.Size([1, 5])
        >>> from hierfit.decoding import best_path, top_down
        >>> [tree.names[node] for node in top_down(classes.logits(flat), tree)[0].tolist()]
        ['cat', 'lynx']
    """

    def __init__(self, taxonomy: Taxonomy, classes: Sequence[str | Sequence[str]]) -> None:
        self.taxonomy = taxonomy
        self.nodes = taxonomy.resolve(classes)
        """Node of each label ``[C]``."""
        count = self.nodes.bincount(minlength=taxonomy.num_nodes)
        twice = [taxonomy.full_name(node) for node in (count > 1).nonzero()[:, 0].tolist()]
        if twice:
            raise UserError("classes are listed twice", twice, "Each label stands for a node of its own.")
        self._table = torch.cat([taxonomy.paths(self.nodes), taxonomy.parent.new_full((1, taxonomy.num_levels), -1)])

    def __len__(self) -> int:
        return len(self.nodes)

    def paths(self, labels: Tensor) -> Tensor:
        """Labels ``[B]`` as paths ``[B, L]`` of node ids; a label of −1 is unknown, and so is its path.

        Raises:
            ValueError: A label is outside −1 … C − 1, or no whole number.
        """
        if labels.is_floating_point() or (len(labels) and not (labels.min() >= -1 and labels.max() < len(self))):
            raise ValueError(f"labels are whole numbers from −1 to {len(self) - 1}")
        return self._table.to(labels.device)[labels]  # −1 wraps round to the last row

    def logits(self, scores: Tensor) -> Tensor:
        """Class logits ``[B, C]`` as node logits ``[B, N]``: a node has the logsumexp of the classes below it.

        Softmax over a level then gives each node the sum of its classes' probabilities, so every decoder and metric
        reads a flat classifier. Nodes without a class get −inf. Differentiable; O(B·N).

        Raises:
            ValueError: ``scores`` is not [B, C].
            UserError: A class is no leaf of the tree.
        """
        tree = self.taxonomy
        if scores.ndim != 2 or scores.shape[1] != len(self):
            raise ValueError(f"scores must be [B, {len(self)}], one for each class; got {list(scores.shape)}")
        inner = [tree.full_name(node) for node in self.nodes[tree.num_children[self.nodes] > 0].tolist()]
        if inner:
            raise UserError("these classes are no leaves, so that their scores would count twice", inner)
        nodes = self.nodes.to(scores.device)
        dtype = torch.promote_types(scores.dtype, torch.float32)
        spread = torch.full((len(scores), tree.num_nodes), -torch.inf, dtype=dtype, device=scores.device)
        return leaf_marginals(spread.index_copy(1, nodes, scores.to(dtype)), tree)
