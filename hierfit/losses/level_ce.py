"""Cross-entropy on the node axis: over the leaves, or within every level."""

from __future__ import annotations

from torch import Tensor

from hierfit.losses.levels import (
    LevelReading,
    OverLevels,
    deepest_label,
    mean_over_labels,
    mean_over_samples,
    read_levels,
)
from hierfit.losses.options import check_choice
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.upward import leaf_marginals
from hierfit.tensors import at_least_float32


def level_cross_entropy(
    logits: Tensor,
    paths: Tensor,
    taxonomy: Taxonomy,
    *,
    over_levels: OverLevels = "mean",
    reading: LevelReading | None = None,
) -> Tensor:
    """Cross-entropy within each level, in nats: one softmax over the cut of each level.

    A level's cut is its nodes and the leaves that ended above it. A label that is a leaf counts at its own level and,
    as itself, at every deeper one.

    Args:
        logits: Scores ``[B, N]``.
        paths: Node ids ``[B, L]`` coarse to fine, −1 where unknown or where a branch has ended.
        taxonomy: The tree; a leaf may lie at any level.
        over_levels: ``mean`` or ``sum`` over the labelled levels of a sample; then the mean over samples with
            a label.
        reading: ``read_levels(logits, paths, taxonomy)`` where it is at hand.

    Returns:
        A scalar; 0, still attached to the graph, if nothing is labelled. O(B·N).

    Raises:
        UserError: ``over_levels`` is neither.
    """
    check_choice("over_levels", over_levels, ("mean", "sum"))
    padded, lse, label = reading or read_levels(logits, paths, taxonomy)
    return mean_over_labels(lse - label, padded, over_levels)


def leaf_cross_entropy(logits: Tensor, paths: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Cross-entropy of one softmax over the C leaves, in nats; internal nodes are read by marginals.

    The cost is −log p(the finest known node), whose probability is the sum over the leaves below it: plain
    leaf cross-entropy for a leaf, and for a coarser label no preference among its leaves. Logits of internal
    nodes get no gradient; `leaf_marginals` reads them from the leaves.

    Args:
        logits: Scores ``[B, N]``.
        paths: Node ids ``[B, L]``, −1 where unknown or where a branch has ended.
        taxonomy: The tree; a leaf may lie at any level.

    Returns:
        A scalar, the mean over samples with a label; 0, still attached to the graph, if none has. O(B·N).
    """
    taxonomy = taxonomy.to(logits.device)
    logits = at_least_float32(logits)
    deepest = deepest_label(paths)
    label = deepest.clamp_min(0)
    total = logits.index_select(1, taxonomy.leaves).logsumexp(dim=1)
    # Marginals take four times as long as all the rest, and leaves do without. On an accelerator it would take longer
    # to ask whether there are other labels.
    only_leaves = logits.device.type == "cpu" and bool(((taxonomy.num_children[label] == 0) | (deepest < 0)).all())
    mass = logits if only_leaves else leaf_marginals(logits, taxonomy)
    return mean_over_samples(total - mass.gather(1, label[:, None])[:, 0], paths)
