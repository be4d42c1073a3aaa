"""How well a method does on classes it was trained on, and on classes it was not; from the logits alone."""

from __future__ import annotations

import torch
from torch import Tensor

from hierfit.decoding import per_level_argmax
from hierfit.metrics.functional import full_path_right
from hierfit.taxonomy import Taxonomy


def base_to_novel(logits: Tensor, paths: Tensor, taxonomy: Taxonomy, seen: Tensor) -> dict[str, float]:
    """Accuracy on base and novel classes, among their own kind and among all, and the harmonic means.

    Args:
        logits: Scores ``[n, N]`` of test samples of base and of novel classes.
        paths: Node ids ``[n, L]``; samples without a leaf's label take no part.
        taxonomy: The tree of all classes.
        seen: Nodes that were candidates in training ``[N]`` bool.

    Returns:
        Fractions. ``base`` and ``novel``: leaf accuracy of the samples of one kind among the leaves of that kind
        (CoOp's protocol, Zhou et al. 2022); ``h``: their harmonic mean; ``h/<level>``: the same of a level's
        accuracy; ``base_fpa`` and ``novel_fpa``: full paths in the smaller trees. ``generalised_base``,
        ``generalised_novel``, ``generalised_h``: with all leaves as candidates; ``ausuc``: area under the seen-unseen
        curve (Chao et al. 2016), see `seen_unseen_curve`.

    Raises:
        ValueError: One of the kinds has no sample.
    """
    leaf = paths.amax(dim=1)
    has_leaf = (leaf >= 0) & (taxonomy.leaf_index[leaf] >= 0)
    logits, paths, leaf = logits[has_leaf].float(), paths[has_leaf], leaf[has_leaf]
    is_base = seen[leaf]
    if is_base.all() or not is_base.any():
        raise ValueError("base_to_novel needs test samples of base and of novel classes")
    figures: dict[str, float] = {}
    of_levels: list[dict[str, float]] = []
    for name, rows in (("base", is_base), ("novel", ~is_base)):
        leaves = taxonomy.leaves[seen[taxonomy.leaves] == (name == "base")]
        small, kept = taxonomy.keeping(leaves)
        position = torch.full((taxonomy.num_nodes + 1,), -1)
        position[kept] = torch.arange(len(kept))
        own, target = logits[rows][:, kept], position[paths[rows][:, : small.num_levels]]
        among = own[:, small.leaves].argmax(dim=1)
        figures[name] = float((small.leaves[among] == target.amax(dim=1)).float().mean())
        predicted = per_level_argmax(own, small)
        figures[f"{name}_fpa"] = float(full_path_right(predicted, target).float().mean())
        of_levels.append(
            {
                level: float((predicted[known, i] == target[known, i]).float().mean())
                for i, level in enumerate(small.levels)
                if (known := target[:, i] >= 0).any()
            }
        )
    figures["h"] = harmonic(figures["base"], figures["novel"])
    for level in taxonomy.levels:
        if all(level in of for of in of_levels):
            figures[f"h/{level}"] = harmonic(of_levels[0][level], of_levels[1][level])
    curve = seen_unseen_curve(logits[:, taxonomy.leaves], taxonomy.leaf_index[leaf], seen[taxonomy.leaves])
    right = taxonomy.leaves[logits[:, taxonomy.leaves].argmax(dim=1)] == leaf
    figures["generalised_base"] = float(right[is_base].float().mean())
    figures["generalised_novel"] = float(right[~is_base].float().mean())
    figures["generalised_h"] = harmonic(figures["generalised_base"], figures["generalised_novel"])
    figures["ausuc"] = float(torch.trapezoid(curve[:, 1], curve[:, 0]))
    return figures


def seen_unseen_curve(logits: Tensor, labels: Tensor, base: Tensor) -> Tensor:
    """Accuracy on novel against base samples, among all classes, as a bias is taken from the base classes' logits.

    A method sure of its base classes calls novel samples by their names; a constant γ subtracted from every base
    logit trades the one for the other (calibrated stacking, Chao et al., ECCV 2016). All γ that change a prediction
    are gone through, exactly: O(n·C + n log n).

    Args:
        logits: Scores of the leaves ``[n, C]``.
        labels: Leaf index of each sample ``[n]``.
        base: Which leaves are base ``[C]`` bool.

    Returns:
        Points ``[≤ n + 1, 2]``: base accuracy, ascending, and novel accuracy; the ends are γ → ±∞.
    """
    masked_base = logits.masked_fill(~base, -torch.inf)
    masked_novel = logits.masked_fill(base, -torch.inf)
    best_base, among_base = masked_base.max(dim=1)
    best_novel, among_novel = masked_novel.max(dim=1)
    is_base = base[labels]
    # As γ falls, a sample turns from its best novel class to its best base class once, at this value.
    turns, order = (best_base - best_novel).sort(descending=True)
    gains = (is_base & (among_base == labels)).double()[order].cumsum(0) / is_base.sum()
    losses = (~is_base & (among_novel == labels)).double()[order].cumsum(0) / (~is_base).sum()
    whole = losses[-1]
    # Samples that turn at one value turn together.
    last = torch.cat([turns[1:] != turns[:-1], turns.new_ones(1, dtype=torch.bool)])
    start = torch.stack([gains.new_zeros(()), whole])[None]
    return torch.cat([start, torch.stack([gains, whole - losses], dim=1)[last]])


def harmonic(a: float, b: float) -> float:
    """Harmonic mean; 0 where both are."""
    return 2 * a * b / (a + b) if a + b else 0.0
