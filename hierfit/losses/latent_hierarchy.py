"""The latent-hierarchy regulariser: learnable points become the lowest common ancestors (LCAs) of the data.

Source: Kim et al., "HIER: Metric Learning Beyond Class Labels via Hierarchical Regularization", CVPR 2023.
Written from the equations; where this differs from HIER's own code is listed in
``hierfit/methods/lathadapter/README.md``.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.autograd.function import once_differentiable

from hierfit.geometry import Space
from hierfit.geometry.stable import exceeds
from hierfit.losses.levels import constant


class Triplets(NamedTuple):
    """Mined triplets, of which i and j are related and k is not: ``members [3, T]``, their rows, and ``weight [T]``,
    the share of each in the mean, which is 0 for an anchor that had no valid triplet."""

    members: Tensor
    weight: Tensor


@torch.no_grad()
def mine_triplets(
    distance: Tensor,
    labels: Tensor | None = None,
    *,
    neighbours: int = 20,
    per_anchor: int = 4,
    max_anchors: int = 128,
    generator: Generator | None = None,
) -> Triplets:
    """Draw ``min(max_anchors, n)·per_anchor`` triplets by mutual nearest neighbours, whatever the data (so no device
    sync); none for fewer than 5 points. O(n²).

    Similarity is exp(−d), plus 1 for equal labels. j is drawn from the points that are among i's K most
    similar and have i among theirs, k from all others, with replacement. An anchor needs two such
    neighbours.

    Args:
        distance: Pairwise distances ``[n, n]``.
        labels: Class of each point ``[n]``, −1 for unknown; ``None`` if points have no classes.
        neighbours: K, not counting the point itself; at most half the other points, so that negatives remain.
        per_anchor: Triplets for each anchor.
        max_anchors: Anchors are a random choice of this many points that can be one.
        generator: Source of the randomness.
    """
    n, device = len(distance), distance.device
    neighbours = min(neighbours, (n - 1) // 2)
    if neighbours < 2:
        return Triplets(torch.empty(3, 0, dtype=torch.long, device=device), distance.new_empty(0))
    similarity = distance.neg().exp_()
    if labels is not None:
        # Each unknown class is one of its own. (As numbers, for adding truth values is several times slower.)
        own = torch.arange(-n, 0, dtype=labels.dtype, device=device)
        known = torch.where(labels < 0, own, labels).to(distance.dtype)
        similarity += torch.eq(known[:, None], known, out=torch.empty_like(similarity))
    similarity.fill_diagonal_(-1)
    nearest = torch.zeros_like(similarity, dtype=torch.bool)
    nearest.scatter_(1, similarity.topk(neighbours, sorted=False).indices, True)
    mutual = nearest & nearest.T
    valid = mutual.sum(1) >= 2
    # Valid anchors first, in random order; the rest fill up with weight 0 to keep the shape static.
    order = torch.rand(n, device=device, generator=generator) + valid
    anchors = order.topk(min(max_anchors, n)).indices
    known, chosen = mutual[anchors], valid[anchors, None]
    related, unrelated = known | ~chosen, ~known
    unrelated.scatter_(1, anchors[:, None], False)
    j = torch.multinomial(related.float(), per_anchor, replacement=True, generator=generator)
    k = torch.multinomial(unrelated.float(), per_anchor, replacement=True, generator=generator)
    i = anchors[:, None].expand_as(j)
    weight = chosen.expand_as(j).to(distance.dtype).flatten()
    return Triplets(torch.stack([i, j, k]).flatten(1), weight / weight.sum().clamp_min(1))


def gumbel_noise(shape: tuple[int, ...], like: Tensor, generator: Generator | None = None) -> Tensor:
    """Standard Gumbel noise in the dtype and on the device of ``like``."""
    uniform = torch.rand(shape, dtype=like.dtype, device=like.device, generator=generator)
    # rand may give 0, whose noise would be −∞. (−log of exponential_ is the same, ten times slower on a CPU.)
    return uniform.clamp_min_(torch.finfo(like.dtype).tiny).log_().neg_().log_().neg_()


def triplet_lca_loss(
    distance: Tensor,
    triplets: Triplets,
    noise: Tensor,
    *,
    temperature: float = 0.1,
    margin: float = 0.1,
    learned: bool = True,
) -> Tensor:
    """HIER's hinge on the chosen ancestors, the weighted sum over triplets (in units of distance); 0 without. O(T·P).

    ρ_ij is the candidate chosen for (i, j), ρ_ijk the one for all three: the argmax of −(largest distance to
    a member)/τ + Gumbel noise, with the gradient of the softmax (straight-through). A triplet costs ::

        [d(i,ρ_ij) − d(i,ρ_ijk) + δ]₊ + [d(j,ρ_ij) − d(j,ρ_ijk) + δ]₊ + [d(k,ρ_ijk) − d(k,ρ_ij) + δ]₊

    or 0 if both are the same candidate.

    Args:
        distance: From each point to each candidate ``[n, P]``.
        triplets: T triplets of rows of ``distance``.
        noise: Gumbel noise for ρ_ij and ρ_ijk ``[2, T, P]``.
        temperature: τ; divides distances, not the noise.
        margin: δ.
        learned: False chooses ancestors by the noise alone, uniformly: the random-LCA control.
    """
    if not distance.shape[1]:
        return distance.sum()
    loss: Tensor = _Hinge.apply(distance, *triplets, noise, temperature, margin, learned)
    return loss


class _Hinge(torch.autograd.Function):
    # The softmax adds nothing to the value, only to the gradient, so it is taken on the way back alone; and there the
    # three members' shares go through it as one, for it is linear in them. Left to autograd this takes three times as
    # long.

    @staticmethod
    def forward(
        ctx: Any,
        distance: Tensor,
        members: Tensor,
        weight: Tensor,
        noise: Tensor,
        temperature: float,
        margin: float,
        learned: bool,
    ) -> Tensor:
        score, d = noise, None
        if learned:
            d = distance.index_select(0, members.flatten()).view(3, -1, distance.shape[1])
            pair = torch.maximum(d[0], d[1])
            score = torch.stack([pair, torch.maximum(pair, d[2])]).div_(-temperature).add_(noise)
        chosen = score.argmax(-1)
        at = members[:, None] * distance.shape[1] + chosen
        pair_reach, triple_reach = distance.flatten().index_select(0, at.flatten()).view(3, 2, -1).unbind(1)
        sign = constant((1.0, 1.0, -1.0), distance)[:, None]
        cost = (pair_reach - triple_reach) * sign + margin
        counted = torch.where(chosen[0] != chosen[1], weight, 0.0)
        ctx.save_for_backward(members, at, (cost > 0) * sign * counted, d, score)
        ctx.temperature, ctx.shape = temperature, distance.shape
        return (F.relu(cost).sum(0) * counted).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        members, at, slope, d, score = ctx.saved_tensors
        slope = slope * grad
        gradient = slope.new_zeros(ctx.shape)
        gradient.view(-1).index_add_(0, at.flatten(), torch.stack([slope, -slope], dim=1).flatten())
        if d is not None:
            pull = (slope[..., None] * d).sum(0)  # how much each candidate, once chosen, would cost
            share = score.softmax(-1)
            soft = share * (pull - (share * pull).sum(-1, keepdim=True))
            pair, triple = soft[0].div_(-ctx.temperature), soft[1].div_(ctx.temperature)
            # Each reach is the largest of its members' distances: its gradient is theirs.
            of_pair = triple * exceeds(torch.maximum(d[0], d[1]), d[2])
            last, pair = triple.sub_(of_pair), pair.add_(of_pair)
            first = pair * exceeds(d[0], d[1])
            gradient.index_add_(0, members.flatten(), torch.cat([first, pair.sub_(first), last]))
        return gradient, None, None, None, None, None, None


class LatentHierarchyLoss(nn.Module):
    """The latent hierarchy of images, categories and attributes; see `mine_triplets` and `triplet_lca_loss`.

    ``joint`` is HIER's form: images and categories together are the leaves, attributes their LCAs, and
    attributes are also the LCAs of one another. ``tiered`` puts attributes between: they are the LCAs of
    images, and categories are the LCAs of attributes. Without attributes, categories are the LCAs of images.

    Args:
        space: Where the points live.
        hierarchy: ``joint`` or ``tiered``.
        lca: ``learned``, or ``random`` for the control that chooses ancestors blindly.
        temperature: τ.
        margin: δ.
        neighbours: K.
        per_anchor: Triplets for each anchor.
        max_anchors: Anchors a tier and step.
    """

    def __init__(
        self,
        space: Space,
        *,
        hierarchy: Literal["joint", "tiered"] = "joint",
        lca: Literal["learned", "random"] = "learned",
        temperature: float = 0.1,
        margin: float = 0.1,
        neighbours: int = 20,
        per_anchor: int = 4,
        max_anchors: int = 128,
    ) -> None:
        super().__init__()
        self.space = space
        self.hierarchy = hierarchy
        self.mine = partial(mine_triplets, neighbours=neighbours, per_anchor=per_anchor, max_anchors=max_anchors)
        self.hinge = partial(triplet_lca_loss, temperature=temperature, margin=margin, learned=lca == "learned")

    def forward(
        self,
        images: Tensor,
        image_labels: Tensor,
        categories: Tensor,
        category_labels: Tensor,
        attributes: Tensor | None = None,
        known_ancestors: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """The sum of the tiers' losses, of points ``[B, m]``, ``[C, m]`` and ``[M, m]`` and of classes ``[B]`` (−1 for
        unknown) and ``[C]``; ``known_ancestors [K, m]``, the taxonomy's inner nodes, join every tier's candidates."""
        known = [] if known_ancestors is None else [known_ancestors]
        if attributes is None:
            return self._over([(images, image_labels)], torch.cat([categories, *known]), generator)
        above = torch.cat([attributes, *known])
        if self.hierarchy == "tiered":
            lower = self._over([(images, image_labels)], above, generator)
            return lower + self._over([(attributes, None)], torch.cat([categories, *known]), generator)
        leaves = torch.cat([images, categories]), torch.cat([image_labels, category_labels])
        return self._over([leaves, (attributes, None)], above, generator)

    def _over(
        self, tiers: list[tuple[Tensor, Tensor | None]], candidates: Tensor, generator: Generator | None
    ) -> Tensor:
        # Tiers under the same candidates are taken together: at a batch's size a step costs more than its arithmetic.
        distance = self.space.pairwise_distance(torch.cat([points for points, _ in tiers]), candidates)
        mined, noise, start = [], [], 0
        for points, labels in tiers:
            fixed = points.detach()
            triplets = self.mine(self.space.pairwise_distance(fixed, fixed), labels, generator=generator)
            mined.append(Triplets(triplets.members + start, triplets.weight))
            noise.append(gumbel_noise((2, len(triplets.weight), len(candidates)), distance, generator))
            start += len(points)
        members, weight = (torch.cat(parts, dim=-1) for parts in zip(*mined, strict=True))
        return self.hinge(distance, Triplets(members, weight), torch.cat(noise, dim=1))
