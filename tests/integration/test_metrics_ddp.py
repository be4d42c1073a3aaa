"""Two and three processes with uneven shares, one of them empty, give exactly what one process gives."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torchmetrics import MetricCollection

from hierfit.decoding import per_level_argmax
from hierfit.metrics import HierarchicalConsistentAccuracy, LevelAccuracy, MeanTreecutAccuracy, hierarchy_metrics
from hierfit.taxonomy import Taxonomy

# The bounds of each rank's samples; in the group of three, the last rank never sees one.
SHARES = {2: [0, 34, 101], 3: [0, 58, 101, 101]}


def problem() -> tuple[Taxonomy, Tensor, Tensor, Tensor]:
    """A ragged tree, noisy logits, what each level predicts by them, and labels with gaps."""
    rows = [(f"r{i % 3}", f"m{i % 11}", f"l{i}") for i in range(40)] + [("r0", "leaf"), ("root leaf",)]
    tree = Taxonomy.from_paths(rows)
    generator = torch.Generator().manual_seed(0)
    target = tree.leaf_paths[torch.randint(tree.num_leaves, (101,), generator=generator)]
    logits = torch.randn(101, tree.num_nodes, generator=generator)
    truth = torch.nn.functional.one_hot(target.clamp(min=0), tree.num_nodes).sum(dim=1)
    logits += 2 * truth
    predicted = per_level_argmax(logits, tree)
    unknown = torch.rand(target.shape, generator=generator) < 0.15
    return tree, logits, predicted, target.masked_fill(unknown, -1)


def values(start: int, stop: int) -> dict[str, Tensor]:
    """Every metric over a share of the samples, in batches of 16; collective calls inside if in a group."""
    tree, logits, predicted, target = problem()
    stated, vector = hierarchy_metrics(tree), LevelAccuracy(tree)
    found = MetricCollection(dict(hierarchy_metrics(tree, prefix="found/").items()), compute_groups=True)
    of_logits = MetricCollection({"hca": HierarchicalConsistentAccuracy(tree), "mta": MeanTreecutAccuracy(tree)})
    for first in range(start, stop, 16):
        batch = slice(first, min(first + 16, stop))
        for metric in (stated, found, vector):
            metric.update(predicted[batch], target[batch])
        of_logits.update(logits[batch], target[batch])
    return {**stated.compute(), **found.compute(), **of_logits.compute(), "levels": vector.compute()}


def rank_main(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    for world, bounds in SHARES.items():
        if rank < world:
            dist.init_process_group("gloo", f"file://{folder}/meet{world}", rank=rank, world_size=world)
            torch.save(values(bounds[rank], bounds[rank + 1]), f"{folder}/{world}-{rank}.pt")
            dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_processes_agree_with_one_process_to_the_bit(tmp_path: Path) -> None:
    # Importing torchmetrics is most of the cost: the server does it once, its children start with it.
    multiprocessing.set_forkserver_preload(["hierfit.metrics.collection"])
    mp.start_processes(rank_main, args=(str(tmp_path),), nprocs=3, start_method="forkserver")
    expected = values(0, 101)
    assert not any(value.isnan().any() for value in expected.values())
    for world in SHARES:
        for rank in range(world):
            got = torch.load(tmp_path / f"{world}-{rank}.pt", weights_only=True)
            assert got.keys() == expected.keys()
            assert [name for name in got if not torch.equal(got[name], expected[name])] == []
