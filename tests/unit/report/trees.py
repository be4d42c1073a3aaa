"""Random ragged trees and samples on them, partly labelled."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor

from hierfit.taxonomy import Taxonomy


@st.composite
def trees(draw: st.DrawFn, most_nodes: int = 14, levels: int = 4) -> Taxonomy:
    """A forest of up to ``most_nodes`` nodes, its branches of any depth up to ``levels``."""
    count = draw(st.integers(1, most_nodes))
    parents: list[int] = []
    depth: list[int] = []
    for node in range(count):
        above = [-1, *(v for v in range(node) if depth[v] < levels - 1)]
        parents.append(draw(st.sampled_from(above)))
        depth.append(0 if parents[-1] < 0 else depth[parents[-1]] + 1)
    return Taxonomy.from_parents([f"n{v}" for v in range(count)], parents)


def samples(tree: Taxonomy, seed: int, count: int = 30) -> tuple[Tensor, Tensor]:
    """Targets ``[n, L]``, some of them of inner nodes or unknown, and logits ``[n, N]``."""
    generator = torch.Generator().manual_seed(seed)
    nodes = torch.randint(-1, tree.num_nodes, (count,), generator=generator)
    logits = torch.randn(count, tree.num_nodes, generator=generator)
    logits[nodes >= 0, nodes[nodes >= 0]] += 1.5
    return tree.paths(nodes), logits
