"""The metrics as pure functions of predicted and target paths.

``predicted [B, L]`` and ``target [B, L]`` hold node ids, coarse to fine; −1 is "ended" in a prediction and
"unknown or ended" in a target. Levels are cuts: where a branch has ended, its leaf stands on all deeper levels. Column
l may name that leaf or leave it out: `Taxonomy.padded` brings both forms to one. Two counts carry nearly everything:
what happened to each node of each cut (`cut_tally`, O(M + B·L)), and how far down each pair of paths agrees
(`overlap_tally`, O(B·L²)).
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.cuts import ended_leaves, once_a_tree


def labelled(target: Tensor) -> Tensor:
    """[B] bool: which samples of ``target`` [B, L] carry a label at any level; metrics ignore the others."""
    return (target >= 0).any(dim=1)


def stands_at_its_level(paths: Tensor, taxonomy: Taxonomy) -> Tensor:
    """[B, L] bool: column l names a node of level l, and not a leaf that ended above it."""
    column = torch.arange(taxonomy.num_levels, device=paths.device)
    return (paths >= 0) & (taxonomy.level[paths] == column)


def full_path_right(predicted: Tensor, target: Tensor, taxonomy: Taxonomy) -> Tensor:
    """[B] bool: every level that the label knows is right; False where nothing is labelled.

    A label that ends at a leaf knows all levels: none below it may hold another node.
    """
    predicted, target = taxonomy.padded(predicted), taxonomy.padded(target)
    return ((predicted == target) | (target < 0)).all(dim=1) & labelled(target)


def is_tree_path(predicted: Tensor, taxonomy: Taxonomy) -> Tensor:
    """[B] bool: the tuple starts at a root, each next node is a child of the one before, and −1 only follows.

    After a leaf, only that leaf may follow, or −1. A tuple that stops above a leaf, even at once, contradicts nothing
    and counts as a path: what it withholds costs accuracy and recall. A gap, or a node below a leaf, does not.
    """
    path = taxonomy.padded(predicted)
    before = torch.cat([path.new_full((len(path), 1), -1), path[:, :-1]], dim=1)
    # A root's parent is −1 too, so one comparison covers first node, gap and link.
    descends = stands_at_its_level(path, taxonomy) & (taxonomy.parent[path] == before)
    stays = (taxonomy.num_children[path] == 0) & (path == before)
    return ((path < 0) | descends | stays).all(dim=1)


class ShareTally(NamedTuple):
    """How many samples count, and how many of them are hits; int64 scalars."""

    hits: Tensor
    samples: Tensor


def whole_paths(predicted: Tensor, target: Tensor, taxonomy: Taxonomy) -> ShareTally:
    """Labelled samples, and those of them with every known level right."""
    return ShareTally(full_path_right(predicted, target, taxonomy).sum(), labelled(target).sum())


def broken_paths(predicted: Tensor, target: Tensor, taxonomy: Taxonomy) -> ShareTally:
    """Labelled samples, and those of them whose prediction is no path of the tree."""
    counted = labelled(target)
    return ShareTally((counted & ~is_tree_path(predicted, taxonomy)).sum(), counted.sum())


def judged_nodes(predicted: Tensor, target: Tensor, taxonomy: Taxonomy) -> tuple[Tensor, Tensor, Tensor]:
    """What a label can judge: the predicted nodes ``[B, L]``, −1 elsewhere; the deepest one of these ``[B]``, and the
    label's own ``[B]``.

    The deepest is the last one named: where levels disagree, the finest answer is the one that is judged. A label
    that stops above a leaf says nothing of what lies below: there a prediction is read down to the label's level.
    """
    true_node = _last_named(target)
    column = torch.arange(taxonomy.num_levels, device=target.device)
    open_below = (taxonomy.num_children[true_node] > 0)[:, None]
    unknown = open_below & (column > taxonomy.level[true_node][:, None]) | (true_node < 0)[:, None]
    judged = predicted.masked_fill(unknown, -1)
    return judged, _last_named(judged), true_node


def _last_named(paths: Tensor) -> Tensor:
    """[B] the node in the last column that is not −1; −1 where there is none."""
    column = torch.arange(paths.shape[1], device=paths.device)
    last = torch.where(paths >= 0, column, -1).amax(dim=1, keepdim=True)
    return paths.gather(1, last.clamp(min=0))[:, 0]


class OverlapTally(NamedTuple):
    """Sums over samples of what predictions and labels have in common, in nodes; int64 scalars.

    Distance and severity take the deepest predicted node for the prediction: with P and T the lengths of the two paths
    and C that of their common part, it lies P + T − 2C edges from the truth, and their lowest common ancestor T − C
    levels above it. Precision and recall take the set of all predicted nodes, with their ancestors (``sets``): where
    the levels agree on a path it is that path; where they do not, every branch that is named counts.
    """

    samples: Tensor
    mistakes: Tensor
    common: Tensor
    predicted: Tensor
    target: Tensor
    sets_common: Tensor
    sets_predicted: Tensor


def overlap_tally(predicted: Tensor, target: Tensor, taxonomy: Taxonomy) -> OverlapTally:
    """Compare the paths from the root to predicted and labelled nodes; `judged_nodes` says how partial labels are
    read. What a tuple names above its deepest node plays no part in that one's path."""
    judged, predicted_node, true_node = judged_nodes(predicted, target, taxonomy)
    predicted_path, true_path = taxonomy.paths(predicted_node), taxonomy.paths(true_node)
    on_true_path = true_path >= 0
    common, length = (on_true_path & (true_path == predicted_path)).sum(dim=1), on_true_path.sum(dim=1)
    # [B, L named, L levels]: at each level, what the named nodes have for ancestors there; each counts once.
    named = taxonomy.paths(judged).sort(dim=1).values
    distinct = named >= 0
    distinct[:, 1:] &= named[:, 1:] != named[:, :-1]
    return OverlapTally(
        samples=labelled(target).sum(),
        mistakes=(common < length).sum(),
        common=common.sum(),
        predicted=(predicted_path >= 0).sum(),
        target=length.sum(),
        sets_common=(on_true_path & (named == true_path[:, None]).any(dim=1)).sum(),
        sets_predicted=distinct.sum(),
    )


class CutTally(NamedTuple):
    """How often each place of the cuts was ``right`` (predicted and true), ``predicted``, and ``labelled`` (true), over
    the samples whose label is known there; int64 [M] each.

    The cuts of a tree, one after another, are one axis of M places: on level l first the leaves that ended above it,
    then its own nodes (`Taxonomy.cut`). On even trees that is the node axis; the last cut always holds all leaves.
    """

    right: Tensor
    predicted: Tensor
    labelled: Tensor


class _Axis(NamedTuple):
    """Where the cuts lie on their axis.

    Attributes:
        cuts: Places of each cut.
        own: Of these, the places of the level's own nodes.
        ended: First place of each cut ``[L]``; the leaves that ended above are the first of all leaves, in their order.
        shift: What takes a node of a level to its place in the level's cut ``[L]``.
    """

    cuts: tuple[slice, ...]
    own: tuple[slice, ...]
    ended: Tensor
    shift: Tensor


@once_a_tree
def _axis(taxonomy: Taxonomy) -> _Axis:
    above, levels, device = ended_leaves(taxonomy).above, taxonomy.level_slices, taxonomy.parent.device
    ends = list(accumulate(a + n for a, n in zip(above, taxonomy.level_sizes, strict=True)))
    starts = [0, *ends[:-1]]
    own = [start + a for start, a in zip(starts, above, strict=True)]
    shift = [place - level.start for place, level in zip(own, levels, strict=True)]
    cuts, of_levels = tuple(map(slice, starts, ends)), tuple(map(slice, own, ends))
    return _Axis(cuts, of_levels, torch.tensor(starts, device=device), torch.tensor(shift, device=device))


def cut_tally(predicted: Tensor, target: Tensor, taxonomy: Taxonomy) -> CutTally:
    """Count hits, predictions and labels at each place, where ``target`` [B, L] is known once padded."""
    predicted, target = taxonomy.padded(predicted), taxonomy.padded(target)
    known, axis = target >= 0, _axis(taxonomy)

    def count(nodes: Tensor, mask: Tensor) -> Tensor:
        places = nodes = nodes.clamp(min=0)
        if not taxonomy.is_even:
            ended = axis.ended + taxonomy.leaf_index[nodes].clamp(min=0)
            places = torch.where(stands_at_its_level(nodes, taxonomy), nodes + axis.shift, ended)
        zeros = torch.zeros(axis.cuts[-1].stop, dtype=torch.int64, device=nodes.device)
        return zeros.scatter_add_(0, places.flatten(), mask.flatten().long())

    return CutTally(
        count(target, known & (predicted == target)),
        count(predicted, known & (predicted >= 0)),
        count(target, known),
    )


def level_accuracy(tally: CutTally, taxonomy: Taxonomy) -> Tensor:
    """[L] share right of the samples whose own path reaches a level and is labelled there; NaN if there are none."""
    own = _axis(taxonomy).own
    return _sums(tally.right, own) / _sums(tally.labelled, own)


def cut_accuracy(tally: CutTally, taxonomy: Taxonomy) -> Tensor:
    """[L] share right of the samples known in a level's cut, also those whose path ended above; NaN if none are."""
    cuts = _axis(taxonomy).cuts
    return _sums(tally.right, cuts) / _sums(tally.labelled, cuts)


def cut_macro_precision(tally: CutTally, taxonomy: Taxonomy) -> Tensor:
    """[L] mean over the nodes of a cut of right/predicted; NaN for a level without labels.

    As in torchmetrics and scikit-learn, a node that is true but never predicted counts 0, and a node that is
    neither is left out.
    """
    cuts = _axis(taxonomy).cuts
    precision = tally.right / tally.predicted.clamp(min=1)
    return _sums(precision, cuts) / _sums((tally.predicted + tally.labelled) > 0, cuts)


def size_weighted_mean(values: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Mean of [L] values weighted by the number of nodes of each level's cut; levels of NaN are left out."""
    sizes = values.new_tensor([cut.stop - cut.start for cut in _axis(taxonomy).cuts])
    measured = ~values.isnan()
    return (sizes * values)[measured].sum() / sizes[measured].sum()


def leaf_accuracy(tally: CutTally, taxonomy: Taxonomy, average: str) -> Tensor:
    """Share right of the samples labelled with a leaf: of all (``micro``), or the mean of each leaf's (``macro``)."""
    all_leaves = _axis(taxonomy).cuts[-1]
    right, total = tally.right[all_leaves], tally.labelled[all_leaves]
    if average == "micro":
        return right.sum() / total.sum()
    return (right / total.clamp(min=1)).sum() / (total > 0).sum()


def _sums(per_place: Tensor, parts: tuple[slice, ...]) -> Tensor:
    return torch.stack([per_place[part].sum() for part in parts])
