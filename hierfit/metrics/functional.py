"""The metrics as pure functions of predicted and target paths.

``predicted [B, L]`` and ``target [B, L]`` hold node ids, coarse to fine; −1 is "ended" in a prediction and
"unknown or ended" in a target. Two kinds of count carry nearly everything: what happened to each node
(`node_tally`, O(N + B·L)), and how far down each pair of paths agrees (`path_overlap`, O(B·L)).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from hierfit.taxonomy import Taxonomy


def labelled(target: Tensor) -> Tensor:
    """[B] bool: which samples of ``target`` [B, L] carry a label at any level; metrics ignore the others."""
    return (target >= 0).any(dim=1)


def full_path_right(predicted: Tensor, target: Tensor) -> Tensor:
    """[B] bool: every labelled level of the sample is right; False where nothing is labelled."""
    return ((predicted == target) | (target < 0)).all(dim=1) & labelled(target)


def is_tree_path(predicted: Tensor, taxonomy: Taxonomy) -> Tensor:
    """[B] bool: the tuple starts at a root, each next node is a child of the one before, and −1 only follows.

    A tuple that stops above a leaf, even at once, contradicts nothing and counts as a path: what it withholds
    costs accuracy and recall. A gap, or a node below a leaf, does not.
    """
    before = torch.cat([predicted.new_full((len(predicted), 1), -1), predicted[:, :-1]], dim=1)
    # A root's parent is −1 too, so the same comparison covers first node, gap and link.
    return ((predicted < 0) | (taxonomy.parent[predicted.clamp(min=0)] == before)).all(dim=1)


class NodeTally(NamedTuple):
    """What happened to each node over samples labelled at its level; int64 [N] each.

    Attributes:
        right: Times the node was predicted and true.
        predicted: Times it was predicted.
        labelled: Times it was true.
    """

    right: Tensor
    predicted: Tensor
    labelled: Tensor


def node_tally(predicted: Tensor, target: Tensor, num_nodes: int) -> NodeTally:
    """Count hits, predictions and labels of each of the N nodes, where ``target`` [B, L] is labelled."""
    known = target >= 0

    def count(nodes: Tensor, mask: Tensor) -> Tensor:
        zeros = torch.zeros(num_nodes, dtype=torch.int64, device=nodes.device)
        return zeros.scatter_add_(0, nodes.clamp(min=0).flatten(), mask.flatten().long())

    return NodeTally(
        count(target, known & (predicted == target)),
        count(predicted, known & (predicted >= 0)),
        count(target, known),
    )


def level_accuracy(tally: NodeTally, taxonomy: Taxonomy) -> Tensor:
    """[L] share of the samples labelled at a level that are right there; NaN for a level without labels."""
    return _level_sums(tally.right, taxonomy) / _level_sums(tally.labelled, taxonomy)


def level_macro_precision(tally: NodeTally, taxonomy: Taxonomy) -> Tensor:
    """[L] mean over nodes of right/predicted; NaN for a level without labels.

    As in torchmetrics and scikit-learn, a node that is true but never predicted counts 0, and a node that is
    neither is left out.
    """
    precision = tally.right / tally.predicted.clamp(min=1)
    seen = (tally.predicted + tally.labelled) > 0
    return _level_sums(precision, taxonomy) / _level_sums(seen, taxonomy)


def size_weighted_mean(values: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Mean of [L] values weighted by the number of nodes of each level; levels of NaN are left out."""
    sizes = torch.tensor(taxonomy.level_sizes, dtype=values.dtype, device=values.device)
    measured = ~values.isnan()
    return (sizes * values)[measured].sum() / sizes[measured].sum()


def leaf_accuracy(tally: NodeTally, taxonomy: Taxonomy, average: Literal["micro", "macro"]) -> Tensor:
    """Share right of the samples labelled with a leaf: of all (micro), or the mean of each leaf's (macro)."""
    leaves = taxonomy.leaves
    right, total = tally.right[leaves], tally.labelled[leaves]
    if average == "micro":
        return right.sum() / total.sum()
    return (right / total.clamp(min=1)).sum() / (total > 0).sum()


class PathOverlap(NamedTuple):
    """Lengths of the paths to the deepest predicted and the deepest labelled node; int64 [B] each, in nodes.

    Attributes:
        common: Nodes the two paths share, counted from the root: the depth of their lowest common ancestor.
        predicted: Nodes on the predicted path.
        target: Nodes on the target's path; 0 (and so are the others) where nothing is labelled.
    """

    common: Tensor
    predicted: Tensor
    target: Tensor


def compared_nodes(predicted: Tensor, target: Tensor, taxonomy: Taxonomy) -> tuple[Tensor, Tensor]:
    """[B] deepest predicted and [B] deepest labelled node of each sample, as `path_overlap` compares them."""
    # Ids grow coarse to fine, and −1 is the smallest: the deepest node of a tuple is its maximum.
    true_node = target.amax(dim=1)
    open_below = (taxonomy.num_children[true_node] > 0)[:, None]
    column = torch.arange(target.shape[1], device=target.device)
    unknown = open_below & (column > taxonomy.level[true_node][:, None])
    predicted_node = predicted.masked_fill(unknown, -1).amax(dim=1).masked_fill(true_node < 0, -1)
    return predicted_node, true_node


def path_overlap(predicted: Tensor, target: Tensor, taxonomy: Taxonomy) -> PathOverlap:
    """Compare the deepest predicted with the deepest labelled node of each sample.

    Each node stands for its own path from the root; what the tuple names above it plays no part (that is
    `is_tree_path`'s business). A label that stops above a leaf says nothing of what lies below: there the
    prediction is read down to the label's level and no deeper.
    """
    predicted_node, true_node = compared_nodes(predicted, target, taxonomy)
    true_path, predicted_path = taxonomy.paths(true_node), taxonomy.paths(predicted_node)
    on_true_path = true_path >= 0
    return PathOverlap(
        common=(on_true_path & (true_path == predicted_path)).sum(dim=1),
        predicted=(predicted_path >= 0).sum(dim=1),
        target=on_true_path.sum(dim=1),
    )


def _level_sums(per_node: Tensor, taxonomy: Taxonomy) -> Tensor:
    return torch.stack([per_node[nodes].sum() for nodes in taxonomy.level_slices])
