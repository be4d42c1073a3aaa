"""Decoders: from one score per node to one predicted path per sample.

Every decoder maps ``logits [B, N]`` to ``paths [B, L]``: node ids coarse to fine, int64; decoders that walk the tree
have −1 below the leaf. They run on the logits' device and take half precision; float32 is used where sums are taken.
Keep the taxonomy on that device too, or it is copied there at every call. A logit of −inf masks its node. All raise a
`ValueError` for logits that are not ``[B, N]``, a `UserError` for NaN, +inf, or a row of −inf.

A decoder of one's own is a function ``(logits, taxonomy) → paths``, named by its import path: ``my_file.my_decoder``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.config.named import Registry
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.cuts import ended_leaves, sibling_families
from hierfit.taxonomy.upward import sums_along_paths
from hierfit.tensors import at_least_float32

Decoder: TypeAlias = Callable[[Tensor, Taxonomy], Tensor]


def level_log_softmax(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Log-probabilities ``[B, N]`` of each node in its level's cut: among the level and the leaves that ended above.

    In nats, at least float32; −inf throughout a cut whose nodes are all masked. Differentiable; O(B·N).
    """
    _check_scores(logits, taxonomy)
    logits = at_least_float32(logits)
    if taxonomy.is_even:
        log_p = torch.cat([F.log_softmax(logits[:, nodes], dim=1) for nodes in taxonomy.level_slices], dim=1)
    else:
        taxonomy = taxonomy.to(logits.device)
        log_p = logits - cut_logsumexp(logits, taxonomy).index_select(1, taxonomy.level)
    # A mask can empty a cut; its logsumexp is −inf, and −inf − (−inf) the only NaN there is.
    return log_p.nan_to_num(nan=-torch.inf, neginf=-torch.inf)


def cut_logsumexp(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Logsumexp over the cut of each level ``[B, L]``: its own nodes and the leaves that ended above. O(B·N).

    Of logits in at least float32, with the tree on their device.
    """
    found, ended = [], None
    for nodes, leaves in _cuts(taxonomy):
        own = logits[:, nodes].logsumexp(dim=1)
        found.append(own if ended is None else torch.logaddexp(own, ended))
        if len(leaves):
            own = logits.index_select(1, leaves).logsumexp(dim=1)
            ended = own if ended is None else torch.logaddexp(ended, own)
    return torch.stack(found, dim=1)


def _cuts(taxonomy: Taxonomy) -> Iterator[tuple[slice, Tensor]]:
    """Each level's nodes, and the leaves that end there with levels below."""
    leaves = ended_leaves(taxonomy)
    return zip(taxonomy.level_slices, leaves.leaves.split(leaves.counts), strict=True)


def per_level_argmax(scores: Tensor, taxonomy: Taxonomy) -> Tensor:
    """The best node of each level's cut on its own: one flat classifier a level. O(B·N).

    The only decoder whose prediction may be no path of the tree; TICE measures how often. Column l may hold a leaf
    that ended above level l.
    """
    _check_scores(scores, taxonomy)
    if taxonomy.is_even:
        return torch.stack([nodes.start + _argmax(scores[:, nodes]) for nodes in taxonomy.level_slices], dim=1)
    taxonomy = taxonomy.to(scores.device)
    found: list[Tensor] = []
    ended, most = scores.new_zeros(len(scores), dtype=torch.long), scores.new_full((len(scores),), -torch.inf)
    for nodes, leaves in _cuts(taxonomy):
        best = nodes.start + _argmax(scores[:, nodes])
        value = scores.gather(1, best[:, None])[:, 0]
        found.append(torch.where((most >= value) & most.isfinite(), ended, best))
        if len(leaves):
            value, place = scores.index_select(1, leaves).max(dim=1)
            ended, most = torch.where(value > most, leaves[place], ended), torch.maximum(most, value)
    return torch.stack(found, dim=1)


def leaf_rollup(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """The path of the best leaf; scores of internal nodes are not read. O(B·C)."""
    _check_scores(logits, taxonomy)
    taxonomy = taxonomy.to(logits.device)
    leaf = _argmax(logits.index_select(1, taxonomy.leaves))
    return taxonomy.paths(taxonomy.leaves[leaf])


def top_down(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Greedy descent: the best root, then the best of its children, and so on down to a leaf.

    Reads only the children of the nodes it visits: O(B·Σ_l W_l), W_l the widest family on level l.
    """
    _check_scores(logits, taxonomy)
    taxonomy = taxonomy.to(logits.device)
    path = [logits[:, taxonomy.level_slices[0]].argmax(dim=1)]
    for widest in sibling_families(taxonomy).widest[1:]:
        above = path[-1]
        first = taxonomy.first_child[above]
        count = taxonomy.num_children[above].masked_fill(above < 0, 0)
        # Siblings are neighbours: a family is a window of the node axis, padded to the widest of this level.
        offset = torch.arange(widest, device=logits.device)
        window = (first[:, None] + offset).clamp(max=taxonomy.num_nodes - 1)
        outside = offset >= count[:, None]
        best = logits.gather(1, window).masked_fill(outside, -torch.inf).argmax(dim=1)
        path.append((first + best).masked_fill(count == 0, -1))
    return torch.stack(path, dim=1)


def best_path(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """The leaf whose path has the highest summed log-probability, every level's cut normalised on its own.

    A leaf that ended above counts in every deeper cut as well, so that leaves of ragged trees compare fairly. Levels
    vote with equal weight, so their logits should share one scale. O(B·N).
    """
    taxonomy = taxonomy.to(logits.device)
    return taxonomy.paths(taxonomy.leaves[_argmax(path_log_probabilities(logits, taxonomy))])


def path_log_probabilities(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Sum over the L cuts of the log-probability of the node that a leaf's path crosses there; see `best_path`.

    With the tree on the logits' device. ``[B, C]`` in nats, without gradient; −inf for a leaf with a masked node on its
    path.
    """
    logits = logits.detach()
    log_p = level_log_softmax(logits, taxonomy)
    found = path_sums(log_p, taxonomy)
    if taxonomy.is_even:
        return found
    # Below its end a leaf's log-probability is its logit less the cut's logsumexp, whose sum over all deeper cuts
    # all leaves of one level share.
    lse = cut_logsumexp(logits.to(found.dtype), taxonomy)
    deeper_lse = F.pad(lse.flip(1).cumsum(dim=1).flip(1)[:, 1:], (0, 1))
    depth = taxonomy.level[taxonomy.leaves]
    own = logits.index_select(1, taxonomy.leaves).to(found.dtype) * (taxonomy.num_levels - 1 - depth)
    own = own.masked_fill(depth == taxonomy.num_levels - 1, 0)  # −inf · 0
    return (found + own - deeper_lse.index_select(1, depth)).nan_to_num(nan=-torch.inf, neginf=-torch.inf)


def path_sums(values: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Sum ``[B, C]`` of the nodes' values ``[B, N]`` along each leaf's path; the tree is on their device. O(B·N)."""
    return sums_along_paths(values, taxonomy, dim=1).index_select(1, taxonomy.leaves)


DECODERS: Registry[Decoder] = Registry(
    "decoder",
    {"per_level": per_level_argmax, "rollup": leaf_rollup, "top_down": top_down, "best_path": best_path},
)
"""Decoders of logits by the name that configuration files and result cards use."""

_ARGMAX_BLOCK = 128


def _argmax(scores: Tensor) -> Tensor:
    """First best column of each row, ``[B, n] → [B]``; scores hold no NaN."""
    blocks = scores.shape[1] // _ARGMAX_BLOCK
    if scores.device.type != "cpu" or blocks < 4:
        return scores.argmax(dim=1)
    # On a CPU torch finds a maximum ten times as fast as its place: so first the block it is in.
    blocked = scores[:, : blocks * _ARGMAX_BLOCK].unflatten(1, (blocks, _ARGMAX_BLOCK))
    best, block = blocked.amax(dim=2).max(dim=1)
    column = blocked[torch.arange(len(scores)), block].argmax(dim=1) + block * _ARGMAX_BLOCK
    if blocks * _ARGMAX_BLOCK == scores.shape[1]:
        return column
    last, offset = scores[:, blocks * _ARGMAX_BLOCK :].max(dim=1)
    return torch.where(last > best, offset + blocks * _ARGMAX_BLOCK, column)


def _check_scores(logits: Tensor, taxonomy: Taxonomy) -> None:
    if logits.ndim != 2 or logits.shape[1] != taxonomy.num_nodes:
        raise ValueError(
            f"logits must be [B, N], one score for each of the {taxonomy.num_nodes} nodes of {taxonomy}; "
            f"got shape {list(logits.shape)}"
        )
    # argmax takes NaN for the maximum: unchecked, a diverged model would be scored as if it had answered. And of a row
    # of −inf it takes the first node.
    best = logits.amax(dim=1)
    usable = best.isfinite()
    if not usable.all():
        rows = (~usable).nonzero().flatten().tolist()
        what, hint = "NaN or +inf", "Has training diverged? Lower the learning rate, or train in float32 or bf16."
        if (best == -torch.inf).any():
            what, hint = "no finite value", "Is every node masked? Then there is nothing to choose from."
        raise UserError(f"logits hold {what} in {len(rows)} of {len(logits)} samples (first: row {rows[0]})", hint=hint)
