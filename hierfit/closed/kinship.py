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
        return {
            "kinship": self.value,
            "z": self.z,
            "p": self.p,
            "permutations": self.permutations,
            "origin": self.origin,
            "groups": [
                {
                    "node": taxonomy.full_name(node),
                    "kinship": float(self.node_values[node]),
                    "p": float(self.node_p[node]),
                }
                for node in self.node_p.isfinite().nonzero()[:, 0].tolist()
            ],
        }

    @classmethod
    def load(cls, plain: Mapping[str, Any], taxonomy: Taxonomy) -> Kinship:
        """What was `saved` of this tree.

        Raises:
            KeyError, TypeError, ValueError: It is of another tree, or damaged.
        """
        place = {taxonomy.full_name(node): node for node in range(taxonomy.num_nodes)}
        values, p = (torch.full((taxonomy.num_nodes,), torch.nan, dtype=torch.float64) for _ in range(2))
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
        permutations: How many.
        seed: Of them.
        origin: What the means are of, in words.
    """
    if int(seen.sum()) < 2:
        raise ValueError("kinship needs two classes that have a mean")
    z = torch.where(seen[:, None], means - means[seen].mean(dim=0), 0).double()
    energy = float(z[seen].square().sum(dim=1).mean()) - noise * z.shape[1]
    z = z / max(energy, 1e-12) ** 0.5
    company = nearest_with_company(seen, taxonomy)
    count = sums_below(seen.double(), taxonomy)
    pairs = count * (count - 1)
    tested = (pairs > 0) & (count < seen.sum())
    generator = torch.Generator().manual_seed(seed)
    places = seen.nonzero()[:, 0]
    value, nodes = _values(z, seen, company, count, pairs, taxonomy)
    found, as_high = [], torch.ones_like(nodes)
    for _ in range(permutations):
        mixed = torch.zeros_like(z)
        mixed[places] = z[places[torch.randperm(len(places), generator=generator).to(places.device)]]
        other, others = _values(mixed, seen, company, count, pairs, taxonomy)
        found.append(other)
        as_high += (others >= nodes - 1e-12).to(as_high)
    null = torch.tensor(found, dtype=torch.float64)
    spread = float(null.std()) if permutations > 1 else 0.0
    return Kinship(
        value,
        (value - float(null.mean())) / max(spread, 1e-12),
        (1 + int((null >= value - 1e-12).sum())) / (1 + permutations),
        nodes.masked_fill(~tested, torch.nan),
        (as_high / (1 + permutations)).masked_fill(~tested, torch.nan),
        permutations,
        origin,
    )


def _values(
    z: Tensor, seen: Tensor, company: Tensor, count: Tensor, pairs: Tensor, taxonomy: Taxonomy
) -> tuple[float, Tensor]:
    total = sums_below(z, taxonomy)
    own = z.square().sum(dim=1)
    nodes = (total.square().sum(dim=1) - sums_below(own, taxonomy)) / pairs.clamp_min(1)
    all_, n = z.sum(dim=0, keepdim=True), seen.sum().to(z.dtype)[None]
    kin = (torch.cat([total, all_])[company] - z) / (torch.cat([count, n])[company] - 1).clamp_min(1)[:, None]
    return float((z * kin).sum(dim=1)[seen].mean()), nodes
