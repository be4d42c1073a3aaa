"""Everything is made on the device of its input: here tensors made anywhere else would land on "meta" and not mix."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from hierfit.decoding.calibration import reliability
from hierfit.metrics import HierarchicalConsistentAccuracy, MeanTreecutAccuracy, hierarchy_metrics
from hierfit.metrics.base_to_novel import base_to_novel
from hierfit.metrics.selective import operating_curve
from hierfit.taxonomy import Taxonomy

TREE = Taxonomy.from_paths([("a", "b", "c"), ("a", "b", "d"), ("a", "e"), ("g", "h"), ("j",)])
PATHS = TREE.leaf_paths
LOGITS = torch.arange(float(5 * TREE.num_nodes)).remainder(7).reshape(5, -1)
SEEN = torch.tensor([node != 4 for node in range(TREE.num_nodes)])  # novel: a/e
METRICS = [hierarchy_metrics(TREE), HierarchicalConsistentAccuracy(TREE), MeanTreecutAccuracy(TREE)]


def count() -> float:
    for metric, predicted in zip(METRICS, (PATHS, LOGITS, LOGITS), strict=True):
        metric.update(predicted, PATHS)
    return float(METRICS[0].compute()["wap_precision"] + METRICS[1].compute() + METRICS[2].compute())


CALLS: dict[str, Callable[[], float]] = {
    "reliability": lambda: reliability(torch.full((3,), 0.4, device="cpu"), PATHS[:3, 0] == 0).ece,
    "base_to_novel": lambda: base_to_novel(LOGITS, PATHS, TREE, SEEN)["ausuc"],
    "operating_curve": lambda: operating_curve(PATHS, PATHS * 0.0 + 0.5, PATHS, TREE).sampled(2).haurc,
    "metrics": count,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_on_the_device_of_the_input(call: Callable[[], float]) -> None:
    with torch.device("meta"):
        value = call()
    assert value == value
