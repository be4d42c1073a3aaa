"""Answers that go as deep as they may: cut where the belief gets too small."""

from __future__ import annotations

from torch import Tensor

from hierfit.decoding.logits import top_down
from hierfit.taxonomy import Taxonomy


def cut_to(paths: Tensor, nodes: Tensor, more_than: float) -> Tensor:
    """Paths without the nodes whose probability is not above a threshold. O(B·L).

    Probabilities of a belief fall along a path, so what is left begins at the root.

    Args:
        paths: Node ids ``[B, L]``, −1 past the end.
        nodes: Probability of each node ``[B, N]``, as `Belief.nodes`.
        more_than: The threshold; ∞ leaves nothing.

    Returns:
        ``[B, L]``, −1 below the deepest node that is left.
    """
    return paths.masked_fill(nodes.gather(1, paths.clamp_min(0)) <= more_than, -1)


def deepest_sure(nodes: Tensor, taxonomy: Taxonomy, least: float) -> Tensor:
    """The path to the deepest node of at least some probability; below none, nothing is left. O(B·N).

    The descent takes the most probable child at every step, which passes through every node of probability above ½.

    Args:
        nodes: Probability of each node ``[B, N]``, as `Belief.nodes`.
        taxonomy: The tree.
        least: From 0 to 1.

    Returns:
        ``[B, L]``, −1 below the answer.
    """
    paths = top_down(nodes, taxonomy)
    return paths.masked_fill(nodes.gather(1, paths.clamp_min(0)) < least, -1)
