"""Time and memory of a closed-form fit, beside that of training by cross-entropy at every level.

    python tests/bench/bench_closed.py [--rounds 5]

On one thread, from features that are encoded already: sums over the images and the fit to them. A class is learnt by
adding its sums and fitting again. Memory is what torch allocates beyond features, labels and tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
from harness import Claim, in_turns, peak_bytes, program, timed
from torch import Tensor
from torch.nn import functional as F

from hierfit.closed import Statistics, fit_tree
from hierfit.losses.objective import Objective
from hierfit.taxonomy import Taxonomy

D = 512
SMALL, LARGE = (14, 14), (10, 5, 5, 5, 2, 2, 2)


def balanced(branches: tuple[int, ...]) -> Taxonomy:
    """A tree in which every node of a level has as many children."""
    return Taxonomy.from_paths([[str(i) for i in row] for row in product(*map(range, branches))])


def images(tree: Taxonomy, count: int) -> tuple[Tensor, Tensor]:
    """L2-normalised features ``[n, d]`` around a mean for each leaf, and positions of the leaves ``[n]``."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(tree.num_leaves, D, generator=generator)
    labels = torch.arange(count) % tree.num_leaves
    return F.normalize(means[labels] + 2 * torch.randn(count, D, generator=generator), dim=1), labels


def train(tree: Taxonomy, features: Tensor, labels: Tensor, steps: int = 200) -> None:
    """A linear probe at every level, without anything around it."""
    weights = torch.zeros(tree.num_nodes, D, requires_grad=True)
    objective, optimizer = Objective({"level_ce": 1.0}, tree), torch.optim.AdamW([weights], lr=1e-2)
    paths = tree.leaf_paths[labels]
    for step in range(steps):
        rows = torch.arange(step * 128, (step + 1) * 128) % len(labels)
        optimizer.zero_grad()
        objective(features[rows] @ weights.T * 20, paths[rows])["loss"].backward()
        optimizer.step()


def measure(rounds: int) -> Iterator[Claim]:
    """A small tree learnt, and trained by steps; a large one."""
    tree = balanced(SMALL)
    features, labels = images(tree, 3136)
    known = labels != 7
    old = Statistics.of(features[known], labels[known], tree.num_leaves)

    def learn() -> None:
        fit_tree(old + Statistics.of(features[~known], labels[~known], tree.num_leaves), tree)

    large = balanced(LARGE)
    many, places = images(large, 40_000)
    _ = tree.leaf_paths, large.leaf_paths
    taken = in_turns(
        {
            "fit": timed(lambda: fit_tree(Statistics.of(features, labels, tree.num_leaves), tree)),
            "learn": timed(learn),
            "train": timed(lambda: train(tree, features, labels)),
            "large": timed(lambda: fit_tree(Statistics.of(many, places, large.num_leaves), large)),
        },
        rounds,
    )
    yield Claim("TreeGDA, 196 leaves, 3136 images", taken["fit"], 0.1, "s")
    yield Claim("level CE there, 200 steps", taken["train"], None, "s")
    yield Claim("TreeGDA there, one class learnt", taken["learn"], 0.05, "s")
    yield Claim("TreeGDA, 10 000 leaves on 7 levels, 40 000 images", taken["large"], 1.5, "s")
    held = peak_bytes(lambda: fit_tree(Statistics.of(many, places, large.num_leaves), large))
    yield Claim("memory of that", [held / 2**20], 1024, "MiB")


if __name__ == "__main__":
    program(measure, __doc__, rounds=5)
