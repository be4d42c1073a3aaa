"""What happened to each node of each level's cut: the counts behind level accuracy, leaf accuracy and wAP.

The cuts of a tree, one after another, are one axis of M places: on level l first the leaves that ended above it, then
its own nodes (`Taxonomy.cut`). On even trees that is the node axis; the last cut always holds all leaves.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from hierfit.metrics.functional import stands_at_its_level
from hierfit.taxonomy import Taxonomy


class CutTally(NamedTuple):
    """What happened at each place over the samples whose label is known there; int64 [M] each.

    Attributes:
        right: Times the node was predicted and true.
        predicted: Times it was predicted.
        labelled: Times it was true.
    """

    right: Tensor
    predicted: Tensor
    labelled: Tensor


def cut_tally(predicted: Tensor, target: Tensor, taxonomy: Taxonomy) -> CutTally:
    """Count hits, predictions and labels at each place, where ``target`` [B, L] is known once padded."""
    predicted, target = taxonomy.padded(predicted), taxonomy.padded(target)
    known = target >= 0
    bounds = _cut_bounds(taxonomy)

    def count(nodes: Tensor, mask: Tensor) -> Tensor:
        zeros = torch.zeros(bounds[-1], dtype=torch.int64, device=nodes.device)
        return zeros.scatter_add_(0, _places(nodes.clamp(min=0), taxonomy).flatten(), mask.flatten().long())

    return CutTally(
        count(target, known & (predicted == target)),
        count(predicted, known & (predicted >= 0)),
        count(target, known),
    )


def level_accuracy(tally: CutTally, taxonomy: Taxonomy) -> Tensor:
    """[L] share right of the samples whose own path reaches a level and is labelled there; NaN if there are none."""
    starts, ends = _own_bounds(taxonomy), _cut_bounds(taxonomy)[1:]
    own = list(map(slice, starts, ends))
    return _sums(tally.right, own) / _sums(tally.labelled, own)


def cut_accuracy(tally: CutTally, taxonomy: Taxonomy) -> Tensor:
    """[L] share right of the samples known in a level's cut, also those whose path ended above; NaN if none are."""
    cuts = _cuts(taxonomy)
    return _sums(tally.right, cuts) / _sums(tally.labelled, cuts)


def cut_macro_precision(tally: CutTally, taxonomy: Taxonomy) -> Tensor:
    """[L] mean over the nodes of a cut of right/predicted; NaN for a level without labels.

    As in torchmetrics and scikit-learn, a node that is true but never predicted counts 0, and a node that is
    neither is left out.
    """
    precision = tally.right / tally.predicted.clamp(min=1)
    seen = (tally.predicted + tally.labelled) > 0
    return _sums(precision, _cuts(taxonomy)) / _sums(seen, _cuts(taxonomy))


def size_weighted_mean(values: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Mean of [L] values weighted by the number of nodes of each level's cut; levels of NaN are left out."""
    sizes = values.new_tensor([stop - start for start, stop in pairwise(_cut_bounds(taxonomy))])
    measured = ~values.isnan()
    return (sizes * values)[measured].sum() / sizes[measured].sum()


def leaf_accuracy(tally: CutTally, taxonomy: Taxonomy, average: Literal["micro", "macro"]) -> Tensor:
    """Share right of the samples labelled with a leaf: of all (micro), or the mean of each leaf's (macro)."""
    all_leaves = _cuts(taxonomy)[-1]
    right, total = tally.right[all_leaves], tally.labelled[all_leaves]
    if average == "micro":
        return right.sum() / total.sum()
    return (right / total.clamp(min=1)).sum() / (total > 0).sum()


def _cut_bounds(taxonomy: Taxonomy) -> list[int]:
    """[L + 1] first place of each cut, then M."""
    ended = accumulate(taxonomy.leaf_counts[:-1], initial=0)
    sizes = (above + own for above, own in zip(ended, taxonomy.level_sizes, strict=True))
    return list(accumulate(sizes, initial=0))


def _own_bounds(taxonomy: Taxonomy) -> list[int]:
    """[L] place of the first node of its own level in each cut."""
    return [stop - own for stop, own in zip(_cut_bounds(taxonomy)[1:], taxonomy.level_sizes, strict=True)]


def _cuts(taxonomy: Taxonomy) -> list[slice]:
    return [slice(start, stop) for start, stop in pairwise(_cut_bounds(taxonomy))]


def _places(nodes: Tensor, taxonomy: Taxonomy) -> Tensor:
    """[B, L] place of the node that stands in column l on the axis of all cuts."""
    if taxonomy.is_even:
        return nodes
    start = torch.tensor(_cut_bounds(taxonomy)[:-1], device=nodes.device)
    first = torch.tensor([level.start for level in taxonomy.level_slices], device=nodes.device)
    own = torch.tensor(_own_bounds(taxonomy), device=nodes.device)
    # The leaves that ended above are the first of all leaves, in the same order.
    return torch.where(
        stands_at_its_level(nodes, taxonomy), nodes - first + own, start + taxonomy.leaf_index[nodes].clamp(min=0)
    )


def _sums(per_place: Tensor, slices: list[slice]) -> Tensor:
    return torch.stack([per_place[part].sum() for part in slices])
