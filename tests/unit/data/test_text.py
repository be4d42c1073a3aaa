from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from hierfit.data.stand_ins import class_means, from_leaves
from hierfit.taxonomy import Taxonomy

RAGGED = Taxonomy.from_paths([("a", "b", "c"), ("a", "b", "d"), ("a", "e"), ("f",)])


def test_inner_nodes_take_the_mean_of_their_children() -> None:
    text = torch.full((RAGGED.num_nodes, 2), 9.0)  # what stands in inner rows is ignored
    text[RAGGED.find("c")] = torch.tensor([1.0, 0.0])
    text[RAGGED.find("d")] = torch.tensor([0.0, 1.0])
    text[RAGGED.find("e")] = torch.tensor([0.0, 1.0])
    text[RAGGED.find("f")] = torch.tensor([-1.0, 0.0])
    filled = from_leaves(text, RAGGED)
    diagonal = torch.tensor([0.5**0.5, 0.5**0.5])
    torch.testing.assert_close(filled[RAGGED.find("b")], diagonal)
    torch.testing.assert_close(filled[RAGGED.find("a")], F.normalize(diagonal + torch.tensor([0.0, 1.0]), dim=0))
    assert torch.equal(filled[RAGGED.leaves], text[RAGGED.leaves])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_class_means_equal_the_slow_way(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = F.normalize(torch.randn(12, 3, generator=generator, dtype=torch.float64), dim=-1)
    nodes = torch.randint(0, RAGGED.num_nodes, (12,), generator=generator)
    paths = RAGGED.paths(nodes)
    means = class_means(features, paths, RAGGED)
    for node in range(RAGGED.num_nodes):
        nearest, below = node, []
        while nearest >= 0 and not (below := [i for i in range(12) if nearest in paths[i].tolist()]):
            nearest = int(RAGGED.parent[nearest])
        expected = features[below].mean(0) if below else features.mean(0)
        torch.testing.assert_close(means[node], F.normalize(expected, dim=0))
