"""The collection: its names, its compute groups, its documentation and its import cost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchmetrics import MetricCollection

from hierfit.decoding import DECODERS
from hierfit.metrics import hierarchy_metrics
from hierfit.taxonomy import Taxonomy

TREE = Taxonomy.from_paths(
    [("a", "b", "c"), ("a", "b", "d"), ("a", "e", "f"), ("g", "h", "i"), ("j", "k")],
    levels=("top", "sub.top", "leaf"),
)
TARGET = TREE.leaf_paths


def crowded() -> MetricCollection:
    """The same metrics as `hierarchy_metrics`, left to torchmetrics to group by their first batch."""
    return MetricCollection(dict(hierarchy_metrics(TREE).items()), compute_groups=True)


def test_names_and_scalars() -> None:
    metrics = hierarchy_metrics(TREE, prefix="val/")
    metrics.update(TARGET, TARGET)
    values = metrics.compute()
    assert set(values) == {
        *("val/fpa", "val/tice", "val/accuracy/top", "val/accuracy/sub_top", "val/accuracy/leaf"),
        *("val/leaf_accuracy", "val/leaf_accuracy_macro", "val/wap_accuracy", "val/wap_precision"),
        *("val/tree_distance", "val/mistake_severity"),
        *("val/hierarchical_precision", "val/hierarchical_recall", "val/hierarchical_f1"),
    }
    assert all(value.shape == () for value in values.values())


@pytest.mark.parametrize("build", [lambda: hierarchy_metrics(TREE), crowded], ids=["stated", "found"])
@pytest.mark.parametrize(
    "first",
    [TARGET, TARGET.flip(0), TARGET.roll(1, 0), torch.full_like(TARGET, -1), TARGET[:0]],
    ids=["all right", "some right", "all wrong but consistent", "abstains", "empty"],
)
def test_a_first_batch_on_which_counts_agree_merges_nothing_it_should_not(
    first: Tensor, build: Callable[[], MetricCollection]
) -> None:
    # torchmetrics shares one update between metrics whose states agree in name and, on one batch, in value.
    collection = build()
    alone = {name: metric.clone() for name, metric in collection.items()}
    torch.manual_seed(0)
    later = [DECODERS["per_level"](torch.randn(len(TARGET), TREE.num_nodes), TREE) for _ in range(3)]
    for predicted in [first, *later]:
        target = TARGET[: len(predicted)]
        collection.update(predicted, target)
        for metric in alone.values():
            metric.update(predicted, target)
    for name, value in collection.compute().items():
        torch.testing.assert_close(value, alone[name].compute(), rtol=0, atol=0, equal_nan=True, msg=name)
    assert len(collection.compute_groups) == 4


def test_functions_load_without_torchmetrics() -> None:
    code = "import sys, hierfit.metrics.functional, hierfit.decoding; sys.exit('torchmetrics' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
