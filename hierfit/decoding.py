"""Decoders: from one score per node to one predicted path per sample.

Every decoder maps ``logits [B, N]`` to ``paths [B, L]``: node ids coarse to fine, int64, −1 below the first
predicted leaf. They run on the logits' device and take half precision; float32 is used where sums are taken.
Keep the taxonomy on that device too, or it is copied there at every call. A logit of −inf masks its node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

Decoder: TypeAlias = Callable[[Tensor, Taxonomy], Tensor]


def level_log_softmax(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Log-probabilities of each node among the nodes of its level; differentiable. O(B·N).

    Args:
        logits: [B, N] scores, any floating dtype; −inf masks a node.
        taxonomy: The tree.

    Returns:
        [B, N] in nats, at least float32; −inf throughout a level whose nodes are all masked.

    Raises:
        ValueError: ``logits`` is not [B, N].
        UserError: ``logits`` hold NaN or +inf.
    """
    _check(logits, taxonomy)
    dtype = torch.promote_types(logits.dtype, torch.float32)
    levels = [F.log_softmax(logits[:, nodes], dim=1, dtype=dtype) for nodes in taxonomy.level_slices]
    # A mask can empty a level of a ragged tree; log_softmax takes −inf − (−inf) there, the only NaN left.
    return torch.cat(levels, dim=1).nan_to_num(nan=-torch.inf, neginf=-torch.inf)


def per_level_argmax(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """The best node of each level on its own, down to the first leaf: one flat classifier a level.

    The only decoder whose prediction may be no path of the tree; TICE measures how often. O(B·N).

    Args:
        logits: [B, N] scores.
        taxonomy: The tree.

    Returns:
        [B, L] node ids, −1 below the first leaf.

    Raises:
        ValueError: ``logits`` is not [B, N].
        UserError: ``logits`` hold NaN or +inf.
    """
    _check(logits, taxonomy)
    taxonomy = taxonomy.to(logits.device)
    best = [nodes.start + _argmax(logits[:, nodes]) for nodes in taxonomy.level_slices]
    paths = torch.stack(best, dim=1)
    is_leaf = taxonomy.num_children[paths] == 0
    below_a_leaf = is_leaf.cumsum(dim=1) > is_leaf.long()
    return paths.masked_fill(below_a_leaf, -1)


def leaf_rollup(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """The path of the best leaf; scores of internal nodes are not read. O(B·C).

    Args:
        logits: [B, N] scores.
        taxonomy: The tree.

    Returns:
        [B, L] node ids, −1 past the leaf.

    Raises:
        ValueError: ``logits`` is not [B, N].
        UserError: ``logits`` hold NaN or +inf.
    """
    _check(logits, taxonomy)
    taxonomy = taxonomy.to(logits.device)
    leaf = _argmax(logits.index_select(1, taxonomy.leaves))
    return taxonomy.paths(taxonomy.leaves[leaf])


def top_down(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Greedy descent: the best root, then the best of its children, and so on down to a leaf.

    Reads only the children of the nodes it visits: O(B·Σ_l W_l), W_l the widest family on level l.

    Args:
        logits: [B, N] scores.
        taxonomy: The tree.

    Returns:
        [B, L] node ids, −1 past the leaf.

    Raises:
        ValueError: ``logits`` is not [B, N].
        UserError: ``logits`` hold NaN or +inf.
    """
    _check(logits, taxonomy)
    taxonomy = taxonomy.to(logits.device)
    path = [logits[:, taxonomy.level_slices[0]].argmax(dim=1)]
    for nodes in taxonomy.level_slices[:-1]:
        above = path[-1]
        first = taxonomy.first_child[above]
        count = taxonomy.num_children[above].masked_fill(above < 0, 0)
        # Siblings are neighbours: a family is a window of the node axis, padded to the widest of this level.
        offset = torch.arange(int(taxonomy.num_children[nodes].max()), device=logits.device)
        window = (first[:, None] + offset).clamp(max=taxonomy.num_nodes - 1)
        outside = offset >= count[:, None]
        best = logits.gather(1, window).masked_fill(outside, -torch.inf).argmax(dim=1)
        path.append((first + best).masked_fill(count == 0, -1))
    return torch.stack(path, dim=1)


def best_path(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """The leaf whose path has the highest mean log-probability, each level normalised on its own.

    argmax over leaves y of (1/depth(y)) Σ_l log p^l(y^l). The mean, and not the sum, lets leaves of ragged
    trees compare fairly; on even trees the two agree. Levels vote with equal weight, so their logits should
    share one scale. O(B·N): sums run down the tree, each child adding to its parent's.

    Args:
        logits: [B, N] scores.
        taxonomy: The tree.

    Returns:
        [B, L] node ids, −1 past the leaf.

    Raises:
        ValueError: ``logits`` is not [B, N].
        UserError: ``logits`` hold NaN or +inf.
    """
    taxonomy = taxonomy.to(logits.device)
    means = path_means(logits, taxonomy)
    return taxonomy.paths(taxonomy.leaves[_argmax(means)])


def path_means(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Mean log-probability along the path to each leaf, each level normalised on its own; see `best_path`.

    Args:
        logits: [B, N] scores.
        taxonomy: The tree, on the logits' device.

    Returns:
        [B, C] in nats, without gradient; −inf for a leaf with a masked node on its path.
    """
    log_p = level_log_softmax(logits.detach(), taxonomy)
    above, *deeper = taxonomy.level_slices
    sums = [log_p[:, above]]
    for nodes in deeper:
        parents = taxonomy.parent[nodes] - above.start
        sums.append(log_p[:, nodes] + sums[-1].index_select(1, parents))
        above = nodes
    leaves = taxonomy.leaves
    return torch.cat(sums, dim=1).index_select(1, leaves) / (taxonomy.level[leaves] + 1)


def confident_depth(paths: Tensor, probabilities: Tensor, least: float) -> Tensor:
    """Paths cut below the deepest node that is probable enough; below none, nothing is left.

    Every level is looked at on its own: a genus of 0.9 stands whatever its family has. What ``least`` is worth depends
    on the probabilities' being calibrated. O(B·L).

    Args:
        paths: [B, L] node ids, −1 past the end.
        probabilities: [B, L] of these nodes; what stands past the end is not read.
        least: From 0 to 1.

    Returns:
        [B, L] node ids, −1 below the deepest node of at least this probability.
    """
    sure = (probabilities >= least) & (paths >= 0)
    at_or_below = sure.flip(1).cumsum(dim=1).flip(1) > 0
    return paths.masked_fill(~at_or_below, -1)


DECODERS: dict[str, Decoder] = {
    "per_level": per_level_argmax,
    "rollup": leaf_rollup,
    "top_down": top_down,
    "best_path": best_path,
}
"""Decoders by the name that configuration files and result cards use."""


_BLOCK = 128


def _argmax(scores: Tensor) -> Tensor:
    """First best column of each row, ``[B, n] → [B]``; scores hold no NaN."""
    blocks = scores.shape[1] // _BLOCK
    if scores.device.type != "cpu" or blocks < 4:
        return scores.argmax(dim=1)
    # On a CPU torch finds a maximum ten times as fast as its place: so first the block it is in.
    blocked = scores[:, : blocks * _BLOCK].unflatten(1, (blocks, _BLOCK))
    best, block = blocked.amax(dim=2).max(dim=1)
    column = blocked[torch.arange(len(scores)), block].argmax(dim=1) + block * _BLOCK
    if blocks * _BLOCK == scores.shape[1]:
        return column
    last, offset = scores[:, blocks * _BLOCK :].max(dim=1)
    return torch.where(last > best, offset + blocks * _BLOCK, column)


def _check(logits: Tensor, taxonomy: Taxonomy) -> None:
    if logits.ndim != 2 or logits.shape[1] != taxonomy.num_nodes:
        raise ValueError(
            f"logits must be [B, N], one score for each of the {taxonomy.num_nodes} nodes of {taxonomy}; "
            f"got shape {list(logits.shape)}"
        )
    # argmax takes NaN for the maximum: unchecked, a diverged model would be scored as if it had answered.
    usable = logits.amax(dim=1) < torch.inf
    if not usable.all():
        rows = (~usable).nonzero().flatten().tolist()
        raise UserError(
            f"logits hold NaN or +inf in {len(rows)} of {len(logits)} samples (first: row {rows[0]})",
            hint="Has training diverged? Lower the learning rate, or train in float32 or bf16, not fp16.",
        )
