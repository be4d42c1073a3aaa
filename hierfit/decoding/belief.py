"""One belief: a distribution over the leaves; a node has the sum of those below it.

So the probability of a node never exceeds its parent's, and whatever is said of a picture (which path, how sure, how
deep) is read off the same numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from torch import Tensor

from hierfit.decoding.logits import Decoder, leaf_rollup, path_log_probabilities, path_sums, per_level_argmax, top_down
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.upward import leaf_sums
from hierfit.tensors import at_least_float32

if TYPE_CHECKING:
    from hierfit.decoding.calibration import Calibration

LeafScores: TypeAlias = Literal["best_path", "rollup"]
"""What scores a leaf: the log-probabilities along its path, or its own logit."""


class Belief(NamedTuple):
    """Probabilities of ``leaves [B, C]``, which sum to 1, and of ``nodes [B, N]``: each the sum over the leaves below
    it, at most its parent's."""

    leaves: Tensor
    nodes: Tensor


def leaf_scores(logits: Tensor, taxonomy: Taxonomy, scores: LeafScores) -> Tensor:
    """One score a leaf ``[B, C]``, of which the belief is the softmax; at least float32, without gradient. O(B·N).

    ``rollup`` is the leaf's own logit, ``best_path`` its `path_log_probabilities`. The tree is on the logits' device.
    """
    if scores == "best_path":
        return path_log_probabilities(logits, taxonomy)
    return at_least_float32(logits.detach().index_select(1, taxonomy.leaves))


def belief(logits: Tensor, taxonomy: Taxonomy, calibration: Calibration) -> Belief:
    """What a model believes of every node, by what a calibration scores the leaves with, at its temperature. O(B·N).

    Of ``logits [B, N]``; −inf masks a node, and with an inner node all below it where paths score the leaves. A
    `UserError` where a row has no leaf left.
    """
    taxonomy = taxonomy.to(logits.device)
    scores = leaf_scores(logits, taxonomy, calibration.scores) / calibration.temperature
    leaves = scores.softmax(dim=1)
    return Belief(leaves, node_sums(leaves, taxonomy))


def node_sums(leaves: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Probabilities of nodes ``[B, N]`` from those of leaves ``[B, C]``. O(B·N)."""
    nodes = leaves.new_zeros(len(leaves), taxonomy.num_nodes).index_copy_(1, taxonomy.leaves, leaves)
    return leaf_sums(nodes, taxonomy).clamp_(max=1.0)  # rounding may carry a sum past it


def least_distance(nodes: Tensor, taxonomy: Taxonomy) -> Tensor:
    """The path ``[B, L]`` of the leaf of least expected tree distance to the truth, the Bayes decision. O(B·N).

    The distance to leaf y from leaf k counts the edges off their common path, so up to a constant its expectation is
    Σ over the nodes a of k's path of 1 − 2·P(a), P as in `Belief.nodes`.
    """
    taxonomy = taxonomy.to(nodes.device)
    total = path_sums(1 - 2 * nodes, taxonomy)
    return taxonomy.paths(taxonomy.leaves[total.argmin(dim=1)])


BELIEF_DECODERS: dict[str, Decoder] = {
    "best_path": leaf_rollup,
    "rollup": leaf_rollup,
    "top_down": top_down,
    "per_level": per_level_argmax,
    "bayes": least_distance,
}
"""What reads a path off the node probabilities ``[B, N]`` of a belief: the most probable leaf (of leaves scored by
their paths, or by their own logits), the most probable child at every step, the most probable node of each cut, or the
leaf of least expected tree distance."""


def cut_to(paths: Tensor, nodes: Tensor, more_than: float) -> Tensor:
    """Paths ``[B, L]`` with −1 for nodes whose probability in ``nodes [B, N]`` is not above a threshold. O(B·L).

    Probabilities of a belief fall along a path, so what is left begins at the root; above ∞ nothing is left.
    """
    return paths.masked_fill(nodes.gather(1, paths.clamp_min(0)) <= more_than, -1)


def descent(nodes: Tensor, taxonomy: Taxonomy) -> tuple[Tensor, Tensor]:
    """The most probable child at every step ``[B, L]``, −1 past the leaf, and its probabilities, 0 past the leaf."""
    paths = top_down(nodes, taxonomy)
    return paths, nodes.gather(1, paths.clamp_min(0)).masked_fill(paths < 0, 0)


def deepest_sure(nodes: Tensor, taxonomy: Taxonomy, least: float) -> Tensor:
    """The path ``[B, L]`` to the deepest node of at least some probability, −1 below; all −1 where no node has it.

    The descent passes through every node of probability above ½.
    """
    paths, confidence = descent(nodes, taxonomy)
    return paths.masked_fill(confidence < least, -1)
