"""How well a method does on classes it was trained on, and on classes it was not; from the logits alone."""

from __future__ import annotations

import torch
from torch import Tensor

from hierfit.metrics.functional import stands_at_its_level
from hierfit.taxonomy import Taxonomy


def base_to_novel(logits: Tensor, paths: Tensor, taxonomy: Taxonomy, seen: Tensor) -> dict[str, float]:
    """Accuracy on base and novel classes, among their own kind and among all, and the harmonic means.

    Of test samples' ``logits [n, N]`` and ``paths [n, L]``; those without a leaf's label take no part. ``seen [N]``
    are the nodes that were candidates in training. A ValueError where one of the kinds has no sample.

    Returns:
        Fractions. ``base`` and ``novel``: leaf accuracy of the samples of one kind among the leaves of that kind
        (CoOp's protocol, Zhou et al. 2022); ``h``: their harmonic mean; ``h/<level>``: the same of a level's accuracy,
        read off the path of that best leaf, over samples whose own path reaches the level. ``generalised_base``,
        ``generalised_novel``, ``generalised_h``: with all leaves as candidates; ``ausuc``: area under the seen-unseen
        curve (Chao et al. 2016), see `seen_unseen_curve`.
    """
    taxonomy, seen = taxonomy.to(logits.device), seen.to(logits.device)
    leaf = paths.amax(dim=1)
    has_leaf = (leaf >= 0) & (taxonomy.leaf_index[leaf] >= 0)
    paths, leaf = paths[has_leaf], leaf[has_leaf]
    scores, is_base = logits[has_leaf][:, taxonomy.leaves].float(), seen[leaf]
    if is_base.all() or not is_base.any():
        raise ValueError("base_to_novel needs test samples of base and of novel classes")
    seen_leaves, labels = seen[taxonomy.leaves], taxonomy.leaf_index[leaf]
    rivals = is_base[:, None] == seen_leaves
    best = taxonomy.leaves[scores.masked_fill(~rivals, -torch.inf).argmax(dim=1)]
    figures = _of_kinds(best == leaf, is_base)
    reached, right = stands_at_its_level(paths, taxonomy), taxonomy.paths(best) == paths
    for i, level in enumerate(taxonomy.levels):
        here = reached[:, i]
        if (here & is_base).any() and (here & ~is_base).any():
            figures[f"h/{level}"] = _of_kinds(right[here, i], is_base[here])["h"]
    everywhere = _of_kinds(scores.argmax(dim=1) == labels, is_base)
    figures |= {f"generalised_{name}": value for name, value in everywhere.items()}
    curve = seen_unseen_curve(scores, labels, seen_leaves)
    figures["ausuc"] = float(torch.trapezoid(curve[:, 1], curve[:, 0]))
    return figures


def _of_kinds(right: Tensor, is_base: Tensor) -> dict[str, float]:
    base, novel = (float(right[rows].float().mean()) for rows in (is_base, ~is_base))
    return {"base": base, "novel": novel, "h": harmonic(base, novel)}


def seen_unseen_curve(logits: Tensor, labels: Tensor, base: Tensor) -> Tensor:
    """Accuracy on novel against base samples, among all classes, as a bias is taken from the base classes' logits.

    A method sure of its base classes calls novel samples by their names; a constant γ subtracted from every base
    logit trades the one for the other (calibrated stacking, Chao et al., ECCV 2016). All γ that change a prediction
    are gone through, exactly: O(n·C + n log n).

    Of leaves' ``logits [n, C]``, leaf indices ``labels [n]``, and which leaves are ``base [C]`` bool: points
    ``[≤ n + 1, 2]`` of base accuracy, ascending, and novel accuracy; the ends are γ → ±∞.
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
