"""Does a tree fit these features? How alike next of kin are, against the same leaves at random places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hierfit.closed.prior import nearest_with_company, sums_below
from hierfit.taxonomy import Taxonomy

KINSHIP_FILE = "kinship.json"
"""Of a run whose tree was tested, in its folder."""
CHANCE = 0.05
"""A group with a larger p is no family to the features."""


@dataclass(frozen=True)
class Kinship:
    """What a test found. It says whether the tree fits, not how much it helps.

    Attributes:
        value: Mean product of a class's mean with that of its next of kin, as a share of a mean's energy: 0 for a tree
            that has nothing to do with the features.
        z: How many standard deviations that is above the permuted ones' mean.
        p: Share of permutations (and this one) that come out as high.
        node_values: The same of the pairs below each node ``[N]``; NaN where there is no pair, or every pair.
        node_p: p of each node ``[N]``: whether its classes are more alike than as many taken at random.
        permutations: How many there were.
        origin: What the means are of, in words.
    """

    value: float
    z: float
    p: float
    node_values: Tensor
    node_p: Tensor
    permutations: int
    origin: str = ""

    def saved(self, taxonomy: Taxonomy) -> dict[str, Any]:
        """Everything found, as plain values for a JSON file; groups coarse to fine."""
        overall = {name: getattr(self, name) for name in ("z", "p", "permutations", "origin")}
        tested = self.node_p.isfinite().nonzero()[:, 0].tolist()
        figures = zip(self.node_values[tested].tolist(), self.node_p[tested].tolist(), strict=True)
        groups = [
            {"node": taxonomy.full_name(node), "kinship": value, "p": p}
            for node, (value, p) in zip(tested, figures, strict=True)
        ]
        return {"kinship": self.value, **overall, "groups": groups}

    @classmethod
    def load(cls, plain: Mapping[str, Any], taxonomy: Taxonomy) -> Kinship:
        """What was `saved` of this tree.

        Raises:
            KeyError, TypeError, ValueError: It is of another tree, or damaged.
        """
        place = {taxonomy.full_name(node): node for node in range(taxonomy.num_nodes)}
        values, p = torch.full((2, taxonomy.num_nodes), torch.nan, dtype=torch.float64)
        for group in plain["groups"]:
            values[place[group["node"]]] = float(group["kinship"])
            p[place[group["node"]]] = float(group["p"])
        value, z, overall = (float(plain[name]) for name in ("kinship", "z", "p"))
        return cls(value, z, overall, values, p, int(plain["permutations"]), str(plain["origin"]))


def kinship_test(
    means: Tensor,
    seen: Tensor,
    taxonomy: Taxonomy,
    noise: float = 0.0,
    permutations: int = 200,
    seed: int = 0,
    origin: str = "",
) -> Kinship:
    """Tests by permuting the classes over the leaves. O(permutations·N·d).

    Args:
        means: Of the classes, whitened or as they are; or their text features ``[C, d]``.
        seen: Classes that have one ``[C]`` bool, at least two.
        taxonomy: The tree.
        noise: Variance of a mean about its class's true one, a dimension: s²·(mean of 1/n).
        permutations, seed, origin: As they are kept.
    """
    if int(seen.sum()) < 2:
        raise ValueError("kinship needs two classes that have a mean")
    z = torch.where(seen[:, None], means - means[seen].mean(dim=0), 0).double()
    energy = float(z[seen].square().sum(dim=1).mean()) - noise * z.shape[1]
    z = z / max(energy, 1e-12) ** 0.5
    company, count = nearest_with_company(seen, taxonomy), sums_below(seen.double(), taxonomy)
    pairs = count * (count - 1)
    counts = torch.cat([count, seen.sum().to(z.dtype)[None]])  # the last is all's, where −1 wraps round to
    others = (counts[company] - 1).clamp_min(1)[:, None]

    def values(z: Tensor) -> tuple[float, Tensor]:
        """Kinship over all classes, and over the pairs below each node ``[N]``."""
        total = sums_below(z, taxonomy)
        squares = sums_below(z.square().sum(dim=1), taxonomy)
        nodes = (total.square().sum(dim=1) - squares) / pairs.clamp_min(1)
        kin = (torch.cat([total, z.sum(dim=0, keepdim=True)])[company] - z) / others
        return float((z * kin).sum(dim=1)[seen].mean()), nodes

    value, nodes = values(z)
    generator, places = torch.Generator().manual_seed(seed), seen.nonzero()[:, 0]
    found, as_high = [], torch.ones_like(nodes)
    for _ in range(permutations):
        mixed = torch.zeros_like(z)
        mixed[places] = z[places[torch.randperm(len(places), generator=generator).to(places.device)]]
        other, of_nodes = values(mixed)
        found.append(other)
        as_high += (of_nodes >= nodes - 1e-12).to(as_high)
    null = torch.tensor(found, dtype=torch.float64)
    spread = float(null.std()) if permutations > 1 else 0.0
    untested = (pairs == 0) | (count >= seen.sum())
    return Kinship(
        value,
        (value - float(null.mean())) / max(spread, 1e-12),
        (1 + int((null >= value - 1e-12).sum())) / (1 + permutations),
        nodes.masked_fill(untested, torch.nan),
        (as_high / (1 + permutations)).masked_fill(untested, torch.nan),
        permutations,
        origin,
    )
